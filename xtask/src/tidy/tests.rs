//! Each rule finds the violation that is planted for it, and nothing in an innocent file.

use super::*;

fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree {
        texts: BTreeMap::new(),
        sources: BTreeMap::new(),
        paths: Vec::new(),
    };
    for (path, text) in files {
        tree.put(path, (*text).to_owned());
        tree.paths.push((*path).to_owned());
    }
    tree.mark_test_files();
    tree
}

/// The findings of a rule about one file, as `line: what`.
fn found(rule: fn(&Tree) -> Vec<Finding>, path: &str, text: &str) -> Vec<String> {
    let findings = rule(&tree(&[(path, text)]));
    let about = findings
        .into_iter()
        .filter(|f| f.path == path && f.line > 0);
    about.map(|f| format!("{}: {}", f.line, f.what)).collect()
}

fn long_function(lines: usize) -> String {
    format!(
        "//! Doc.\nfn long() {{\n{}}}\n",
        "    a();\n".repeat(lines - 2)
    )
}

#[test]
fn a_long_function_is_found() {
    let rule = sizes::short;
    assert!(found(rule, "a/src/a.rs", &long_function(70)).is_empty());
    let found = found(rule, "a/src/a.rs", &long_function(71));
    assert_eq!(found, ["2: fn long has 71 lines, the limit is 70"]);
}

#[test]
fn a_long_file_is_found_but_its_tests_do_not_count() {
    let long = "//! Doc.\n".repeat(501);
    let files = tree(&[("a/src/a.rs", long.as_str()), (RATCHET, "")]);
    assert_eq!(sizes::short(&files).len(), 1);
    let tested = format!(
        "//! Doc.\n#[cfg(test)]\nmod tests {{\n{}}}\n",
        "\n".repeat(600)
    );
    let files = tree(&[
        ("a/src/a.rs", tested.as_str()),
        ("a/src/tests.rs", &long),
        (RATCHET, ""),
    ]);
    assert_eq!(sizes::short(&files), []);
}

#[test]
fn the_ratchet_holds_what_it_names_at_its_number() {
    let long = long_function(80);
    let check = |ratchet: &str| sizes::short(&tree(&[("a.rs", &long), (RATCHET, ratchet)])).len();
    assert_eq!(check("a.rs long 80"), 0);
    assert_eq!(check("a.rs long 79"), 1, "it grew");
    assert_eq!(check("a.rs long 81"), 1, "it shrank and the number did not");
    assert_eq!(check("a.rs long 80\nb.rs 600"), 1, "b.rs is gone");
    assert_eq!(check("a.rs long 80\nnonsense"), 1);
}

#[test]
fn the_ratchet_only_falls() {
    assert_eq!(sizes::rises("a.rs 600", "a.rs 590").len(), 0);
    assert_eq!(sizes::rises("a.rs 600", "a.rs 601\nb.rs 501").len(), 2);
}

#[test]
fn a_file_without_a_module_doc_is_found() {
    assert_eq!(found(words::module_docs, "a.rs", "use std;\n").len(), 1);
    assert!(found(words::module_docs, "a.rs", "//! What it is for.\n").is_empty());
}

#[test]
fn an_import_between_parts_of_the_shell_is_found() {
    let at = "speaker/src/edge/links.rs";
    for planted in [
        "use crate::dataplane::Maps;",
        "use crate::{dataplane, settings};",
        "fn a() { super::super::report::say() }",
        "type A = crate::source::Source;",
    ] {
        assert_eq!(found(imports::shell, at, planted).len(), 1, "{planted}");
    }
    for innocent in [
        "use crate::settings;",
        "use super::picture;",
        "let source = 1;",
        "// crate::report",
    ] {
        assert!(found(imports::shell, at, innocent).is_empty(), "{innocent}");
    }
    assert!(found(imports::shell, "speaker/src/run.rs", "use crate::edge;").is_empty());
    let (upward, downward) = ("use crate::report::log;", "use crate::api::Api;");
    assert_eq!(
        found(imports::shell, "speaker/src/tls/server.rs", upward).len(),
        1
    );
    assert!(found(imports::shell, at, downward).is_empty());
}

