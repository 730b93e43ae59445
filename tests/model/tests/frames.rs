//! The table of frames against the model, and everything that ever was worth keeping against the logic.
//!
//! The corpus under `fuzz/frames` is hexadecimal text, one frame a file, with the two leading bytes that choose tables
//! (`speaker_ebpf::model::fuzz_frame`). `UPDATE_EXPECT=1` adds what the table has and the corpus lacks.

use crate::hex;
use model_tests::frames::{Case, Hook, cases};
use speaker_ebpf::logic::Verdict;
use speaker_ebpf::model::{fuzz_frame, parse_reply};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Suites shrink by accident: fewer cases than this are a mistake.
const CASES_MIN: usize = 100;

#[test]
fn every_case_holds_for_the_model() {
    let cases = cases();
    assert!(cases.len() >= CASES_MIN, "only {} cases", cases.len());
    for case in &cases {
        for hook in hooks(case) {
            let (verdict, bytes, tables) = case.play(hook);
            case.check(hook, verdict, &bytes, &tables);
        }
    }
}

#[test]
fn every_case_has_a_name_of_its_own() {
    let cases = cases();
    let names: BTreeSet<_> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len());
}

/// Those to packets are held to the account, byte for byte.
#[test]
fn every_reply_to_a_neighbour_can_be_read() {
    for case in cases() {
        if case.verdict == Verdict::Reply && case.opted.is_none() {
            parse_reply(&case.bytes).unwrap_or_else(|why| panic!("{}: {why}", case.name));
        }
    }
}

#[test]
fn a_frame_cut_anywhere_does_no_harm_and_gets_no_answer_before_its_end() {
    for case in cases() {
        let whole = case.frame.len();
        for length in 0..whole.min(128) {
            let data = [&[0, 0xff], &case.frame[..length]].concat();
            fuzz_frame(&data);
        }
    }
}

#[test]
fn the_corpus_does_no_harm() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/frames");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        add_cases(&folder);
    }
    let files = hex::corpus(&folder);
    assert!(files.len() >= CASES_MIN, "only {} files", files.len());
    files.iter().for_each(|(_, data)| fuzz_frame(data));
}

fn hooks(case: &Case) -> Vec<Hook> {
    case.only
        .map_or(vec![Hook::Tc, Hook::Xdp], |hook| vec![hook])
}

fn add_cases(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for case in cases().iter().filter(|case| case.frame.len() <= 256) {
        let name: String = case
            .name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let hex: Vec<_> = case
            .frame
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let lines: Vec<_> = hex.chunks(16).map(|line| line.concat()).collect();
        // Packets of VIPs that move mean most where they move, to the taker here, and those of VIPs that are spread where these are.
        let choice = match (case.passage, case.steered) {
            (_, Some(_)) => "40ff",
            (Some(_), None) => "f1ff",
            (None, None) => "f0ff",
        };
        let text = format!("{choice}\n{}\n", lines.join("\n"));
        fs::write(folder.join(format!("{name}.hex")), text).unwrap();
    }
}
