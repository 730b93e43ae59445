//! Which rules of which RFC the product keeps in BGP and BFD. A rule has a test that is named after its RFC and section, the code that keeps it
//! names both too, and docs/bgp.md lists all of them: here that none of the three is without the others.
//!
//! `UPDATE_EXPECT=1` writes the list in docs/bgp.md anew. What a rule says is the name of its test; nothing here judges whether that test shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A section of an RFC, in the order of its numbers; a letter counts as a number.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Section {
    rfc: u32,
    numbers: Vec<u32>,
    letter: Option<char>,
}

impl Section {
    fn text(&self) -> String {
        let mut parts: Vec<String> = self.numbers.iter().map(u32::to_string).collect();
        parts.extend(self.letter.map(String::from));
        parts.join(".")
    }
}

/// A rule that a test shows: where it stands, and what it says.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Rule {
    section: Section,
    words: String,
}

#[test]
fn every_rule_with_a_test_is_in_the_document_and_no_other() {
    let path = root().join("docs/bgp.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the list has its beginning");
    let (_, after) = rest.split_once(END).expect("the list has its end");
    let wanted = format!("{before}{BEGIN}\n{}{END}{after}", listed(&rules()));
    if wanted == text {
        return;
    }
    assert!(
        std::env::var_os("UPDATE_EXPECT").is_some(),
        "docs/bgp.md does not list the rules that have tests; UPDATE_EXPECT=1 writes it, to be read before it is committed"
    );
    fs::write(path, wanted).unwrap();
}

#[test]
fn every_rule_that_is_promised_has_a_test() {
    let shown: BTreeSet<(u32, String)> = rules()
        .into_iter()
        .map(|rule| (rule.section.rfc, rule.section.text()))
        .collect();
    let missing: Vec<_> = PROMISED
        .iter()
        .flat_map(|(rfc, sections)| {
            sections
                .split(' ')
                .map(|section| (*rfc, section.to_owned()))
        })
        .filter(|promised| !shown.contains(promised))
        .collect();
    assert!(missing.is_empty(), "no test carries these: {missing:?}");
}

#[test]
fn the_code_names_the_section_of_every_rule_that_has_a_test() {
    let named = sections_in_code();
    let missing: BTreeSet<_> = rules()
        .into_iter()
        .map(|rule| rule.section)
        .filter(|section| !section.numbers.is_empty() && !named.contains(section))
        .collect();
    let missing: Vec<_> = missing
        .iter()
        .map(|section| format!("RFC {} §{}", section.rfc, section.text()))
        .collect();
    assert!(missing.is_empty(), "no code says that it keeps {missing:?}");
}

#[test]
fn every_rfc_of_a_test_has_its_title_here() {
    let titled: BTreeSet<u32> = TITLES.iter().map(|(rfc, _)| *rfc).collect();
    let used: BTreeSet<u32> = rules().iter().map(|rule| rule.section.rfc).collect();
    assert_eq!(used, titled);
}

#[test]
fn a_name_is_read_as_section_and_words() {
    for (name, section, words) in [
        (
            "rfc5880_6_8_16_admin_down_is_told",
            "6.8.16",
            "admin down is told",
        ),
        ("rfc7606_3_c_wrong_flags", "3.c", "wrong flags"),
        (
            "rfc9003_2_a_text_cannot_forge_a_log",
            "2",
            "a text cannot forge a log",
        ),
        ("rfc7607_2_as_0_is_malformed", "2", "as 0 is malformed"),
        ("rfc2385_both_sides", "", "both sides"),
    ] {
        let rule = rule(name).unwrap();
        assert_eq!(
            (rule.section.text().as_str(), rule.words.as_str()),
            (section, words)
        );
    }
    assert_eq!(rule("l6_2_no_connection_is_reset"), None);
}

/// What the name of a test says, if it is that of a rule.
fn rule(name: &str) -> Option<Rule> {
    let (rfc, rest) = name.strip_prefix("rfc")?.split_once('_')?;
    let rfc = rfc.parse().ok()?;
    let mut parts = rest.split('_').peekable();
    let mut numbers = Vec::new();
    while let Some(number) = parts.next_if(|part| part.parse::<u32>().is_ok()) {
        numbers.push(number.parse().ok()?);
    }
    // Of all these only RFC 7606 has letters, in its third section; elsewhere one letter is an article.
    let has_letters = rfc == 7606 && numbers == [3];
    let letter = parts.next_if(|part| has_letters && part.len() == 1);
    Some(Rule {
        section: Section {
            rfc,
            numbers,
            letter: letter.and_then(|part| part.chars().next()),
        },
        words: parts.collect::<Vec<_>>().join(" "),
    })
}

