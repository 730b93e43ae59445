//! `cargo xtask lab chaos`: that its watch finds two answers, and what it finds in the faults that need no patience.

use serde_json::Value;
use std::process::Command;
use system_tests::lab::{left_behind, other_speaker, turn, xtask};
use xtask::lab::Options;
use xtask::tools::root;

#[test]
fn the_watch_finds_a_planted_second_answerer() {
    let (code, lines) = chaos(&["planted"]);
    assert_eq!(code, Some(1), "{lines:#?}");
    let planted = &lines[0];
    assert_eq!(planted["well"], false);
    let broken = planted["broken"].to_string();
    assert!(broken.contains("two answered for 192.0.2."), "{broken}");
    assert!(broken.contains("two answered for 2001:db8:"), "{broken}");
}

#[test]
fn l3_1b_a_speaker_that_is_killed_or_stopped_is_followed_by_one_other() {
    let (code, lines) = chaos(&["kill", "stop"]);
    assert_eq!(code, Some(0), "{lines:#?}");
    assert_eq!(lines.last().unwrap()["done"], 2);
}

#[test]
fn l6_3_an_upgrade_moves_nothing() {
    let (code, lines) = chaos(&["upgrade"]);
    assert_eq!(code, Some(0), "{lines:#?}");
    assert_eq!(lines[0]["from"], lines[0]["to"]);
}

/// Another version's speaker is replaced by this one while others of its version go on, and this one by it. `HELIOGRAPH_OTHER` names it;
/// without it this version meets itself, and it is said.
#[test]
fn l6_3_an_upgrade_from_another_version_moves_nothing_nor_does_the_way_back() {
    let own = Options::sample().speaker;
    let other = other_speaker().unwrap_or_else(|| own.clone());
    for (before, after) in [(&other, &own), (&own, &other)] {
        let [before, after] = [before, after].map(|path| path.display().to_string());
        let binaries = ["--speaker", &before, "--upgrade-to", &after];
        let (code, lines) = chaos_with(&["upgrade"], &binaries);
        assert_eq!(code, Some(0), "{before} to {after}: {lines:#?}");
        assert_eq!(lines[0]["from"], lines[0]["to"], "{before} to {after}");
    }
}

#[test]
fn the_tour_tells_how_long_nobody_answers() {
    let _turn = turn();
    let output = Command::new(xtask())
        .args(["lab", "--tour"])
        .current_dir(root())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let told = text.lines().filter_map(|line| {
        let (_, gap) = line.split_once("longest without an answer ")?;
        let (gap, rest) = gap.split_once(" ms, ")?;
        Some((gap.parse::<u32>().unwrap(), rest.starts_with("never two")))
    });
    let told: Vec<(u32, bool)> = told.collect();
    assert!(output.status.success(), "{text}");
    // Two may be alive that cannot hear each other only where a node is cut off.
    let [(restart, true), (_, true), (kill, true), (cut, _)] = told[..] else {
        panic!("{told:?}: {text}")
    };
    assert!(restart < kill.min(cut), "{told:?}: {text}");
    assert_eq!(left_behind("hg-"), Vec::<String>::new());
}

/// Does these faults; the exit code and what was said of each.
fn chaos(faults: &[&str]) -> (Option<i32>, Vec<Value>) {
    chaos_with(faults, &[])
}

fn chaos_with(faults: &[&str], flags: &[&str]) -> (Option<i32>, Vec<Value>) {
    let _turn = turn();
    let named = faults.iter().flat_map(|fault| ["--fault", fault]);
    let output = Command::new(xtask())
        .args(["lab", "chaos", "-o", "json"])
        .args(named)
        .args(flags)
        .current_dir(root())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().map(serde_json::from_str);
    let lines: Result<Vec<Value>, _> = lines.collect();
    let lines = lines.unwrap_or_else(|error| panic!("{error}: {text}"));
    assert!(
        !lines.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(left_behind("hg-"), Vec::<String>::new());
    (output.status.code(), lines)
}
