//! The course of a run: suites one after the other, and those that only compute beside those that mostly wait.

use super::follow::Sink;
use super::suite::{Pace, Suite, prepare};
use super::{Ended, Form, Tally};
use crate::tools::say;
use anyhow::{Context, Result, anyhow, ensure};
use rustix::thread::gettid;
use std::io::{self, Write, stderr, stdout};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

/// Runs them all, whatever becomes of each; how each ended, in the order in which they did.
pub(super) fn run(suites: &[&'static Suite], form: Form) -> Vec<Ended> {
    let begun = Instant::now();
    if let Err(why) = prepare(suites) {
        let mut built = Tally::default();
        built.count("build", Err(why));
        return vec![Ended::new("build", built, begun)];
    }
    let waits = suites.iter().any(|suite| suite.pace == Pace::Waits);
    let (beside, alone): (Vec<&Suite>, Vec<&Suite>) = suites
        .iter()
        .partition(|suite| waits && suite.pace == Pace::Computes);
    let mut ended = Vec::new();
    thread::scope(|scope| {
        let mut beside = Some(beside).filter(|beside| !beside.is_empty());
        let mut other = None;
        for (at, suite) in alone.iter().enumerate() {
            if suite.pace == Pace::Waits
                && let Some(suites) = beside.take()
            {
                other = Some(scope.spawn(move || idly(&suites)));
            }
            say(&format!(
                "[{}/{}] {}: {}",
                at + 1,
                alone.len(),
                suite.name,
                suite.about
            ));
            let begun = Instant::now();
            let tally = suite.run(form.sink());
            ended.push(tell(Ended::new(suite.name, tally, begun), form));
        }
        let Some(other) = other else { return };
        let begun = Instant::now();
        let others = other.join().unwrap_or_else(|_| {
            let mut tally = Tally::default();
            tally.count("beside", Err(anyhow!("the thread that ran it panicked")));
            vec![(Ended::new("beside", tally, begun), Vec::new())]
        });
        for (one, words) in others {
            // Nobody may be there to see it.
            let _ = form.sink().write_all(&words);
            ended.push(tell(one, form));
        }
    });
    ended
}

/// Runs suites on what others leave of the processors; their words are kept until the others are done.
fn idly(suites: &[&'static Suite]) -> Vec<(Ended, Vec<u8>)> {
    if let Err(why) = go_last() {
        say(&format!(
            "what follows takes processor time from others: {why:#}"
        ));
    }
    let run = |suite: &&'static Suite| {
        say(&format!("beside that, {}: {}", suite.name, suite.about));
        let begun = Instant::now();
        let kept = Kept::default();
        let tally = suite.run(Box::new(kept.clone()));
        (Ended::new(suite.name, tally, begun), kept.take())
    };
    suites.iter().map(run).collect()
}

/// What this thread starts from now on runs only where nothing else would (`SCHED_IDLE`, sched(7)).
fn go_last() -> Result<()> {
    let thread = gettid().as_raw_nonzero().to_string();
    let mut command = Command::new("chrt");
    command.args(["--idle", "--pid", "0", &thread]);
    let status = command.stdin(Stdio::null()).status();
    let status = status.context("failed to start chrt")?;
    ensure!(status.success(), "chrt ended with {status}");
    Ok(())
}

fn tell(ended: Ended, form: Form) -> Ended {
    let Ended { name, tally, took } = &ended;
    say(&format!("{name}: {tally} in {:.1} s", took.as_secs_f64()));
    if form == Form::Json {
        println!("{}", ended.json());
    }
    ended
}

impl Form {
    /// Where the words of suites go: standard output is for whoever reads it.
    fn sink(self) -> Sink {
        match self {
            Self::Text => Box::new(stdout()),
            Self::Json => Box::new(stderr()),
        }
    }
}

/// Words that are read later.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_started_after_going_last_is_idle() {
        let policy = thread::spawn(|| {
            go_last().unwrap();
            let mut sh = Command::new("sh");
            let stat = sh.args(["-c", "cat /proc/self/stat"]).output().unwrap();
            let stat = String::from_utf8(stat.stdout).unwrap();
            let (_, fields) = stat.rsplit_once(") ").unwrap();
            fields.split(' ').nth(38).unwrap().to_owned()
        });
        // SCHED_IDLE is 5; field 41 of proc_pid_stat(5) is the 39th after the name.
        assert_eq!(policy.join().unwrap(), "5");
    }
}