#[test]
fn a_pure_crate_that_may_be_unsafe_is_found() {
    let lacking = tree(&[("speaker/proto/src/lib.rs", "#![forbid(unsafe_code)]")]);
    let findings = imports::forbid_unsafe(&lacking);
    assert_eq!(findings.len(), 1);
    assert!(findings.iter().all(|f| f.path == "speaker/core/src/lib.rs"));
}

#[test]
fn a_clock_outside_drive_is_found() {
    let rule = forbidden::clocks;
    for planted in [
        "Instant::now()",
        "std::thread::sleep(d)",
        "sleep(d).await",
        "rand::random()",
    ] {
        assert_eq!(
            found(rule, "speaker/core/src/a.rs", planted).len(),
            1,
            "{planted}"
        );
        assert!(
            found(rule, "speaker/src/drive/a.rs", planted).is_empty(),
            "{planted}"
        );
    }
    assert!(found(rule, "speaker/core/src/a.rs", "// Instant::now()").is_empty());
}

#[test]
fn a_hash_is_found_also_in_tests() {
    assert_eq!(
        found(
            forbidden::hashes,
            "a/tests.rs",
            "use std::collections::HashMap;"
        )
        .len(),
        1
    );
}

#[test]
fn unsafe_code_outside_its_files_is_found() {
    let rule = forbidden::unsafe_code;
    assert_eq!(found(rule, "speaker/src/run.rs", "unsafe { a() }").len(), 1);
    assert!(found(rule, "speaker/src/dataplane/deadline.rs", "unsafe { a() }").is_empty());
    assert!(
        found(
            rule,
            "speaker/src/run.rs",
            "#![forbid(unsafe_code)] // unsafe"
        )
        .is_empty()
    );
}

#[test]
fn an_exception_that_excuses_nothing_is_found() {
    let findings = forbidden::unsafe_code(&tree(&[("speaker/src/edge/a.rs", "unsafe {}")]));
    assert!(findings.iter().all(|f| f.path != "speaker/src/edge/"));
    assert!(
        findings
            .iter()
            .any(|f| f.path == "speaker/src/dataplane/deadline.rs")
    );
}

#[test]
fn an_allowed_lint_is_found() {
    assert_eq!(
        found(
            forbidden::allows,
            "a.rs",
            concat!("#[al", "low(dead_code)]")
        )
        .len(),
        1
    );
    assert!(found(forbidden::allows, "a.rs", "fn allow() {}").is_empty());
}

#[test]
fn a_kernel_map_or_a_packet_elsewhere_is_found() {
    let rule = forbidden::raw_kernel;
    assert_eq!(
        found(rule, "speaker-ebpf/src/logic/mod.rs", "#[map]").len(),
        1
    );
    assert_eq!(
        found(rule, "speaker-ebpf/src/frame/arp.rs", "ctx.data_end()").len(),
        1
    );
    assert!(found(rule, "speaker-ebpf/src/prog/maps.rs", "#[map]").is_empty());
    assert_eq!(
        found(rule, "speaker/src/run.rs", "use aya::maps::HashMap;").len(),
        1
    );
    assert!(found(rule, "speaker/src/dataplane/load.rs", "use aya::Ebpf;").is_empty());
}

#[test]
fn macros_globs_and_drawers_are_found() {
    for planted in [
        "macro_rules! a { () => {} }",
        "pub use a::*;",
        "pub(crate) use a::b::*;",
    ] {
        assert_eq!(
            found(words::plain, "a/src/a.rs", planted).len(),
            1,
            "{planted}"
        );
    }
    assert_eq!(words::plain(&tree(&[("a/src/utils.rs", "")])).len(), 1);
    assert_eq!(
        words::plain(&tree(&[("a/src/tests.rs", "use super::*;")])).len(),
        0
    );
}

#[test]
fn leftover_markers_are_found_in_every_file() {
    for planted in [
        concat!("// TO", "DO: a"),
        concat!("HA", "CK"),
        concat!("to", "do!()"),
        concat!("dbg", "!(a)"),
    ] {
        assert_eq!(
            found(words::markers, "docs/a.md", planted).len(),
            1,
            "{planted}"
        );
    }
    assert!(found(words::markers, "a.rs", "// ff02::1:ffXX:XXXX, todos").is_empty());
}

