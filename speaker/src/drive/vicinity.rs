//! Sees which other nodes are on the segments of this node's links, and which links bear that frames are sent on.
//!
//! Drives [`Vicinity`] on the sockets of the edge. Whom to look for comes from the deciding thread, and the account goes back
//! there; an account that it has no room for is given again. Knows nothing of what is sent on.

use super::clock::now;
use crate::dataplane::active_features;
use crate::edge::{Ears, FrameSender, Links};
use anyhow::Result;
use speaker_core::agent::Input;
use speaker_core::steering::{Bar, Neighbourhood, Prospects, looked_for};
use speaker_core::{Link, LinkName};
use speaker_proto::vicinity::{self, Counts, Neighbour, Output, Targets, Vicinity};
use speaker_proto::{Mac, Machine, NodeName};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// What goes in and out.
pub(crate) struct Means {
    /// Whom to look for.
    pub(crate) orders: watch::Receiver<Arc<Prospects>>,
    /// The links of this node.
    pub(crate) links: watch::Receiver<Links>,
    /// The deciding thread.
    pub(crate) inbox: SyncSender<Input>,
    /// What was seen so far.
    pub(crate) shown: watch::Sender<Counts>,
}

/// The task's state.
pub(crate) struct Watcher {
    machine: Vicinity,
    frames: FrameSender,
    ears: Ears,
    means: Means,
    names: BTreeMap<Neighbour, (LinkName, NodeName, Mac)>,
    known: Option<Arc<BTreeSet<Neighbour>>>,
    bars_due: Instant,
    /// What the deciding thread has.
    told: Option<Arc<Neighbourhood>>,
}

impl Watcher {
    /// Asks nobody before it runs.
    pub(crate) fn new(frames: FrameSender, ears: Ears, means: Means) -> Self {
        Self {
            machine: Vicinity::new(),
            frames,
            ears,
            means,
            names: BTreeMap::new(),
            known: None,
            bars_due: Instant::now(),
            told: None,
        }
    }

    /// Runs until a socket fails, or nobody orders any more.
    pub(crate) async fn run(mut self) -> Result<()> {
        loop {
            let due = self.machine.deadline().map(|(at, _)| at.since(now()));
            let is_used = self.known.is_some();
            tokio::select! {
                // What was heard comes before what is due: on a busy machine both wait.
                biased;
                changed = self.means.orders.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.take_order()?;
                }
                Ok(()) = self.means.links.changed(), if is_used => self.take_order()?,
                heard = self.ears.next_batch() => {
                    for (place, mac) in heard? {
                        self.machine.input(now(), vicinity::Input::Heard(place, mac));
                    }
                }
                () = sleep(due.map_or(Duration::MAX, Duration::from)), if due.is_some() => {
                    self.machine.expire(now());
                }
                () = sleep_until(self.bars_due), if is_used => {}
            }
            self.flush();
            self.tell();
            self.means.shown.send_replace(self.machine.counts());
        }
    }

    fn take_order(&mut self) -> Result<()> {
        let prospects = Arc::clone(&self.means.orders.borrow_and_update());
        let links = self.means.links.borrow_and_update().announcing.clone();
        let mut targets = Targets::new();
        self.names.clear();
        for ((link, node), neighbour, target) in looked_for(&prospects, &links) {
            for address in &target.addresses {
                self.ears.listen(*address)?;
            }
            self.names
                .insert(neighbour, (link.clone(), node.clone(), target.mac));
            targets.insert(neighbour, target);
        }
        self.machine.input(now(), vicinity::Input::LookFor(targets));
        Ok(())
    }

    fn flush(&mut self) {
        while let Some(output) = self.machine.output() {
            match output {
                Output::Ask(question) => {
                    let (address, ifindex) = question.place;
                    if let Err(error) = self.frames.ask(question) {
                        tracing::debug!(%address, ifindex, %error, "failed to ask a node");
                    }
                }
                Output::Known(known) => {
                    self.known = Some(known);
                    self.bars_due = Instant::now();
                }
            }
        }
    }

    /// Gives the account, if it is not what the deciding thread has.
    fn tell(&mut self) {
        let Some(known) = &self.known else {
            return;
        };
        let is_due = self.bars_due <= Instant::now();
        let bars = match &self.told {
            Some(told) if !is_due => told.bars.clone(),
            Some(_) | None => {
                self.bars_due = Instant::now() + BARS_INTERVAL;
                bars(&self.means.links.borrow())
            }
        };
        let nodes = known.iter().filter_map(|key| {
            let (link, node, mac) = self.names.get(key)?;
            Some(((link.clone(), node.clone()), *mac))
        });
        let hood = Neighbourhood {
            nodes: nodes.collect(),
            bars,
        };
        if self.told.as_deref() == Some(&hood) {
            return;
        }
        let hood = Arc::new(hood);
        let input = Input::Neighbourhood(Arc::clone(&hood));
        if self.means.inbox.try_send(input).is_ok() {
            self.told = Some(hood);
        } else {
            // No room: the next turn tells, and there is one soon.
            self.bars_due = Instant::now() + AGAIN;
        }
    }
}

/// The links on which frames must not be sent on. One of which the kernel says nothing is taken to bear it: what is sent astray
/// there dies of its hops.
fn bars(links: &Links) -> BTreeMap<LinkName, Bar> {
    let are_filtered = BRIDGE_SETTINGS
        .iter()
        .any(|path| fs::read_to_string(path).is_ok_and(|text| text.trim() == "1"));
    let bar = |(name, link): (&LinkName, &Link)| {
        let bridge = links.bridges.get(name);
        let is_filtered = bridge.is_some_and(|is_filtered| *is_filtered || are_filtered);
        let bar = if is_filtered {
            Some(Bar::BridgeNetfilter)
        } else {
            let features = active_features(link.ifindex)?;
            features.contains("rx-lro").then_some(Bar::LargeReceive)
        };
        Some((name.clone(), bar?))
    };
    links.announcing.iter().filter_map(bar).collect()
}

/// Whether netfilter sees what crosses any bridge of this network namespace.
const BRIDGE_SETTINGS: [&str; 2] = [
    "/proc/sys/net/bridge/bridge-nf-call-iptables",
    "/proc/sys/net/bridge/bridge-nf-call-ip6tables",
];
/// How often it is looked whether links bear that frames are sent on.
const BARS_INTERVAL: Duration = Duration::from_secs(5);
/// When an account is given again that nobody had room for.
const AGAIN: Duration = Duration::from_millis(50);
