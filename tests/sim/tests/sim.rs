//! Histories from seeds, and planted defects that must be caught.
//!
//! `cargo xtask sim` sets `SIM_FIRST`, `SIM_HISTORIES` and `SIM_SECONDS`; with `SIM_SPREAD=1` packets are spread in all
//! histories, and with `SIM_SPREAD=2` histories without that are left out; `SIM_SEED` and `SIM_FAULTS` replay one history aloud.

use sim::coverage::Coverage;
use sim::history::{Begins, Fault, History, Kind, Nodes};
use sim::oracle::Broken;
use sim::plant::Plant;
use sim::queue::MS;
use sim::run::{Outcome, run, run_aloud};
use sim::shrink::shrink;
use speaker_core::plan::Hold;
use speaker_proto::Span;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn no_history_breaks_a_promise() {
    if let Some(seed) = number("SIM_SEED") {
        return replay(seed);
    }
    let first = number("SIM_FIRST").unwrap_or(FIRST);
    let count = number("SIM_HISTORIES").unwrap_or(HISTORIES);
    let seconds = number("SIM_SECONDS").unwrap_or(u64::MAX);
    let total = everything(first, count, Duration::from_secs(seconds));
    println!("{}", total.coverage);
    println!("{}", total.line());
    if total.histories >= HISTORIES {
        let untaken = WAYS
            .iter()
            .filter(|way| !total.coverage.ways.contains_key(way));
        let untaken: Vec<_> = untaken.collect();
        assert!(untaken.is_empty(), "ways that no history took: {untaken:?}");
        let unseen: Vec<_> = SEEN
            .iter()
            .filter(|what| !total.coverage.has(what))
            .collect();
        assert!(unseen.is_empty(), "what no history saw: {unseen:?}");
    }
    let failed: Vec<String> = total
        .failed
        .iter()
        .map(|(seed, outcome)| failure(*seed, outcome))
        .collect();
    assert!(
        failed.is_empty(),
        "{} of {} histories broke a promise\n{}",
        total.failed.len(),
        total.histories,
        failed.join("\n")
    );
}

/// What histories came to.
#[derive(Default)]
struct Total {
    coverage: Coverage,
    histories: u64,
    events: u64,
    virtual_ns: u64,
    took: Duration,
    failed: Vec<(u64, Outcome)>,
}

impl Total {
    fn line(&self) -> String {
        let seconds = self.took.as_secs_f64();
        let events = self.events as f64 / seconds / 1000.0;
        let mean = self.virtual_ns / self.histories.max(1) / 1_000_000;
        format!(
            "{} histories of {mean} virtual ms on average in {seconds:.0} s: {events:.0} thousand events a second, {} failed",
            self.histories,
            self.failed.len()
        )
    }
}

/// Lets `count` histories happen on all processors, or as many as there is time for.
fn everything(first: u64, count: u64, time: Duration) -> Total {
    let started = Instant::now();
    let next = AtomicU64::new(first);
    let total = Mutex::new(Total::default());
    let is_spread_only = number("SIM_SPREAD") == Some(2);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while started.elapsed() < time {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed - first >= count {
                        break;
                    }
                    let history = history(seed);
                    if is_spread_only && !history.truth.is_spread {
                        continue;
                    }
                    let outcome = run(&history);
                    let mut total = total.lock().expect("no worker panics while it counts");
                    total.took = started.elapsed();
                    total.add(seed, outcome);
                }
            });
        }
    });
    total
        .into_inner()
        .expect("no worker panics while it counts")
}

impl Total {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.coverage.add(&outcome.coverage);
        self.histories += 1;
        self.events += outcome.events;
        self.virtual_ns += outcome.lasted;
        if let Some(broken) = &outcome.broken {
            println!("seed {seed}: {broken}");
            self.failed.push((seed, outcome));
        }
        if self.histories.is_multiple_of(PROGRESS) {
            println!("{}", self.line());
        }
    }
}

/// A failing history, as small as it gets, and how to see it again.
fn failure(seed: u64, outcome: &Outcome) -> String {
    let history = history(seed);
    let broken = outcome.broken.clone().expect("a history that failed");
    let shrunk = shrink(&history, broken);
    let kept: Vec<String> = shrunk.kept.iter().map(usize::to_string).collect();
    let faults = shrunk
        .kept
        .iter()
        .map(|at| format!("    {:?}\n", history.faults[*at]));
    format!(
        "SIM_SEED={seed} SIM_FAULTS={} ({} nodes): {}\n{}",
        kept.join(","),
        history.nodes,
        shrunk.broken,
        faults.collect::<String>()
    )
}

