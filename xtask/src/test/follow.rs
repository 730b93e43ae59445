//! Runs a test command to its end, passes on what it prints, and reads the counts out of that.
//!
//! A command that does not end is ended, with everything that it has started: a hang is a failure, not a longer wait.

use super::Tally;
use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Where the command's words go.
pub(super) type Sink = Box<dyn Write + Send>;

/// Runs the command and adds what it counted; one failure more where it ended badly without counting one.
pub(super) fn follow(tally: &mut Tally, name: &str, command: &mut Command, to: Sink) {
    let (counted, ended) = within(command, to, TIME_MAX);
    *tally = *tally + counted;
    if let Err(why) = verdict(counted, ended) {
        tally.count(name, Err(why));
    }
}

/// What is wrong beside the failures that were counted.
fn verdict(counted: Tally, ended: Result<bool>) -> Result<()> {
    match ended? {
        true => ensure!(counted != Tally::default(), "it ran no test"),
        false => ensure!(counted.failed > 0, "it ended badly"),
    }
    Ok(())
}

/// What the command counted, and whether it ended well.
fn within(command: &mut Command, to: Sink, time_max: Duration) -> (Tally, Result<bool>) {
    let mut tally = Tally::default();
    let result = watched(command, to, time_max, &mut tally);
    (tally, result)
}

fn watched(command: &mut Command, to: Sink, time_max: Duration, tally: &mut Tally) -> Result<bool> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("failed to start it")?;
    let Some(out) = child.stdout.take() else {
        bail!("its output was not piped")
    };
    let until = Instant::now() + time_max;
    let (counted, counts) = channel();
    // Not joined: what the command leaves behind may hold the pipe open for ever.
    thread::spawn(move || read(out, to, &counted));
    loop {
        match counts.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(count) => *tally = *tally + count,
            Err(RecvTimeoutError::Disconnected) => return Ok(child.wait()?.success()),
            Err(RecvTimeoutError::Timeout) => {
                end(child.id());
                child.wait()?;
                bail!("it did not end within {} s", time_max.as_secs_f64());
            }
        }
    }
}

/// Passes lines on and tells the counts in them, to the end of the output.
fn read(out: ChildStdout, mut to: Sink, counted: &Sender<Tally>) {
    let mut lines = BufReader::new(out);
    let mut line = Vec::new();
    while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
        // Nobody may be there to see it; the counts matter all the same.
        let _ = to.write_all(&line);
        let told = result_line(&String::from_utf8_lossy(&line)).map(|count| counted.send(count));
        if matches!(told, Some(Err(_))) {
            return;
        }
        line.clear();
    }
}

/// Reads `test result: ok. 3 passed; 0 failed; 0 ignored; …`. An ignored test counts as failed.
fn result_line(line: &str) -> Option<Tally> {
    let (_, result) = line.split_once("test result: ")?;
    let (_, counts) = result.trim().split_once(". ")?;
    let count = |what: &str| -> Option<u32> {
        let part = counts.split("; ").find(|part| part.ends_with(what))?;
        part.split(' ').next()?.parse().ok()
    };
    let (passed, failed, ignored) = (count(" passed")?, count(" failed")?, count(" ignored")?);
    Some(Tally {
        passed,
        failed: failed + ignored,
        skipped: 0,
    })
}

/// Ends a process and all that descend from it.
fn end(id: u32) {
    for id in family(id) {
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
        // One that is gone by now needs no ending.
        let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
    }
}

/// A process and its descendants, ancestors first, so that none starts another one unseen.
fn family(id: u32) -> Vec<u32> {
    let mut family = vec![id];
    let mut at = 0;
    while let Some(parent) = family.get(at) {
        let threads = fs::read_dir(format!("/proc/{parent}/task"));
        let children = threads.into_iter().flatten().flatten().flat_map(|thread| {
            let children = fs::read_to_string(thread.path().join("children"));
            let ids = children.unwrap_or_default();
            ids.split_whitespace()
                .filter_map(|id| id.parse().ok())
                .collect::<Vec<u32>>()
        });
        let children: Vec<u32> = children.collect();
        family.extend(children);
        at += 1;
    }
    family
}

/// Longer than any suite takes from nothing on two slow cores.
const TIME_MAX: Duration = Duration::from_secs(40 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::sink;

    #[test]
    fn the_counts_of_a_test_binary_are_read_and_ignored_tests_fail() {
        let line = "test result: ok. 12 passed; 0 failed; 2 ignored; 0 measured; 1 filtered out\n";
        assert_eq!(result_line(line), Some(counted(12, 2)));
        let line = "..test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured";
        assert_eq!(result_line(line), Some(counted(3, 1)));
        assert_eq!(result_line("running 3 tests"), None);
    }

    const fn counted(passed: u32, failed: u32) -> Tally {
        Tally {
            passed,
            failed,
            skipped: 0,
        }
    }

    fn followed(script: &str) -> (u32, Result<()>) {
        let mut command = Command::new("sh");
        let (counted, ended) = within(command.args(["-c", script]), Box::new(sink()), TIME_MAX);
        (counted.passed, verdict(counted, ended))
    }

    #[test]
    fn a_suite_that_ends_badly_or_runs_nothing_has_failed() {
        let ok = "echo 'test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured'";
        assert!(matches!(followed(ok), (2, Ok(()))));
        assert!(matches!(followed(&format!("{ok}; exit 1")), (2, Err(_))));
        assert!(matches!(followed("true"), (0, Err(_))));
    }

    #[test]
    fn a_suite_that_hangs_is_ended_with_all_it_started() {
        let begun = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "sh -c 'sleep 60; true'; true"]);
        let (_, result) = within(&mut command, Box::new(sink()), Duration::from_millis(300));
        assert!(result.is_err_and(|why| why.to_string().starts_with("it did not end")));
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