#[test]
fn a_place_of_one_machine_is_found() {
    for planted in [
        concat!("see /wo", "rk/main"),
        concat!("https:/", "/mirror.intranet/x"),
        concat!("cd ../sha", "red/a"),
    ] {
        assert_eq!(
            found(places::machines, "README.md", planted).len(),
            1,
            "{planted}"
        );
    }
    for innocent in [
        "https://github.com/a",
        "http://{vip}/",
        "http://192.0.2.1:80",
        "target/work/a",
    ] {
        assert!(
            found(places::machines, "README.md", innocent).is_empty(),
            "{innocent}"
        );
    }
}

#[test]
fn half_a_scenario_is_found() {
    let at = |file: &str| format!("tests/model/scenarios/one/{file}");
    let (setup, plan, pool, step) = (
        at("scenario.yaml"),
        at("plan.txt"),
        at("pool.yaml"),
        at("steps/1.yaml"),
    );
    let whole = [
        (setup.as_str(), "about: A.\nsteps/1.yaml"),
        (&plan, "a"),
        (&pool, "b"),
        (&step, "c"),
    ];
    assert_eq!(scenarios::complete(&tree(&whole)), []);
    for lost in 0..3 {
        let part: Vec<_> = whole
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != lost)
            .map(|(_, f)| *f)
            .collect();
        assert!(
            !scenarios::complete(&tree(&part)).is_empty(),
            "without {lost}"
        );
    }
    let only_a_step = [whole[0], whole[1], whole[3]];
    assert_eq!(scenarios::complete(&tree(&only_a_step)).len(), 1);
    let idle = [
        (setup.as_str(), "about: A."),
        (&plan, "a"),
        (&pool, "b"),
        (&step, "c"),
    ];
    assert_eq!(scenarios::complete(&tree(&idle)).len(), 1);
}

/// What the rule says of a file with these lines, but for the groups that it lacks.
fn compat_found(lines: &str) -> Vec<String> {
    let files = [
        ("tests/compat.toml", lines),
        ("tests/model/scenarios/one/scenario.yaml", "about: One."),
        (
            "tests/model/data/allocation/keep.jsonl",
            "{\"name\": \"keep/restart\", \"rule\": 1}",
        ),
        ("a_tests.rs", "#[test]\nfn it_holds() {}\nfn helper() {}\n"),
    ];
    let mut tree = tree(&files);
    tree.paths.push("tests/model/scenarios/one".to_owned());
    let found = compat::covered(&tree).into_iter();
    let about_lines = found.filter(|f| f.line > 0 || f.what.contains("[class]"));
    about_lines
        .map(|f| format!("{}: {}", f.line, f.what))
        .collect()
}

#[test]
fn a_case_without_a_test_that_is_there_is_found() {
    for innocent in [
        "a = { case = \"A\", tests = [\"it_holds\"] }",
        "a = { case = \"A\", tests = [\"scenario: one\", \"allocation: keep/restart\"] }",
        "a = { case = \"A\", not-here = \"it is not there yet\" }",
    ] {
        let lines = format!("# Cases.\n\n[class]\n{innocent}\n");
        assert!(compat_found(&lines).is_empty(), "{innocent}");
    }
    for planted in [
        "a = { case = \"A\", tests = [\"helper\"] }",
        "a = { case = \"A\", tests = [\"it_holds\", \"scenario: two\"] }",
        "a = { case = \"A\", tests = [\"allocation: keep/other\"] }",
        "a = { case = \"A\", tests = [\"admission: keep/restart\"] }",
    ] {
        let found = compat_found(&format!("[class]\n{planted}\n"));
        assert_eq!(found.len(), 1, "{planted}: {found:?}");
        assert!(found[0].starts_with("2: there is no test"), "{found:?}");
    }
}

#[test]
fn a_case_that_is_lost_or_says_nothing_is_found() {
    assert_eq!(
        compat_found("[class]\n"),
        ["0: [class] has 0 cases, MetalLB's tests have 1"]
    );
    let entry = "a = { case = \"A\", not-here = \"why\" }";
    let twice = compat_found(&format!("[class]\n{entry}\n{entry}\n"));
    assert_eq!(twice, ["3: a stands there twice"]);
    for planted in [
        "a = { case = \"A\", not-here = \"\" }",
        "a = { case = \"A\", tests = [] }",
        "a = { case = \"A\" }",
        "a = 1",
    ] {
        let lines = format!("[class]\n{entry}\n{planted}\n");
        assert_eq!(compat_found(&lines).len(), 1, "{planted}");
    }
    assert_eq!(compat::covered(&tree(&[])).len(), 1);
}

