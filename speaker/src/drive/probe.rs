//! Asks who has a VIP before it is taken, and watches those who hold VIPs.
//!
//! Drives [`Probes`] and [`Watch`] on the sockets of the edge: askings come in from the deciding thread and findings go back,
//! both through channels that never block. **Whatever is lost on the way is never called unanswered**: who asked and hears nothing
//! asks again. Knows nothing of what follows from an answer.

use super::clock::now;
use crate::edge::{EarCounts, Ears, FrameSender};
use anyhow::Result;
use speaker_proto::announce::Place;
use speaker_proto::probe::{self, Ask, Probe, Probes};
use speaker_proto::watch::{self, Watch, Watchlist};
use speaker_proto::{GroupKey, Mac, Machine, Time};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch as newest};
use tokio::time::sleep;

/// What was found, for the deciding thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Finding {
    /// Two probes of a group's VIPs are over.
    Probed {
        /// The group.
        group: GroupKey,
        /// The number of the asking.
        nonce: u64,
        /// Who answered; `None`: nobody.
        answered: Option<Mac>,
    },
    /// The holder of a watched group does not answer for all of it.
    Missing {
        /// The group.
        group: GroupKey,
        /// It was seen there before, and others are heard there now.
        is_certain: bool,
    },
    /// It answers again.
    Answering(GroupKey),
    /// Other hardware has a VIP of a watched group.
    Unexpected {
        /// The group.
        group: GroupKey,
        /// Whose.
        mac: Mac,
    },
}

/// What probing did so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    /// Probes that went out.
    pub(crate) sent: u64,
    /// Probes that could not be sent.
    pub(crate) failed: u64,
    /// What became of askings.
    pub(crate) probes: probe::Counts,
    /// What was seen of holders.
    pub(crate) watch: watch::Counts,
    /// What was heard.
    pub(crate) ears: EarCounts,
    /// Findings that the deciding thread had no room for.
    pub(crate) lost: u64,
}

impl Counts {
    /// Probes and askings, by what became of them.
    pub(crate) fn by_outcome(&self) -> BTreeMap<&'static str, u64> {
        BTreeMap::from([
            ("sent", self.sent),
            ("failed", self.failed),
            ("group_answered", self.probes.answered),
            ("group_unanswered", self.probes.unanswered),
            ("group_unsent", self.probes.unsent),
            ("group_refused", self.probes.refused),
            ("watch_answered", self.watch.answered),
            ("watch_missed", self.watch.missed),
            ("finding_lost", self.lost),
        ])
    }
}

/// Everything that probing needs. `T` takes a finding without blocking; `false`: it had no room.
pub(crate) struct Prober<T> {
    probes: Probes,
    watch: Watch,
    frames: FrameSender,
    ears: Ears,
    tell: T,
    counts: Counts,
    shown: newest::Sender<Counts>,
}

/// What comes in from the deciding thread.
pub(crate) struct Orders {
    /// Groups to ask for.
    pub(crate) asks: mpsc::Receiver<Ask>,
    /// Everything to watch.
    pub(crate) watchlist: newest::Receiver<Arc<Watchlist>>,
}

impl<T: Fn(Finding) -> bool> Prober<T> {
    /// Asks nothing before it runs. What it did is `shown`.
    pub(crate) fn new(
        frames: FrameSender,
        ears: Ears,
        tell: T,
        shown: newest::Sender<Counts>,
    ) -> Self {
        Self {
            probes: Probes::new(),
            watch: Watch::new(),
            frames,
            ears,
            tell,
            counts: Counts::default(),
            shown,
        }
    }

    /// Runs until a socket fails.
    pub(crate) async fn run(mut self, mut orders: Orders) -> Result<()> {
        loop {
            let due = self.due().map(|at| Duration::from(at.since(now())));
            tokio::select! {
                Some(ask) = orders.asks.recv() => {
                    self.listen(ask.places.keys())?;
                    self.probes.input(now(), probe::Input::Ask(ask));
                }
                Ok(()) = orders.watchlist.changed() => {
                    let list = Arc::clone(&orders.watchlist.borrow_and_update());
                    self.listen(list.values().flat_map(|watched| watched.places.keys()))?;
                    self.watch.input(now(), watch::Input::Watch(list));
                }
                heard = self.ears.next_batch() => self.hear(heard?),
                () = sleep(due.unwrap_or(Duration::MAX)), if due.is_some() => {
                    // A turn that comes late finds answers that came in time, and they are answers.
                    let unread = self.ears.unread()?;
                    self.hear(unread);
                    self.probes.expire(now());
                    self.watch.expire(now());
                }
            }
            self.flush();
        }
    }

    fn hear(&mut self, heard: Vec<(Place, Mac)>) {
        for (place, mac) in heard {
            self.probes.input(now(), probe::Input::Heard(place, mac));
            self.watch.input(now(), watch::Input::Heard(place, mac));
        }
    }

    fn due(&self) -> Option<Time> {
        let deadlines = [self.probes.deadline(), self.watch.deadline()];
        deadlines.into_iter().flatten().map(|(at, _)| at).min()
    }

    /// Before the first question goes out.
    fn listen<'p>(&mut self, places: impl Iterator<Item = &'p Place>) -> Result<()> {
        let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) =
            places.map(|(vip, _)| vip.0).partition(IpAddr::is_ipv4);
        for family in [v4.first(), v6.first()].into_iter().flatten() {
            self.ears.listen(*family)?;
        }
        Ok(())
    }

    fn flush(&mut self) {
        while let Some(output) = self.probes.output() {
            match output {
                probe::Output::Send(probe) => {
                    if !self.send(&probe) {
                        let unsent = probe::Input::Unsent(probe.group, probe.place);
                        self.probes.input(now(), unsent);
                    }
                }
                probe::Output::Probed {
                    group,
                    nonce,
                    answered,
                } => self.tell(Finding::Probed {
                    group,
                    nonce,
                    answered,
                }),
            }
        }
        while let Some(output) = self.watch.output() {
            match output {
                watch::Output::Send(probe) => {
                    if !self.send(&probe) {
                        let unsent = watch::Input::Unsent(probe.group, probe.place);
                        self.watch.input(now(), unsent);
                    }
                }
                watch::Output::Missing {
                    group,
                    was_answered,
                    is_among_others,
                } => self.tell(Finding::Missing {
                    group,
                    is_certain: was_answered && is_among_others,
                }),
                watch::Output::Answering(group) => self.tell(Finding::Answering(group)),
                watch::Output::Unexpected { group, mac } => {
                    self.tell(Finding::Unexpected { group, mac });
                }
            }
        }
        self.show();
    }

    fn send(&mut self, probe: &Probe) -> bool {
        match self.frames.probe(probe) {
            Ok(()) => {
                self.counts.sent += 1;
                true
            }
            Err(error) => {
                let (vip, ifindex) = probe.place;
                tracing::debug!(%vip, ifindex, %error, "failed to send a probe");
                self.counts.failed += 1;
                false
            }
        }
    }

    fn tell(&mut self, finding: Finding) {
        tracing::debug!(?finding, "probed");
        self.counts.lost += u64::from(!(self.tell)(finding));
    }

    fn show(&mut self) {
        self.counts.probes = self.probes.counts();
        self.counts.watch = self.watch.counts();
        self.counts.ears = self.ears.counts();
        let counts = self.counts;
        self.shown.send_if_modified(|shown| {
            let is_news = *shown != counts;
            *shown = counts;
            is_news
        });
    }
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
