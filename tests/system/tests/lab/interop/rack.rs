//! `cargo xtask lab --bgp`: what it lends behind its router, what its tour counts, and that it goes without a trace.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use system_tests::lab::{left_behind, tell, turn, xtask};
use xtask::tools::root;

#[test]
fn exec_lends_the_client_behind_the_router_and_everything_goes_after_it() {
    let script = "for vip in $HELIOGRAPH_VIPS; do curl -sS --max-time 5 \"http://$vip/\" || exit 1; done; exit 7";
    let output = lab(&["--exec", script]);
    let (out, err) = words(&output);
    assert_eq!(output.status.code(), Some(7), "{err}");
    let answers: Vec<&str> = out.lines().filter(|line| line.contains("pod=")).collect();
    assert_eq!(answers.len(), 2, "{out}\n{err}");
    // Policy Local shows the client as it is: not of the nodes' network.
    for (answer, client) in answers.iter().zip(["203.0.113.2", "2001:db8:113::2"]) {
        assert!(answer.contains(&format!("client={client} ")), "{out}");
    }
}

#[test]
fn requests_from_behind_the_router_are_answered_by_every_node() {
    let script = "for vip in $HELIOGRAPH_VIPS; do \
                  for i in $(seq 60); do curl -sS --max-time 5 \"http://$vip/\" || exit 1; done; done";
    let output = lab(&["--exec", script]);
    let (out, err) = words(&output);
    assert!(output.status.success(), "{err}");
    let mut answers: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in out.lines() {
        let word = |key| {
            line.split(' ')
                .find_map(|word: &str| word.strip_prefix(key))
        };
        let (node, host) = (word("node=").unwrap(), word("host=").unwrap());
        *answers.entry((host, node)).or_default() += 1;
    }
    tell(&format!("60 requests to each address: {answers:?}"));
    assert_eq!(
        answers.len(),
        6,
        "three nodes for each of two addresses: {answers:?}"
    );
    // A third each; that one of six gets less than six by chance happens once in some ten thousand runs.
    assert!(answers.values().all(|count| *count >= 6), "{answers:?}");
}

#[test]
fn the_tour_drains_a_node_and_kills_a_speaker_for_nothing_and_misses_a_dead_node_by_bfd() {
    let output = lab(&["--tour"]);
    let (out, err) = words(&output);
    assert!(output.status.success(), "{out}\n{err}");
    let counted: Vec<&str> = out
        .lines()
        .filter(|line| line.contains(" datagrams lost"))
        .collect();
    for line in &counted {
        tell(line.trim());
    }
    let [drained, killed, dead] = counted[..] else {
        panic!("three counts: {out}");
    };
    for line in [drained, killed] {
        assert!(line.contains("; 0 of "), "{line}");
    }
    assert!(dead.contains("BFD"), "{dead}");
    let gap = dead.rsplit_once("all within ").unwrap().1;
    let gap: f64 = gap.trim_end_matches(" s").parse().unwrap();
    // Not before BFD's 0.3 s are over; on a busy machine the router is late, but not by what BGP's own hold time of 90 s would take.
    assert!((0.2..10.0).contains(&gap), "{dead}");
}

/// Runs it to its end, after which nothing may be left.
#[track_caller]
fn lab(words: &[&str]) -> Output {
    let _turn = turn();
    let output = Command::new(xtask())
        .args(["lab", "--bgp"])
        .args(words)
        .current_dir(root())
        .output()
        .unwrap();
    assert_eq!(left_behind("hg-"), Vec::<String>::new());
    output
}

fn words(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}
