//! Whose turn it is to have a lab: one test at a time, of this process or another, with everything built and nothing left of runs that were
//! killed.

use super::priority::First;
use std::fs::{self, File};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use xtask::lab::Options;
use xtask::tools;

/// The lab of one run of the suite: two runs, of two checkouts even, do not meet.
pub(super) fn options_of(process: u32) -> Options {
    let name = format!("{PREFIX}{process}");
    Options {
        bpffs: Path::new("/sys/fs/bpf").join(&name),
        run_dir: Path::new("/run").join(&name),
        cluster: None,
        prefix: name,
        ..Options::sample()
    }
}

/// Takes down what runs of this checkout's suite that were killed have left.
fn sweep() {
    let home = Options::sample().home;
    let entries = fs::read_dir(home).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let processes = names.filter_map(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
    for process in processes.filter(|process| !Path::new(&format!("/proc/{process}")).exists()) {
        xtask::lab::down(&options_of(process)).expect("what a killed run left goes");
    }
}

/// Of the namespaces of test labs; the process' number follows.
const PREFIX: &str = "hgt";

/// The right to have a lab, given up when dropped.
pub struct Turn {
    _first: First,
    _here: MutexGuard<'static, ()>,
    _elsewhere: File,
}

/// Waits until no other test has a lab, of this process or another.
pub fn turn() -> Turn {
    let here = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    built();
    let home = Options::sample().home;
    fs::create_dir_all(&home).expect("the target folder can be written");
    let elsewhere =
        File::create(home.join("suite.lock")).expect("the target folder can be written");
    elsewhere.lock().expect("a file can be locked");
    Turn {
        _first: First::now(),
        _here: here,
        _elsewhere: elsewhere,
    }
}

/// Builds what the lab runs, once for a run of the suite.
fn built() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        xtask::lab::build().expect("what the lab needs is there");
        let mut cargo = tools::cargo();
        tools::run(cargo.args(["build", "--quiet", "--package", "xtask"])).expect("xtask builds");
        sweep();
    });
}

static TURN: Mutex<()> = Mutex::new(());
