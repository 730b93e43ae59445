//! What was taken is announced, and the kernel listens to the right groups.
//!
//! Follows the views of the deciding thread: entries that answer go to the announcing machine, whose frames go out
//! here; IPv6 VIPs are joined before they may be needed. A gratuitous frame is a claim like any answer: none goes out past
//! the deadline, or for a taking that is over.

use super::clock::now;
use super::decide::View;
use crate::dataplane::Askers;
use crate::dataplane::deadline::DeadlineCell;
use crate::edge::{FrameSender, Groups};
use anyhow::{Context, Result};
use speaker_core::tables::Tables;
use speaker_ebpf::abi::{Mode, VipKey};
use speaker_proto::announce::{Announce, Answered, Asker, Input, Output, Place};
use speaker_proto::{Epoch, Mac, Machine, Vip};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

/// Frames sent, by VIP; MetalLB counts each gratuitous frame.
pub(crate) type GratuitousSent = BTreeMap<Vip, u64>;

/// Everything that announcing needs.
pub(crate) struct Announcer {
    machine: Announce,
    frames: FrameSender,
    askers: Askers,
    groups: Groups,
    sent: watch::Sender<GratuitousSent>,
    deadline: DeadlineCell,
    views: watch::Receiver<Option<Arc<View>>>,
    /// The tables that the machine knows, and whether a deadline was in force: most views differ in other things.
    known: Option<(Arc<Tables>, bool)>,
}

/// What is opened while the capabilities are there, and where things go.
pub(crate) struct Means {
    /// The socket for frames.
    pub(crate) frames: FrameSender,
    /// Who asked.
    pub(crate) askers: Askers,
    /// Group memberships.
    pub(crate) groups: Groups,
    /// The node's deadline, to read.
    pub(crate) deadline: DeadlineCell,
    /// Told of every gratuitous frame.
    pub(crate) sent: watch::Sender<GratuitousSent>,
}

/// What is to be announced beside what the views say.
pub(crate) struct Orders {
    /// Places of ours that a stranger claims.
    pub(crate) contested: mpsc::Receiver<Place>,
    /// What the deciding thread wants claimed.
    pub(crate) claims: mpsc::Receiver<Claim>,
}

/// What the deciding thread wants claimed. Of VIPs that are not answered for when it gets here, nothing is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Claim {
    /// Announce these as if they were new: a member contests them.
    Again(BTreeSet<Vip>),
    /// Claim these from a kernel that may answer for them, by each of its hardware addresses.
    From(BTreeSet<Vip>, Vec<Mac>),
}

impl From<Claim> for Input {
    fn from(claim: Claim) -> Self {
        match claim {
            Claim::Again(vips) => Self::Claim(vips),
            Claim::From(vips, macs) => Self::ClaimTo(vips, macs),
        }
    }
}

impl Announcer {
    /// Follows `views` once it runs.
    pub(crate) fn new(means: Means, views: watch::Receiver<Option<Arc<View>>>) -> Self {
        let Means {
            frames,
            askers,
            groups,
            deadline,
            sent,
        } = means;
        Self {
            machine: Announce::new(),
            frames,
            askers,
            groups,
            sent,
            deadline,
            views,
            known: None,
        }
    }

    /// Runs until the views end.
    pub(crate) async fn run(mut self, mut orders: Orders) -> Result<()> {
        loop {
            let due = self
                .machine
                .deadline()
                .map(|(at, _)| Duration::from(at.since(now())));
            tokio::select! {
                changed = self.views.changed() => {
                    changed.context("the views ended")?;
                    let view = self.views.borrow_and_update().clone();
                    if let Some(view) = view {
                        self.take(&view);
                    }
                }
                Some(place) = orders.contested.recv() => self.machine.input(now(), Input::Contested(place)),
                Some(claim) = orders.claims.recv() => self.machine.input(now(), claim.into()),
                () = sleep(due.unwrap_or(Duration::MAX)), if due.is_some() => self.machine.expire(now()),
            }
            self.flush();
        }
    }

