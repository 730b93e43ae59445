//! `cargo xtask lab` itself: what it lends, what it says, and that it goes without a trace.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use system_tests::lab::{left_behind, turn, xtask};
use xtask::tools::root;

#[test]
fn exec_lends_the_client_and_ends_with_the_commands_status() {
    let script = "for vip in $HELIOGRAPH_VIPS; do curl -sS --max-time 5 \"http://$vip/\" || exit 1; done; exit 7";
    let turn = turn();
    let output = Command::new(xtask())
        .args(["lab", "--exec", script])
        .current_dir(root())
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(7), "{err}");
    assert_eq!(
        out.lines().filter(|line| line.contains("pod=")).count(),
        4,
        "{out}\n{err}"
    );
    assert_eq!(left_behind("hg-"), Vec::<String>::new());
    drop(turn);
}

#[test]
fn ctrl_c_takes_everything_away() {
    let _turn = turn();
    let mut lab = up();
    let interrupted = Command::new("kill")
        .args(["-INT", &lab.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupted.success());
    let status = lab.wait().unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(left_behind("hg-"), Vec::<String>::new());
}

#[test]
fn down_takes_away_what_another_keeps_up() {
    let _turn = turn();
    let mut lab = up();
    down();
    assert!(lab.wait().unwrap().success());
    assert_eq!(left_behind("hg-"), Vec::<String>::new());
}

#[test]
fn down_takes_away_what_a_crash_has_left() {
    let _turn = turn();
    let mut lab = up();
    lab.kill().unwrap();
    lab.wait().unwrap();
    assert_ne!(left_behind("hg-"), Vec::<String>::new());
    down();
    assert_eq!(left_behind("hg-"), Vec::<String>::new());
}

/// Starts it and waits until it has shown what it has to show.
fn up() -> Child {
    let mut lab = Command::new(xtask())
        .args(["lab", "up"])
        .current_dir(root())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(lab.stdout.take().unwrap()).lines();
    let last = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("Ctrl-C here")));
    assert!(last.is_some(), "the lab comes up");
    lab
}

fn down() {
    let status = Command::new(xtask())
        .args(["lab", "down"])
        .current_dir(root())
        .status();
    assert!(status.unwrap().success());
}