/// What the rule says of these lines, beside a page with the table of one feature that is tried with FRR alone.
fn interop_found(lines: &str) -> Vec<String> {
    let page = "# BGP\n\n| | FRR 8.4.4 | BIRD 2.0.12 | GoBGP 3.10.0 | ExaBGP 4.2.21 |\n|---|---|---|---|---|\n\
                | A | yes | no (1) | no (1) | not tried (2) |\n\n1. why\n2. how\n";
    let files = [
        ("tests/interop.toml", lines),
        ("docs/bgp.md", page),
        ("a_tests.rs", "#[test]\nfn it_holds() {}\nfn helper() {}\n"),
    ];
    let found = interop::tried(&tree(&files)).into_iter();
    found.map(|f| format!("{}: {}", f.line, f.what)).collect()
}

#[test]
fn a_router_of_which_nothing_is_said_and_a_test_that_is_not_there_are_found() {
    let all = [
        "[A]",
        "frr = { tests = [\"it_holds\"] }",
        "bird = { lacks = \"why\" }",
        "gobgp = { lacks = \"why\" }",
        "exabgp = { untried = \"how\" }",
    ];
    assert_eq!(interop_found(&all.join("\n")), Vec::<String>::new());
    for (at, planted, what) in [
        (
            1,
            "frr = { tests = [\"helper\"] }",
            "2: there is no test `helper`",
        ),
        (1, "frr = { tests = [] }", "2: is no entry"),
        (2, "bird = { lacks = \"\" }", "3: is no entry"),
        (
            2,
            "gobgp = { lacks = \"why\" }",
            "3: the routers are not in order",
        ),
        (4, "", "0: [A] does not say something of each router"),
        (4, "exabgp = { lacks = \"how\" }", "0: has not the table"),
    ] {
        let mut lines = all;
        lines[at] = planted;
        let found = interop_found(&lines.join("\n"));
        assert!(
            found.iter().any(|f| f.starts_with(what)),
            "{planted}: {found:?}"
        );
    }
    assert_eq!(interop::tried(&tree(&[])).len(), 1);
}

#[test]
fn a_dead_link_is_found() {
    let files = [
        (
            "README.md",
            "# A b\n[a](docs/a.md#c-d) [b](#a-b) [c](https://github.com/x)",
        ),
        ("docs/a.md", "## C `d`\n[r](../README.md)"),
    ];
    assert_eq!(docs::links(&tree(&files)), []);
    for planted in [
        "[a](docs/b.md)",
        "[a](#nowhere)",
        "[a](../../x)",
        "[a](docs/a.md#e)",
    ] {
        let files = [("README.md", planted), ("docs/a.md", "# a")];
        assert_eq!(docs::links(&tree(&files)).len(), 1, "{planted}");
    }
}

#[test]
fn a_path_that_is_not_there_is_found_in_code_alone() {
    let check = |text: &str| {
        let files = [
            ("a.md", text),
            ("deploy/a.yaml", ""),
            ("speaker/x/y.rs", ""),
        ];
        docs::paths(&tree(&files)).len()
    };
    for innocent in [
        "`deploy/a.yaml`, (`speaker/x/y.rs`)",
        "```\nkubectl apply -f deploy/a.yaml\n```",
        "deploy/b.yaml in prose",
        "`docs/*.md`, `deploy/`, `other/b`",
    ] {
        assert_eq!(check(innocent), 0, "{innocent}");
    }
    for planted in [
        "`deploy/b.yaml`",
        "```\nkubectl apply -f deploy/b.yaml\n```",
    ] {
        assert_eq!(check(planted), 1, "{planted}");
    }
}

#[test]
fn a_document_that_is_not_there_is_found() {
    let check = |line: &str| {
        docs::mentions(&tree(&[("a.rs", line), ("docs/a.md", "# A\n## Deadline")])).len()
    };
    for innocent in [
        "// see docs/a.md",
        "//! `docs/a.md`, \"Deadline\"",
        "mydocs/b.md",
        "docs/",
    ] {
        assert_eq!(check(innocent), 0, "{innocent}");
    }
    for planted in ["// see docs/b.md", "//! `docs/a.md`, \"Fences\""] {
        assert_eq!(check(planted), 1, "{planted}");
    }
}

