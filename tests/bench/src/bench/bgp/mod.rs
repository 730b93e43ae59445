//! BGP and BFD beside FRR, BIRD and GoBGP: each figure is measured of all of them in one run, with the same routes, peers and addresses.
//!
//! All senders are real processes as they ship, those of other makes from Debian 12. What they are measured by is a peer of the bench's
//! own ([`peer`], [`watch`]), and for losses a router ([`losses`]).

mod capture;
mod change;
mod liveness;
mod losses;
mod peer;
mod place;
mod sender;
mod shown;
mod table;
mod watch;

use super::Setting;
use crate::figure::Figure;
use anyhow::Result;
use place::{Family, PEERS_MAX, Site, progress};
use std::time::{Duration, Instant};
use table::Size;

/// The name of this bench.
pub(crate) const NAME: &str = "bgp";

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Extent {
    /// Routes to one peer.
    large: usize,
    /// Routes and peers of the case with many peers.
    many: (usize, usize),
    rounds: usize,
    /// Changes one at a time.
    changes: usize,
    /// For how long there are many changes.
    busy: Duration,
    /// BFD sessions.
    sessions: usize,
    /// For how long their packets are captured.
    span: Duration,
}

impl Extent {
    fn of(setting: &Setting) -> Self {
        let all = Self {
            large: 100_000,
            many: (10_000, 64),
            rounds: 3,
            changes: 200,
            busy: Duration::from_secs(20),
            sessions: PEERS_MAX,
            span: setting.capture,
        };
        let quick = Self {
            large: 4_000,
            many: (1_000, 8),
            rounds: 1,
            changes: 10,
            busy: Duration::from_secs(2),
            sessions: 8,
            span: setting.capture.min(Duration::from_secs(3)),
        };
        if setting.is_quick { quick } else { all }
    }
}

/// Measures.
pub(crate) fn run(setting: &Setting) -> Result<Vec<Figure>> {
    let (begun, extent) = (Instant::now(), Extent::of(setting));
    let site = Site::create(setting)?;
    let mut figures = Vec::new();
    for family in [Family::V4, Family::V6] {
        let size = Size {
            family,
            routes: extent.large,
            peers: 1,
            rounds: extent.rounds,
        };
        figures.extend(shown::of_one_peer(size, &table::measure(&site, size)?));
    }
    let many = Size {
        family: Family::V4,
        routes: extent.many.0,
        peers: extent.many.1,
        rounds: 1,
    };
    figures.extend(shown::of_many_peers(many, &table::measure(&site, many)?));
    let small = Size {
        family: Family::V4,
        routes: 1_000,
        peers: 4,
        rounds: 1,
    };
    figures.extend(shown::of_memory(small, &table::measure(&site, small)?));
    let changes = change::measure(&site, extent.changes, extent.busy)?;
    figures.extend(shown::of_changes(&changes));
    let live = liveness::measure(&site, extent.sessions, extent.span)?;
    figures.extend(shown::of_liveness(extent.sessions, extent.span, &live));
    figures.extend(shown::of_losses(&losses::measure(&site)?));
    progress(&format!("all of it took {} s", begun.elapsed().as_secs()));
    Ok(figures)
}