/// All that tests show.
fn rules() -> BTreeSet<Rule> {
    let mut rules = BTreeSet::new();
    for file in sources(&TESTS) {
        let text = fs::read_to_string(&file).unwrap();
        let names = text.split("fn rfc").skip(1);
        let names = names.map(|rest| rest.split('(').next().unwrap_or_default());
        rules.extend(names.filter_map(|name| rule(&format!("rfc{name}"))));
    }
    assert!(rules.len() >= RULES_MIN, "only {} rules", rules.len());
    rules
}

/// Every section that a comment of the product names: `RFC 4271 §4.3, §6.3`.
fn sections_in_code() -> BTreeSet<Section> {
    let mut sections = BTreeSet::new();
    for file in sources(&["speaker"]) {
        let path = file
            .strip_prefix(root())
            .unwrap()
            .to_string_lossy()
            .into_owned();
        if path.contains("/tests") || path.contains("_tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let product = text
            .split("#[cfg(test)]\nmod tests")
            .next()
            .unwrap_or_default();
        let words = product
            .replace("///", "")
            .replace("//!", "")
            .replace("//", "");
        for mention in words.split("RFC ").skip(1) {
            sections.extend(mentioned(mention));
        }
    }
    sections
}

fn mentioned(mention: &str) -> Vec<Section> {
    let mut words = mention.split_whitespace();
    let number = words.next().unwrap_or_default();
    let Ok(rfc) = number
        .trim_end_matches(|c: char| !c.is_ascii_digit())
        .parse()
    else {
        return Vec::new();
    };
    let mut sections = Vec::new();
    for word in words.filter(|word| *word != "and") {
        let Some(text) = word.strip_prefix('§') else {
            break;
        };
        let text: String = text
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '.')
            .collect();
        let parts = text.trim_end_matches('.').split('.');
        let (numbers, letters): (Vec<&str>, Vec<&str>) =
            parts.partition(|part| part.parse::<u32>().is_ok());
        sections.push(Section {
            rfc,
            numbers: numbers
                .iter()
                .filter_map(|part| part.parse().ok())
                .collect(),
            letter: letters.first().and_then(|part| part.chars().next()),
        });
    }
    sections
}

/// The list as it stands in the document.
fn listed(rules: &BTreeSet<Rule>) -> String {
    let mut by_rfc: BTreeMap<u32, BTreeMap<&Section, Vec<&str>>> = BTreeMap::new();
    for rule in rules {
        let sections = by_rfc.entry(rule.section.rfc).or_default();
        sections.entry(&rule.section).or_default().push(&rule.words);
    }
    let title = |rfc: u32| {
        TITLES
            .iter()
            .find(|(other, _)| *other == rfc)
            .map_or("", |(_, title)| title)
    };
    let mut text = "\n| RFC | § | rule, in the words of its test |\n|---|---|---|\n".to_owned();
    for (rfc, sections) in &by_rfc {
        let mut first = format!("{rfc} {}", title(*rfc));
        for (section, words) in sections {
            let _ = writeln!(
                text,
                "| {first} | {} | {} |",
                section.text(),
                words.join("; ")
            );
            first.clear();
        }
    }
    text += "\n| left out | because |\n|---|---|\n";
    for (what, why) in LEFT_OUT {
        let _ = writeln!(text, "| {what} | {why} |");
    }
    text += "\n";
    text
}

