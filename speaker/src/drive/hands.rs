//! What the deciding thread has others do for it on links, and how it lowers fences.
//!
//! Probes, watches and claims leave through channels that never block. **What finds no room is lost and counted**: an asking
//! that is not answered is asked again, a claim is repeated. Knows nothing of why any of it is done.

use super::announce::Claim;
use super::probe;
use crate::dataplane::KernelTables;
use anyhow::Result;
use speaker_core::agent::Input;
use speaker_core::steering::Prospects;
use speaker_core::tables::Tables;
use speaker_core::{LinkName, Local};
use speaker_ebpf::abi::{Entry, Mode, VipKey};
use speaker_proto::announce::Place;
use speaker_proto::probe::Ask;
use speaker_proto::watch::Watchlist;
use speaker_proto::{GroupKey, Mac, Vip};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// The sending ends.
#[derive(Debug)]
pub(crate) struct Hands {
    asks: mpsc::Sender<Ask>,
    watchlist: watch::Sender<Arc<Watchlist>>,
    prospects: watch::Sender<Arc<Prospects>>,
    claims: mpsc::Sender<Claim>,
    /// Askings and claims that found no room.
    pub(crate) lost: u64,
}

/// The receiving ends.
pub(crate) struct Ends {
    /// For the prober.
    pub(crate) probe: probe::Orders,
    /// Whom to look for on the links' segments.
    pub(crate) prospects: watch::Receiver<Arc<Prospects>>,
    /// For the announcer.
    pub(crate) claims: mpsc::Receiver<Claim>,
}

impl Hands {
    /// Both ends.
    pub(crate) fn new() -> (Self, Ends) {
        let (asks_in, asks) = mpsc::channel(ASKS);
        let (watchlist_in, watchlist) = watch::channel(Arc::default());
        let (prospects_in, prospects) = watch::channel(Arc::default());
        let (claims_in, claims) = mpsc::channel(CLAIMS);
        let hands = Self {
            asks: asks_in,
            watchlist: watchlist_in,
            prospects: prospects_in,
            claims: claims_in,
            lost: 0,
        };
        let probe = probe::Orders { asks, watchlist };
        let ends = Ends {
            probe,
            prospects,
            claims,
        };
        (hands, ends)
    }

    /// Has a group's places probed twice. Those whose link is gone are left out.
    pub(crate) fn probe(
        &mut self,
        local: &Local,
        (group, nonce): (GroupKey, u64),
        only: Option<Mac>,
        places: &[(Vip, LinkName)],
    ) {
        let ask = Ask {
            group,
            nonce,
            places: on_links(local, places),
            only,
        };
        self.lost += u64::from(self.asks.try_send(ask).is_err());
    }

    /// Has everything in the list watched from now on.
    pub(crate) fn watch(&self, list: Arc<Watchlist>) {
        self.watchlist.send_replace(list);
    }

    /// Has everybody in the list looked for from now on.
    pub(crate) fn look_for(&self, prospects: Arc<Prospects>) {
        self.prospects.send_replace(prospects);
    }

    /// Has VIPs claimed.
    pub(crate) fn claim(&mut self, claim: Claim) {
        self.lost += u64::from(self.claims.try_send(claim).is_err());
    }
}

/// The places by the index of their link, with its hardware address.
fn on_links(local: &Local, places: &[(Vip, LinkName)]) -> BTreeMap<Place, Mac> {
    let places = places.iter().filter_map(|(vip, name)| {
        let link = local.links.get(name)?;
        Some(((*vip, link.ifindex), link.mac))
    });
    places.collect()
}

/// Fences that the agent was told of, each with the generation that it had then: claims that come later are not settled with it.
#[derive(Debug, Default)]
pub(crate) struct Fences {
    told: BTreeMap<u32, u64>,
}

impl Fences {
    /// Before the agent is told of claims of a VIP: notes how many there were.
    pub(crate) fn note(&mut self, kernel: &KernelTables, tables: &Tables, vip: Vip) -> Result<()> {
        let fenced = kernel.fenced(entries(tables, vip).map(Entry::slot))?;
        self.told.extend(fenced);
        Ok(())
    }

    /// Lowers the fences of these VIPs on all links, as far as the agent was told of the claims. Where a VIP is not answered for
    /// no claim raises a fence: what is up there is of an earlier holding, and goes.
    pub(crate) fn lower(
        &mut self,
        kernel: &mut KernelTables,
        tables: &Tables,
        vips: &BTreeSet<Vip>,
    ) -> Result<()> {
        let mut settled = BTreeMap::new();
        for entry in vips.iter().flat_map(|vip| entries(tables, *vip)) {
            let slot = entry.slot();
            let told = self.told.remove(&slot);
            if entry.mode() == Some(Mode::Answer) {
                settled.extend(told.map(|generation| (slot, generation)));
            } else {
                settled.extend(kernel.fenced([slot])?);
            }
        }
        kernel.unfence(&settled)
    }
}

/// The VIP that an input tells claims of.
pub(crate) const fn claimed(input: &Input) -> Option<Vip> {
    match input {
        Input::Claimed { vip, .. } | Input::Fenced(vip) => Some(*vip),
        Input::Object(_)
        | Input::Gone(_)
        | Input::Synced(_)
        | Input::Assignments(_)
        | Input::Links { .. }
        | Input::Neighbourhood(_)
        | Input::Armed
        | Input::Lapsed { .. }
        | Input::Applied(_)
        | Input::Roster(_)
        | Input::Listeners(_)
        | Input::Published(_)
        | Input::Told(..)
        | Input::Probed { .. }
        | Input::Missing { .. }
        | Input::Answering(_)
        | Input::Unexpected { .. }
        | Input::Drain(_)
        | Input::WaitingForSecret(_)
        | Input::Stale(_)
        | Input::Foreign(_) => None,
    }
}

fn entries(tables: &Tables, vip: Vip) -> impl Iterator<Item = &Entry> {
    let key = |ifindex| VipKey::new(vip.0.into(), ifindex);
    let entries = tables.vips.range(key(0)..=key(u32::MAX));
    entries.map(|(_, entry)| entry)
}

/// Askings on their way. One for each group of a large cluster that starts.
const ASKS: usize = 4096;
/// Claims on their way; each is repeated.
const CLAIMS: usize = 256;
