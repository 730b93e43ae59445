//! BFD, 3 × 50 ms: how evenly each sender sends with every CPU busy, and how soon a death is noticed on either side.

use super::capture::{Capture, longest_gap};
use super::hold;
use super::peer::{self, Session};
use super::place::{Family, Site, netns, progress};
use super::sender::{Job, Make, Sender};
use super::watch::{Event, Watch};
use crate::cpu::Spinners;
use crate::net::NODE_LINK;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What it came to, for one sender; of each part by itself, whatever became of the one before.
pub(super) struct Measured {
    pub(super) load: Result<Load>,
    /// From a dead peer's last packet to the end of its BGP session here, in milliseconds.
    pub(super) peer_death: Result<Vec<f64>>,
    /// From the death of the sender's link to its peers' noticing, in milliseconds.
    pub(super) node_death: Result<Vec<f64>>,
}

/// What it sends with every CPU busy.
pub(super) struct Load {
    /// The longest time between two packets of a session, in milliseconds, of all sessions.
    pub(super) longest_gap: f64,
    /// Sessions with a time between packets above the detection time.
    pub(super) gaps: usize,
    /// Of one CPU, in per cent.
    pub(super) cpu: f64,
}

/// Measures one make.
///
/// # Errors
/// If not all its sessions come up.
pub(super) fn measure(
    site: &Site<'_>,
    make: Make,
    sessions: usize,
    span: Duration,
) -> Result<Measured> {
    let (name, seconds) = (make.name(), span.as_secs());
    progress(&format!(
        "{name}: BFD with {sessions} peers, every CPU busy for {seconds} s"
    ));
    let peers: Vec<_> = (0..sessions)
        .map(|number| super::place::peer(number, Family::V4))
        .collect();
    let listening = peer::listen(&netns(&site.pair.client), &peers)?;
    let watch = Watch::start(&site.pair.client, sessions)?;
    let job = Job {
        place: site.place(),
        family: Family::V4,
        routes: 1,
        peers,
        has_bfd: true,
        has_graceful_restart: false,
    };
    let mut sender = Sender::start(site, make, job)?;
    let mut up = hold::establish(&listening, &mut sender, &watch)?;
    let load = under_load(site, &mut sender, sessions, span);
    let half = sessions.div_ceil(2);
    let alive = up.split_off(half);
    let peer_death = die(&watch, up);
    let node_death = lose(site, &watch, half..sessions);
    drop(alive);
    watch.stop()?;
    Ok(Measured {
        load,
        peer_death,
        node_death,
    })
}

fn under_load(
    site: &Site<'_>,
    sender: &mut Sender<'_>,
    sessions: usize,
    span: Duration,
) -> Result<Load> {
    let capture = Capture::start(&site.pair.client, &site.folder()?)?;
    let hogs = Spinners::start();
    let (cpu, start) = (sender.cpu()?, Instant::now());
    std::thread::sleep(span);
    let used = (sender.cpu()? - cpu).as_secs_f64() / start.elapsed().as_secs_f64();
    drop(hogs);
    let arrivals = capture.stop()?;
    sender.check()?;
    ensure!(
        arrivals.len() == sessions,
        "{} of {sessions} sessions were heard",
        arrivals.len()
    );
    let gaps = arrivals.values().map(|times| longest_gap(times));
    let gaps = gaps.collect::<Option<Vec<f64>>>();
    let gaps = gaps.context("a session sent hardly anything")?;
    let limit = super::watch::DETECTION.as_secs_f64() * 1e3;
    Ok(Load {
        gaps: gaps.iter().filter(|gap| **gap > limit).count(),
        longest_gap: gaps.into_iter().fold(0.0, f64::max),
        cpu: used * 100.0,
    })
}

/// One peer after the other falls silent; how long its BGP session lasts after its last packet.
fn die(watch: &Watch, sessions: Vec<Session>) -> Result<Vec<f64>> {
    let count = sessions.len();
    let ended = std::thread::scope(|scope| {
        let threads = sessions
            .into_iter()
            .map(|mut session| scope.spawn(move || session.ended()));
        let threads: Vec<_> = threads.collect();
        for number in 0..count {
            watch.mute(number)?;
            // Each at another place of its interval.
            std::thread::sleep(Duration::from_millis(17));
        }
        let ended = threads.into_iter().map(|thread| match thread.join() {
            Ok(ended) => ended,
            Err(_) => bail!("a thread of the bench panicked"),
        });
        ended.collect::<Result<Vec<Instant>>>()
    })?;
    let muted = watch.await_events(count, |event| matches!(event, Event::Muted(..)))?;
    let last: BTreeMap<usize, Instant> = muted
        .into_iter()
        .filter_map(|event| match event {
            Event::Muted(number, at) => Some((number, at)),
            Event::Up(_) | Event::Down(..) => None,
        })
        .collect();
    let times = ended.into_iter().enumerate().map(|(number, ended)| {
        let last = last.get(&number).context("it was muted")?;
        Ok(ended.checked_duration_since(*last))
    });
    let times = times.collect::<Result<Vec<Option<Duration>>>>()?;
    let times: Vec<f64> = times.into_iter().flatten().map(milliseconds).collect();
    ensure!(
        times.len() == count,
        "{} of {count} sessions had ended before their peer fell silent",
        count - times.len()
    );
    Ok(times)
}

/// The node's link goes; how long until each of the other sessions is down at the peer's end.
fn lose(site: &Site<'_>, watch: &Watch, sessions: std::ops::Range<usize>) -> Result<Vec<f64>> {
    let died = Instant::now();
    site.pair.node.ip(&["link", "set", NODE_LINK, "down"])?;
    let is_one = |event: &Event| matches!(event, Event::Down(number, at) if sessions.contains(number) && *at > died);
    let events = watch.await_events(sessions.len(), is_one);
    site.pair.node.ip(&["link", "set", NODE_LINK, "up"])?;
    let v6 = format!("{}/64", site.place().v6);
    site.pair
        .node
        .ip(&["address", "replace", &v6, "dev", NODE_LINK, "nodad"])?;
    let times = events?.into_iter().filter_map(|event| match event {
        Event::Down(_, at) => Some(milliseconds(at - died)),
        Event::Up(_) | Event::Muted(..) => None,
    });
    Ok(times.collect())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
