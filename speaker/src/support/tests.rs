//! Archives of a node without a speaker; with one the lab has a test.

use super::*;
use crate::settings::args::{Cli, Command};
use clap::Parser;

fn args(more: &[String]) -> CtlArgs {
    let words = ["speaker", "ctl", "--run-dir", "/nowhere", "support"];
    let words = words.into_iter().map(str::to_owned);
    let Command::Ctl(args) = Cli::parse_from(words.chain(more.iter().cloned())).command else {
        panic!("these are words of ctl");
    };
    args
}

fn wanted(args: &CtlArgs) -> &SupportArgs {
    match &args.errand {
        ctl::Errand::Support(wanted) => wanted,
        ctl::Errand::Ask(_) | ctl::Errand::Version | ctl::Errand::Doctor(_) => {
            panic!("these are words of support")
        }
    }
}

fn bundle(room: usize) -> Bundle {
    Bundle {
        redactor: Redactor::new(None),
        files: Vec::new(),
        notes: Vec::new(),
        bytes: ARCHIVE_BYTES_MAX - room,
    }
}

#[test]
fn an_archive_without_a_speaker_has_what_there_is_and_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(place("secretkey"), "planted-members-secret\n").unwrap();
    let log = "started planted-members-secret\npassword=planted-password\nvipTaken 192.0.2.10\n";
    std::fs::write(place("speaker.log"), log).unwrap();
    let args = args(&[
        "--file".to_owned(),
        place("out.tar"),
        "--log".to_owned(),
        place("speaker.log"),
        "--ml-secret-key-path".to_owned(),
        place("secretkey"),
    ]);
    assert_eq!(run(&args, wanted(&args)).unwrap(), ExitCode::SUCCESS);
    let bytes = std::fs::read(place("out.tar")).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(!text.contains("planted-"), "a secret is in it");
    for part in [
        "heliograph-support/doctor.json",
        "heliograph-support/logs/0.log",
        "no speaker was reached",
        "vipTaken 192.0.2.10",
        "password=(redacted)",
    ] {
        assert!(text.contains(part), "{part}");
    }
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(place("out.tar"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_is_too_much_is_cut_and_said() {
    let mut full = bundle(10);
    full.add("a", Ok("12345678".to_owned()));
    full.add("b", Ok("12345678".to_owned()));
    full.add("c", Err(anyhow::anyhow!("no answer")));
    assert_eq!(full.files[1].1, b"12");
    assert_eq!(
        full.notes,
        ["b is cut: 2 bytes of 8", "c is missing: no answer"]
    );
}

#[test]
fn the_end_of_a_long_log_begins_with_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let line = format!("{}\n", "x".repeat(99));
    std::fs::write(&path, line.repeat(FILE_BYTES_MAX / 100 + 10)).unwrap();
    let end = end_of(&path).unwrap();
    assert!(end.len() <= FILE_BYTES_MAX && end.len() > FILE_BYTES_MAX - 200);
    assert_eq!(end.len() % 100, 0);
    assert!(end_of(Path::new("/nowhere/log")).is_err());
}

#[test]
fn a_speaker_that_does_not_answer_costs_no_more_than_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("ctl.sock");
    let _listens = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let until = now() + Span::ms(50);
    let error = ask(&socket, &Question::Status, Form::Table, until).unwrap_err();
    assert_eq!(error.to_string(), "no answer came in time");
    let error = ask(&socket, &Question::Status, Form::Table, now()).unwrap_err();
    assert_eq!(error.to_string(), "there was no time left to ask");
}
