//! The faults: what each does to the holder of the watched VIPs or its network, and what the rules of layer 2 say of it.
//!
//! The rules are those of docs/layer2.md. Each fault gives back how it is taken away again.

use super::cut;
use super::frame;
use super::hang;
use super::memory;
use super::socket::Sender;
use super::watch::mac_of;
use crate::lab::Lab;
use crate::lab::net::Netns;
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// One fault.
pub(super) struct Fault {
    /// As it is named on the command line.
    pub(super) name: &'static str,
    /// One line for people.
    pub(super) about: &'static str,
    /// For how long two may answer.
    pub(super) two: Two,
    /// Who must answer while it lasts.
    pub(super) moves: Moves,
    /// Does it.
    pub(super) inject: fn(&mut Target<'_>) -> Result<Heal>,
}

/// Whether two may answer for one VIP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Two {
    /// Not once.
    Never,
    /// Until the claims that they see of each other have silenced one (L5.2, L5.5): where a node is alive that nobody hears, or each side of a cut
    /// serves its own.
    UntilFenced,
    /// The same where such claims are lost: until the first that arrives.
    UntilHeard,
}

/// What becomes of the VIPs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moves {
    /// Another node answers.
    Must,
    /// The holder keeps answering.
    MustNot,
    /// Either, or nobody: nobody can know better.
    May,
}

/// What a fault is done to.
pub(super) struct Target<'a> {
    pub(super) lab: &'a mut Lab,
    /// The node that answers.
    pub(super) holder: String,
    pub(super) vips: &'a [IpAddr],
    /// A station that is no node.
    pub(super) stranger: &'a Netns,
    /// The binary that an upgrade starts.
    pub(super) upgrade: PathBuf,
}

/// Takes a fault away.
pub(super) type Heal = Box<dyn FnOnce(&mut Lab) -> Result<()>>;

/// Every fault, in the order in which they are done.
pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "kill",
        about: "the holder's speaker is killed",
        two: Two::Never,
        moves: Moves::Must,
        inject: kill,
    },
    Fault {
        name: "stop",
        about: "the holder's speaker is stopped, and goes on later",
        two: Two::Never,
        moves: Moves::Must,
        inject: stop,
    },
    Fault {
        name: "pulse",
        about: "the thread that renews the deadline hangs",
        two: Two::Never,
        moves: Moves::Must,
        inject: |target| hang::threads(target, "pulse"),
    },
    Fault {
        name: "decide",
        about: "the thread that decides hangs",
        two: Two::Never,
        moves: Moves::Must,
        inject: |target| hang::threads(target, "decide"),
    },
    Fault {
        name: "cut-node",
        about: "the switch passes nothing of the holder, its carrier stays",
        two: Two::UntilFenced,
        moves: Moves::Must,
        inject: cut::node,
    },
    Fault {
        name: "cut-gossip",
        about: "speakers do not hear the holder, the segment does",
        two: Two::UntilFenced,
        moves: Moves::May,
        inject: cut::gossip,
    },
    Fault {
        name: "cut-gossip-5",
        about: "the same, and of all claims among nodes 5 % are lost",
        two: Two::UntilHeard,
        moves: Moves::May,
        inject: |target| cut::lossy_gossip(target, 5),
    },
    Fault {
        name: "cut-gossip-30",
        about: "the same with 30 %",
        two: Two::UntilHeard,
        moves: Moves::May,
        inject: |target| cut::lossy_gossip(target, 30),
    },
    Fault {
        name: "cut-segment",
        about: "speakers hear the holder, the segment does not",
        two: Two::Never,
        moves: Moves::May,
        inject: cut::segment,
    },
    Fault {
        name: "carrier",
        about: "the holder's link loses its carrier",
        two: Two::Never,
        moves: Moves::Must,
        inject: cut::carrier,
    },
    Fault {
        name: "flap",
        about: "the carrier of the holder's link comes and goes",
        // After each return its heartbeats wait until the kernel asks again where the others are, up to a second: nobody hears it, and the segment
        // is whole (L5.5).
        two: Two::UntilFenced,
        moves: Moves::May,
        inject: cut::flap,
    },
    Fault {
        name: "restart",
        about: "the holder's speaker is restarted",
        two: Two::Never,
        moves: Moves::MustNot,
        inject: restart,
    },
    Fault {
        name: "upgrade",
        about: "the holder's speaker is replaced by another binary (--upgrade-to, or a copy of the same)",
        two: Two::Never,
        moves: Moves::MustNot,
        inject: upgrade,
    },
    Fault {
        name: "drain",
        about: "the holder is drained",
        two: Two::Never,
        moves: Moves::Must,
        inject: drain,
    },
    Fault {
        name: "starve",
        about: "eight busy threads for each CPU",
        two: Two::Never,
        moves: Moves::MustNot,
        inject: starve,
    },
    Fault {
        name: "memory",
        about: "the holder's speaker has all the memory that it may have (cgroup), and needs more",
        two: Two::Never,
        moves: Moves::May,
        inject: memory::squeeze,
    },
    Fault {
        name: "spoof",
        about: "a host that is no node claims the VIPs",
        two: Two::Never,
        moves: Moves::MustNot,
        inject: spoof,
    },
    Fault {
        name: "spoof-member",
        about: "a host that is no node claims the VIPs in the name of another node, twice a second",
        two: Two::Never,
        moves: Moves::MustNot,
        inject: spoof_member,
    },
    Fault {
        name: "mute",
        about: "the switch drops gratuitous frames, and the holder's speaker is killed",
        two: Two::Never,
        moves: Moves::Must,
        inject: mute,
    },
];