    fn take(&mut self, view: &View) {
        let names = view
            .local
            .links
            .iter()
            .map(|(name, link)| (link.ifindex, name.to_string()))
            .collect();
        match self.groups.sync(&members(view), &names) {
            Ok(failed) => {
                for ((vip, ifindex), error) in failed {
                    tracing::warn!(%vip, ifindex, %error, "failed to join or leave the VIP's group");
                }
            }
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "failed to look at the groups");
            }
        }
        let is_known = |(tables, is_armed): &(Arc<Tables>, bool)| {
            Arc::ptr_eq(tables, &view.tables) && *is_armed == view.is_armed
        };
        if self.known.as_ref().is_some_and(is_known) {
            return;
        }
        self.known = Some((Arc::clone(&view.tables), view.is_armed));
        let answers = if view.is_armed {
            answers(&view.tables)
        } else {
            BTreeMap::new()
        };
        self.machine.input(now(), Input::Answers(answers));
    }

    fn flush(&mut self) {
        while let Some(output) = self.machine.output() {
            match output {
                Output::Gratuitous(place, answered) => self.gratuitous(place, answered),
                Output::ClaimTo(place, answered, mac) => {
                    if self.holds(place, answered)
                        && let Err(error) = self.frames.claim_to(place, answered, mac)
                    {
                        tracing::debug!(vip = %place.0, %mac, %error, "failed to claim from a station");
                    }
                }
                Output::FindAskers(places) => match self.find(&places) {
                    Ok(askers) => self.machine.input(now(), Input::Askers(askers)),
                    Err(error) => {
                        tracing::warn!(error = format!("{error:#}"), "failed to read who asked");
                    }
                },
                Output::Tell(asker, answered) => {
                    if self.holds(asker.place, answered)
                        && let Err(error) = self.frames.tell(asker, answered)
                    {
                        tracing::debug!(?asker, %error, "failed to tell a client");
                    }
                }
            }
        }
    }

    /// Whether the program answers for this taking right now.
    fn holds(&self, place: Place, answered: Answered) -> bool {
        let key = VipKey::new(place.0.0.into(), place.1);
        let view = self.views.borrow();
        let entry = view.as_ref().and_then(|view| view.tables.vips.get(&key));
        now().ns() < self.deadline.load()
            && entry.is_some_and(|entry| {
                entry.mode() == Some(Mode::Answer) && entry.epoch() == answered.epoch.0
            })
    }

    fn gratuitous(&mut self, place: Place, answered: Answered) {
        if !self.holds(place, answered) {
            return;
        }
        match self.frames.gratuitous(place, answered) {
            Ok(count) => self
                .sent
                .send_modify(|sent| *sent.entry(place.0).or_default() += count),
            Err(error) => {
                tracing::debug!(vip = %place.0, ifindex = place.1, %error, "failed to announce");
            }
        }
    }

    fn find(&self, places: &BTreeSet<Place>) -> Result<Vec<Asker>> {
        let askers = self.askers.of(places)?;
        Ok(askers
            .into_iter()
            .map(|asker| Asker {
                place: (asker.vip, asker.ifindex),
                client: asker.client,
                mac: asker.mac,
            })
            .collect())
    }
}

/// The entries that answer, with what their answers carry.
fn answers(tables: &Tables) -> BTreeMap<Place, Answered> {
    let answering = tables
        .vips
        .iter()
        .filter(|(_, entry)| entry.mode() == Some(Mode::Answer));
    answering
        .filter_map(|(key, entry)| {
            let mac = Mac(tables.links.get(&key.ifindex())?.mac().0);
            let place = (Vip(key.addr().into()), key.ifindex());
            Some((
                place,
                Answered {
                    mac,
                    epoch: Epoch(entry.epoch()),
                },
            ))
        })
        .collect()
}

/// IPv6 VIPs that this kernel is to hear questions for: what it has to do with, and what its node would inherit, for an heir must hear
/// the first question after a takeover. Before the first plan that is not known, and all that the last process left stays.
fn members(view: &View) -> BTreeSet<crate::edge::Member> {
    let near = view.plan.l2.iter().filter(|(_, entry)| entry.is_near);
    let near: BTreeSet<(IpAddr, u32)> = near
        .filter_map(|((vip, link), _)| Some((vip.0, view.local.links.get(link)?.ifindex)))
        .collect();
    let entries = view.tables.vips.iter();
    let members = entries.filter_map(|(key, entry)| {
        let place = (IpAddr::from(key.addr()), key.ifindex());
        let is_active = entry.mode() != Some(Mode::Known) || !view.plan.is_complete;
        match place {
            (IpAddr::V6(vip), ifindex) => {
                (is_active || near.contains(&place)).then_some((vip, ifindex))
            }
            (IpAddr::V4(_), _) => None,
        }
    });
    members.collect()
}