fn sources(folders: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

const BEGIN: &str = "<!-- rules: written by the test of tests/model/tests/rules.rs -->";
const END: &str = "<!-- end of the rules -->";

/// Where tests of BGP and BFD are.
const TESTS: [&str; 8] = [
    "speaker/proto/src/bgp",
    "speaker/proto/src/bfd",
    "speaker/core/src/plan/bgp",
    "speaker/src/drive/bgp",
    "speaker/src/drive/bfd",
    "speaker/src/edge/bgp",
    "speaker/src/edge/bfd",
    "tests/system/tests/lab/interop",
];

/// Suites shrink by accident: fewer are a mistake.
const RULES_MIN: usize = 120;

/// What a speaker of BGP and BFD has to keep that announces much and takes nothing: each has a test, whatever else has.
const PROMISED: &[(u32, &str)] = &[
    (1997, ""),
    (2385, ""),
    (2545, "3"),
    (2918, "2 3 4"),
    (
        4271,
        "4.2 4.3 4.4 5 5.1.2 5.1.5 6.1 6.2 6.3 6.5 6.8 8.1.1 8.2.2 9.2.1.1 10",
    ),
    (4486, "4"),
    (4724, "2 3 4.1 4.2"),
    (4760, "3 7 8"),
    (4861, "6.3.7"),
    (5082, "3"),
    (5492, "4 5"),
    (5880, "4.1 6.1 6.5 6.6 6.8.1 6.8.3 6.8.4 6.8.6 6.8.7 6.8.16"),
    (5881, "4 5"),
    (5882, "3.2 4.3"),
    (5883, ""),
    (6286, "2.1 2.2 2.3"),
    (6608, "3"),
    (6793, "3 4.2.2 6"),
    (7313, "4 5"),
    (
        7606,
        "3.c 3.d 3.g 4 5.1 5.2 5.3 7.1 7.2 7.3 7.4 7.5 7.6 7.7 7.8 7.9 7.10 7.11 7.14 7.15",
    ),
    (7607, "2"),
    (8092, "6"),
    (8203, "2"),
    (8326, "4"),
    (8538, "3 3.1"),
    (8950, "3 4"),
    (9003, "2"),
    (9072, "2"),
    (9234, "5"),
    (9384, "3"),
    (9687, "3"),
];

const TITLES: &[(u32, &str)] = &[
    (1997, "communities"),
    (2385, "TCP-MD5"),
    (2545, "IPv6"),
    (2918, "route refresh"),
    (4271, "BGP-4"),
    (4486, "subcodes of CEASE"),
    (4724, "graceful restart"),
    (4760, "multiprotocol extensions"),
    (4861, "router advertisements"),
    (5082, "GTSM"),
    (5492, "capabilities"),
    (5880, "BFD"),
    (5881, "BFD over one hop"),
    (5882, "BFD and its clients"),
    (5883, "BFD over several hops"),
    (6286, "identifiers"),
    (6608, "subcodes of state machine errors"),
    (6793, "four-byte AS numbers"),
    (7313, "enhanced route refresh"),
    (7606, "errors in UPDATE"),
    (7607, "AS 0"),
    (8092, "large communities"),
    (8203, "shutdown communication"),
    (8326, "graceful shutdown"),
    (8538, "NOTIFICATION in graceful restart"),
    (8950, "IPv6 next hops for IPv4"),
    (9003, "shutdown communication"),
    (9072, "long optional parameters"),
    (9234, "roles"),
    (9384, "CEASE for BFD"),
    (9687, "send hold timer"),
];

/// What another implementation may have and this one has not, each with the reason.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "routes of peers: decision process, RIBs, propagation (RFC 4271 §9)",
        "a speaker of services needs none; what peers announce is counted",
    ),
    (
        "MinRouteAdvertisementInterval (RFC 4271 §9.2.1.1)",
        "changes are gathered for some milliseconds before they are planned; a route waits for nothing else",
    ),
    (
        "DelayOpen, AutomaticStart and the other optional session attributes but DampPeerOscillations (RFC 4271 §8.1.1)",
        "no router needs them of us",
    ),
    (
        "TCP-AO (RFC 5925)",
        "MetalLB has no field for it, and kernels before 6.7 do not have it",
    ),
    (
        "extended messages (RFC 8654)",
        "4,096 bytes hold 810 routes, and larger ones need larger buffers for each peer",
    ),
    (
        "additional paths (RFC 7911)",
        "there is one path to an address from here",
    ),
    (
        "long-lived graceful restart (RFC 9494)",
        "routes of a node that is gone for long lead nowhere",
    ),
    (
        "roles (RFC 9234 §4)",
        "a peer's is read; strict peers refuse a session with a role that they do not expect",
    ),
    (
        "default policies (RFC 8212)",
        "they are the router's: see [Routers](#routers)",
    ),
    (
        "confederations, route reflection (RFC 5065, RFC 4456)",
        "they concern who passes routes on",
    ),
    (
        "BFD: authentication (RFC 5880 §6.7), echo (§6.4), demand mode of our own (§6.6)",
        "MetalLB has no field but `echoMode`, which needs a peer that loops packets; what is authenticated is discarded",
    ),
    (
        "unaffiliated echo (RFC 9747)",
        "every router that BFDProfiles are for has BFD",
    ),
];
