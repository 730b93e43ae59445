//! Whole tables: how long one peer or many wait for all routes, what that costs the sender, and how many routes a message holds.
//!
//! A peer takes the connection and says nothing until the sender has all its routes; what is timed begins with the peer's OPEN.

use super::peer::{self, Listening, Session, Told};
use super::place::{Family, Site, netns, progress};
use super::sender::{Job, Make, Sender};
use crate::figure::median;
use anyhow::{Context, Result, bail};
use std::time::{Duration, Instant};

/// How much is sent to how many, and how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) family: Family,
    pub(super) routes: usize,
    pub(super) peers: usize,
    pub(super) rounds: usize,
}

/// What it came to, for one sender.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    /// From OPEN to the last route at the last peer, in milliseconds.
    pub(super) took: f64,
    /// CPU time of the sender meanwhile, in milliseconds.
    pub(super) cpu: f64,
    /// Routes in the fullest message.
    pub(super) fullest: u32,
    /// Messages with routes to one peer.
    pub(super) messages: u32,
    /// MiB.
    pub(super) memory: f64,
    pub(super) memory_peak: f64,
    /// What it grew by from knowing all routes to having told them, for each peer, in KiB.
    pub(super) memory_peer: f64,
    /// Of a speaker what routes and sessions add to the same services without them, in MiB.
    pub(super) memory_added: Option<f64>,
}

/// Measures one make of senders.
pub(super) fn measure(site: &Site<'_>, size: Size, make: Make) -> Result<Measured> {
    let Size {
        family,
        routes,
        peers,
        rounds,
    } = size;
    progress(&format!(
        "{}: {routes} routes of /{} to {peers} peers",
        make.name(),
        family.bits()
    ));
    let base = match make {
        Make::Speaker if peers > 1 => Some(memory_without_bgp(site, size)?),
        Make::Speaker | Make::Frr | Make::Bird | Make::GoBgp => None,
    };
    let peers: Vec<_> = (0..peers)
        .map(|number| super::place::peer(number, family))
        .collect();
    let listening = peer::listen(&netns(&site.pair.client), &peers)?;
    let job = Job {
        place: site.place(),
        family,
        routes,
        peers,
        has_bfd: false,
        has_graceful_restart: false,
    };
    let mut sender = Sender::start(site, make, job)?;
    settle(size);
    let loaded = sender.memory()?;
    let (mut took, mut cpu) = (Vec::new(), Vec::new());
    let mut last = None;
    for _ in 0..rounds {
        // Sessions of the round before are over, or nobody dials again.
        drop(last.take());
        let (round, sessions) = measure_round(&mut sender, &listening, routes)?;
        took.push(round.told.took.as_secs_f64() * 1e3);
        cpu.push(round.cpu.as_secs_f64() * 1e3);
        last = Some((round.told, sessions));
    }
    // With the sessions up: they are in its memory.
    let (told, _sessions) = last.context("there is a round")?;
    settle(size);
    let memory = sender.memory()?;
    Ok(Measured {
        took: median(took),
        cpu: median(cpu),
        fullest: told.fullest,
        messages: told.messages,
        memory,
        memory_peak: sender.memory_peak()?,
        memory_peer: (memory - loaded) * 1024.0 / size.peers as f64,
        memory_added: base.map(|base| memory - base),
    })
}

/// What a speaker takes with as many services, neither peers nor advertisements, in MiB.
fn memory_without_bgp(site: &Site<'_>, size: Size) -> Result<f64> {
    let job = Job {
        place: site.place(),
        family: size.family,
        routes: size.routes,
        peers: Vec::new(),
        has_bfd: false,
        has_graceful_restart: false,
    };
    let sender = Sender::start(site, Make::Speaker, job)?;
    settle(size);
    sender.memory()
}

/// Waits until what is free has been given back, where memory is of interest.
fn settle(size: Size) {
    if size.peers > 1 {
        std::thread::sleep(SETTLED);
    }
}

/// Allocators keep what is free for a second and more.
const SETTLED: Duration = Duration::from_secs(10);

/// One round.
struct Round {
    /// To the first peer, with the time of the last.
    told: Told,
    cpu: Duration,
}

/// Brings all sessions up at once, and waits until each has all routes.
fn measure_round(
    sender: &mut Sender<'_>,
    listening: &[Listening],
    routes: usize,
) -> Result<(Round, Vec<Session>)> {
    let mut sessions = Vec::new();
    for peer in listening {
        sessions.push(peer.accept(|| sender.check())?);
    }
    // What is left from being dialled is not counted for the table.
    std::thread::sleep(Duration::from_millis(200));
    let cpu = sender.cpu()?;
    let hold = sender.hold_seconds();
    let told = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for session in &mut sessions {
            threads.push(scope.spawn(move || {
                let opened = Instant::now();
                session.open(hold)?;
                session.collect(routes, opened)
            }));
        }
        let told = threads.into_iter().map(|thread| match thread.join() {
            Ok(told) => told,
            Err(_) => bail!("a thread of the bench panicked"),
        });
        told.collect::<Result<Vec<Told>>>()
    })?;
    let cpu = sender.cpu()?.saturating_sub(cpu);
    sender.check()?;
    let last = told.iter().map(|told| told.took).max();
    let mut told = *told.first().context("there is a peer")?;
    told.took = last.unwrap_or_default();
    Ok((Round { told, cpu }, sessions))
}