#[test]
fn a_claim_without_a_test_is_found() {
    let check = |last: &str| {
        let table = format!(
            "| who | shown by |\n|---|---|\n| x | {last} |\n\n| who | where |\n|---|---|\n| x | y |\n"
        );
        let test = ("a.rs", "#[test]\nfn it_is_so() {}\n");
        let empty = [
            "docs/security.md",
            "docs/layer2-proof.md",
            "docs/bgp-proof.md",
            "docs/steering-proof.md",
        ];
        let page = ("docs/compatibility.md", table.as_str());
        let [a, b, c, d] = empty.map(|file| (file, ""));
        claims::shown(&tree(&[a, b, c, d, page, test])).len()
    };
    assert_eq!(check("`it_is_so`"), 0);
    assert_eq!(check("limit: nobody can"), 0);
    assert_eq!(check("`it_is_so`, `it_is_not`"), 1);
    assert_eq!(check("trust us"), 1);
    assert_eq!(claims::shown(&tree(&[])).len(), 5);
}

#[test]
fn a_rule_of_layer_2_without_a_test_of_its_number_is_found() {
    let check = |rules: &str| {
        let test = ("a.rs", "#[test]\nfn l3_1b_it_is_so() {}\n");
        claims::numbered(&tree(&[("docs/layer2.md", rules), test])).len()
    };
    assert_eq!(check("**L3.1** When. Layer 2, RFC 4861, L3."), 0);
    assert_eq!(check("**L3.1** When. See L3.2 and L3.2."), 1);
    assert_eq!(claims::numbered(&tree(&[])).len(), 1);
}

#[test]
fn a_reason_without_words_is_found() {
    let code = "pub enum Reason {\n    /// Doc.\n    NoPool,\n    Unfit(Unfit),\n    Held {\n        Vip: u8,\n    },\n}\n";
    let check = |doc: &str| {
        docs::reasons(&tree(&[
            ("speaker/core/src/plan/reason.rs", code),
            ("docs/reasons.md", doc),
        ]))
        .len()
    };
    assert_eq!(check("`NoPool` `Unfit` `Held`"), 0);
    assert_eq!(check("`NoPool` Unfit"), 2);
}

#[test]
fn a_metric_without_words_is_found() {
    let code = "a(\"heliograph_plans_total\", \"Plans\", &[\"ip\"]);\n";
    let check = |doc: &str| {
        docs::metrics(&tree(&[
            ("speaker/src/report/metrics.rs", code),
            ("docs/reference/metrics.md", doc),
        ]))
        .len()
    };
    assert_eq!(check("`heliograph_plans_total`"), 0);
    assert_eq!(check("heliograph_plans_totals"), 1);
}

struct FakeHelp;

impl Help for FakeHelp {
    fn help(&mut self, program: &str, path: &[String]) -> Result<String> {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        Ok(match (program, path.as_slice()) {
            ("xtask", []) => "Usage: cargo xtask <COMMAND>\n\nCommands:\n  lab   Shows\n  test  Tests\n\nOptions:\n  -h, --help",
            ("xtask", ["lab"]) => "Usage: cargo xtask lab [OPTIONS] [COMMAND]\n\nCommands:\n  down  Ends\n\nOptions:\n      --exec <CMD>  Runs",
            ("xtask", ["test"]) => "Usage: cargo xtask test [SUITE]...\n\nOptions:\n  -o, --output <FORM>",
            _ => "",
        }.to_owned())
    }
}

#[test]
fn a_command_that_does_not_exist_is_found() {
    let check = |text: &str| {
        commands_exist(&tree(&[("README.md", text)]), &mut FakeHelp)
            .unwrap()
            .len()
    };
    for innocent in [
        "`cargo xtask lab --exec 'curl x'`",
        "`cargo xtask test kernel -o json`",
        "`cargo test`",
        "```\n$ sudo cargo xtask lab down  # ends\n```",
        "`cargo xtask`",
        "`cargo xtask lab --exec 'for a in b; do c; done'`",
        "cargo xtask prose",
    ] {
        assert_eq!(check(innocent), 0, "{innocent}");
    }
    for planted in [
        "`cargo xtask bake`",
        "`cargo xtask lab --exe x`",
        "```\ncargo xtask lab up\n```",
        "    cargo xtask lab --wrong",
        "`cargo xtask test -p x`",
    ] {
        assert_eq!(check(planted), 1, "{planted}");
    }
}