fn replay(seed: u64) {
    let mut history = history(seed);
    if let Ok(kept) = std::env::var("SIM_FAULTS") {
        let kept: Vec<usize> = kept.split(',').filter_map(|at| at.parse().ok()).collect();
        history = history.keeping(&kept);
    }
    let asked = std::env::var("SIM_PLANT").ok();
    let plant = Plant::ALL
        .into_iter()
        .find(|plant| asked == Some(format!("{plant:?}")));
    if let Some(plant) = plant {
        history = History {
            plant: Some(plant),
            ..plant.stage(seed)
        };
    }
    println!("{history:#?}");
    let outcome = run_aloud(&history);
    println!("{}", outcome.coverage);
    if let Some(broken) = outcome.broken {
        panic!("{broken}");
    }
}

#[test]
fn every_planted_defect_is_caught() {
    let mut missed = Vec::new();
    for plant in Plant::ALL {
        let caught = (0..STAGES).find_map(|seed| {
            let sound = plant.stage(seed);
            let planted = History {
                plant: Some(plant),
                ..sound.clone()
            };
            let broken = run(&planted).broken?;
            run(&sound).broken.is_none().then_some((seed, broken))
        });
        match caught {
            Some((seed, broken)) => println!("{plant:?} in history {seed}: {broken}"),
            None => missed.push(plant),
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

#[test]
fn a_void_promise_may_be_news_to_a_process_that_just_began() {
    witnessed(void, &["a promise was void", "two answers, excused"]);
}

/// Some histories of this kind have all of these in them, and none breaks a promise.
#[track_caller]
fn witnessed(of: fn(u64) -> History, all: &[&str]) {
    let outcomes: Vec<Outcome> = (0..WITNESSES).map(|seed| run(&of(seed))).collect();
    let seen = |outcome: &&Outcome| all.iter().all(|what| outcome.coverage.has(what));
    assert!(outcomes.iter().filter(seen).count() > 0);
    let broken = outcomes.iter().filter_map(|o| o.broken.as_ref());
    assert_eq!(broken.collect::<Vec<_>>(), Vec::<&Broken>::new());
}

/// A fault that begins so many milliseconds after the start, and lasts so many.
fn fault(kind: Kind, ms: u64, lasts_ms: u64) -> Fault {
    Fault {
        kind,
        begins: Begins::At(ms * MS),
        lasts: lasts_ms * MS,
    }
}

/// A node that restarts is cut off from its segment meanwhile, so that its promise is void and others take, until just before its next process
/// starts: claims come each 0.2 s, and none came through.
fn void(seed: u64) -> History {
    let whole = History::of(seed);
    let victim = (seed % whole.nodes as u64) as usize;
    History {
        grace: Span::s(10),
        faults: vec![
            fault(Kind::Restart(victim), 5_000, 3_000),
            fault(
                Kind::CutSegment(Nodes(1 << victim)),
                5_600,
                2_400 - BEFORE_MS,
            ),
        ],
        ..whole
    }
}

#[test]
fn l6_3_who_took_from_a_void_promise_does_not_leave_it_unclaimed() {
    witnessed(unclaimed, &["a promise was void", "promise not noted"]);
}

/// A node that restarts is cut off from its segment, so that its promise is void and another takes; that one restarts as well before the cut
/// ends, and nobody would claim what both kernels answer for.
fn unclaimed(seed: u64) -> History {
    let mut history = void(seed);
    let again = Fault {
        begins: Begins::On {
            state: Hold::Holding,
            nth: 0,
            delay: 20 * MS,
            from: 5_700 * MS,
            latest: 8_000 * MS,
            is_own: true,
        },
        lasts: 8_000 * MS,
        ..history.faults[0].clone()
    };
    for (fault, ms) in history.faults.iter_mut().zip([9_000, 3_400]) {
        fault.lasts = ms * MS;
    }
    history.faults.push(again);
    history
}

#[test]
fn l5_1_nobody_is_armed_while_deciding_hangs() {
    for seed in 0..WITNESSES {
        let whole = History::of(seed);
        let victim = (seed % whole.nodes as u64) as usize;
        // It lapses, and asks to be armed between two hangs of deciding, while the pulse hangs as well.
        let faults = vec![
            fault(Kind::HangDecide(victim), 5_000, 2_300),
            fault(Kind::HangPulse(victim), 7_200, 2_300),
            fault(Kind::HangDecide(victim), 8_000, 2_200),
        ];
        let outcome = run(&History { faults, ..whole });
        assert_eq!(outcome.broken, None, "{seed}");
    }
}

#[test]
fn a_history_happens_the_same_way_each_time() {
    for seed in 0..10 {
        let [first, second] = [(); 2].map(|()| run(&History::of(seed)));
        assert_eq!((first.events, first.lasted), (second.events, second.lasted));
        assert_eq!(first.coverage, second.coverage);
    }
}

/// The history of a seed; with `SIM_SPREAD=1` one in which packets are spread, whatever the seed says.
fn history(seed: u64) -> History {
    let mut history = History::of(seed);
    if number("SIM_SPREAD") == Some(1) && !history.truth.is_spread {
        history.steer();
    }
    history
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Ways between states that the suite's histories must take.
const WAYS: [(Hold, Hold); 28] = [
    (Hold::Free, Hold::Asking),
    (Hold::Free, Hold::Preparing),
    (Hold::Free, Hold::Holding),
    (Hold::Asking, Hold::Free),
    (Hold::Asking, Hold::Preparing),
    (Hold::Asking, Hold::Holding),
    (Hold::Asking, Hold::Lapsed),
    (Hold::Preparing, Hold::Free),
    (Hold::Preparing, Hold::Asking),
    (Hold::Preparing, Hold::Holding),
    (Hold::Preparing, Hold::Lapsed),
    (Hold::Holding, Hold::Free),
    (Hold::Holding, Hold::Asking),
    (Hold::Holding, Hold::Draining),
    (Hold::Holding, Hold::Contested),
    (Hold::Holding, Hold::Lapsed),
    (Hold::Draining, Hold::Free),
    (Hold::Draining, Hold::Asking),
    (Hold::Draining, Hold::Preparing),
    (Hold::Draining, Hold::Holding),
    (Hold::Draining, Hold::Lapsed),
    (Hold::Contested, Hold::Free),
    (Hold::Contested, Hold::Asking),
    (Hold::Contested, Hold::Preparing),
    (Hold::Contested, Hold::Lapsed),
    (Hold::Lapsed, Hold::Free),
    (Hold::Lapsed, Hold::Asking),
    (Hold::Lapsed, Hold::Preparing),
];
/// What else must have come about: every kind of fault, and whatever a promise is judged by.
const SEEN: [&str; 49] = [
    "stop",
    "tear",
    "hang pulse",
    "hang decide",
    "hang work",
    "kill",
    "restart",
    "cut gossip",
    "loss",
    "jumble",
    "cut segment",
    "frame loss",
    "filter gratuitous",
    "carrier",
    "slow API",
    "no API",
    "drain",
    "edit",
    "spoof",
    "lose claims",
    "one way",
    "second carrier",
    "second cut",
    "second one way",
    "slow",
    "upgrade",
    "version",
    "failovers timed",
    "mute holders timed",
    "sent on",
    "promise noted",
    "promise not noted",
    "spoofed",
    "contest won",
    "contest lost",
    "another protocol heard",
    "an unknown kind heard",
    "two answers, excused",
    "a connection opens",
    "a connection ends well",
    "a connection is its holder's",
    "a connection is kept by its slot",
    "a connection is kept by what is remembered",
    "a connection's node took the VIP",
    "a connection is kept over a move",
    "a connection outlives its node's share",
    "a packet is sent on",
    "a packet is dropped in the gap",
    "a packet is sent to who does not hear it",
];
/// Histories of the suite: the same ones each time, within two minutes on two processors.
const HISTORIES: u64 = 20_000;
const FIRST: u64 = 0;
/// A line of progress each so many histories.
const PROGRESS: u64 = 1_000;
/// Histories of a promise that is void.
const WITNESSES: u64 = 40;
/// So long before the next process starts a cut ends.
const BEFORE_MS: u64 = 7;
/// Histories in which a planted defect must show.
const STAGES: u64 = 300;