/// Not among the others: shows that the watch finds two that answer. It must fail.
pub(super) const PLANTED: Fault = Fault {
    name: "planted",
    about: "a second host answers for the VIPs as if it were a node; to see that the watch finds it",
    two: Two::Never,
    moves: Moves::May,
    inject: spoof,
};

fn kill(target: &mut Target<'_>) -> Result<Heal> {
    target.lab.speaker(&target.holder)?.kill()?;
    Ok(start_again(target.holder.clone()))
}

fn start_again(node: String) -> Heal {
    Box::new(move |lab| {
        lab.start_speaker(&node)?;
        lab.speaker(&node)?.wait_until_ready()
    })
}

fn stop(target: &mut Target<'_>) -> Result<Heal> {
    let holder = target.holder.clone();
    target.lab.speaker(&holder)?.signal(Signal::STOP);
    Ok(Box::new(move |lab| {
        lab.speaker(&holder)?.signal(Signal::CONT);
        Ok(())
    }))
}

fn restart(target: &mut Target<'_>) -> Result<Heal> {
    let holder = &target.holder;
    target.lab.speaker(holder)?.stop()?;
    target.lab.start_speaker(holder)?;
    target.lab.speaker(holder)?.wait_until_ready()?;
    Ok(nothing())
}

fn upgrade(target: &mut Target<'_>) -> Result<Heal> {
    let copy = target.lab.folder().join("speaker-upgraded");
    // A rename, for the copy of the last time may be running.
    let fresh = copy.with_extension("new");
    fs::copy(&target.upgrade, &fresh)
        .and_then(|_| fs::rename(&fresh, &copy))
        .with_context(|| format!("failed to copy {}", target.upgrade.display()))?;
    let before = std::mem::replace(&mut target.lab.options.speaker, copy);
    let done = restart(target);
    target.lab.options.speaker = before;
    done
}

fn drain(target: &mut Target<'_>) -> Result<Heal> {
    let holder = target.holder.clone();
    target.lab.speaker(&holder)?.ctl(&["drain"])?;
    Ok(Box::new(move |lab| {
        lab.speaker(&holder)?.ctl(&["drain", "--undo"]).map(drop)
    }))
}

fn starve(_: &mut Target<'_>) -> Result<Heal> {
    let is_over = Arc::new(AtomicBool::new(false));
    let cpus = thread::available_parallelism()?.get();
    for _ in 0..cpus * HOGS_PER_CPU {
        let is_over = Arc::clone(&is_over);
        // Bounded, should nobody end it.
        let until = Instant::now() + HOG_MAX;
        thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) && Instant::now() < until {
                std::hint::spin_loop();
            }
        });
    }
    Ok(Box::new(move |_| {
        is_over.store(true, Ordering::Relaxed);
        Ok(())
    }))
}

fn spoof(target: &mut Target<'_>) -> Result<Heal> {
    let mac = mac_of(target.stranger, "eth0")?;
    let claims = target.vips.iter().map(|vip| frame::claim(mac, *vip));
    repeat(target, claims.collect(), SPOOF_INTERVAL)
}

/// To the holder alone, as who took a VIP claims it (L5.4): the stations have no part in it. The switch believes in the spoofed address, too, and sends
/// what is for that node astray until it is next heard.
fn spoof_member(target: &mut Target<'_>) -> Result<Heal> {
    let mut of = [None, None];
    for node in &target.lab.topology().nodes {
        let mac = mac_of(&node.netns, "eth0")?;
        of[usize::from(node.name != target.holder)] = Some(mac);
    }
    let [Some(holder), Some(other)] = of else {
        bail!("the lab has no second node");
    };
    let claims = target
        .vips
        .iter()
        .map(|vip| frame::claim_to(holder, other, *vip));
    repeat(target, claims.collect(), SPOOF_MEMBER_INTERVAL)
}

/// Frames from the host that is no node, all of them each so often.
fn repeat(target: &Target<'_>, frames: Vec<Vec<u8>>, interval: Duration) -> Result<Heal> {
    let sender = target.stranger.enter(|| Sender::open("eth0"))??;
    let is_over = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&is_over);
    let sending = thread::spawn(move || {
        while !asked.load(Ordering::Relaxed) {
            for frame in &frames {
                // A full queue of the link loses one of many.
                let _ = sender.send(frame);
            }
            thread::sleep(interval);
        }
    });
    Ok(Box::new(move |_| {
        is_over.store(true, Ordering::Relaxed);
        sending
            .join()
            .map_err(|_| anyhow::anyhow!("the spoofer panicked"))
    }))
}

fn mute(target: &mut Target<'_>) -> Result<Heal> {
    let open = cut::gratuitous(target)?;
    let start = kill(target)?;
    Ok(Box::new(|lab| {
        open(lab)?;
        start(lab)
    }))
}

/// For a fault that is over when it is done.
pub(super) fn nothing() -> Heal {
    Box::new(|_| Ok(()))
}

const HOGS_PER_CPU: usize = 8;
const HOG_MAX: Duration = Duration::from_secs(60);
const SPOOF_INTERVAL: Duration = Duration::from_millis(10);
/// A few within a fault, each with time to be denied.
const SPOOF_MEMBER_INTERVAL: Duration = Duration::from_millis(500);
