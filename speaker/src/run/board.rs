//! What metrics and health are made from: everything that the parts publish, put into plain figures.

use super::bgp::Bgp;
use super::bgp_keys;
use super::cluster::Link;
use super::judge;
use super::members;
use super::teller::Elections;
use crate::dataplane::{AttachReport, GlobalCount, ShareSight, Sight};
use crate::drive::announce::GratuitousSent;
use crate::drive::bgp::Keys;
use crate::drive::clock::{Stamp, now};
use crate::drive::decide::View;
use crate::drive::links::Attached;
use crate::drive::members_board::MembersBoard;
use crate::drive::probe::Counts;
use crate::report::events::EventSender;
use crate::report::http::{self, FactsNow, PageNow};
use crate::report::secure::{self, Secure};
use crate::report::{ApiFigures, Facts, Figures, PoolFigures, VipFigures};
use anyhow::Result;
use speaker_core::peering::BgpType;
use speaker_core::plan::{BgpOutcome, Outcome};
use speaker_core::{Kind, Problem, World, allocator};
use speaker_ebpf::abi::VipKey;
use speaker_ebpf::abi::steer::OWN_NODE;
use speaker_proto::{NodeName, Time, Vip, vicinity};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// Objects that the source has told of.
#[derive(Debug, Default)]
pub(super) struct Updates {
    /// All of them.
    pub(super) all: AtomicU64,
    /// The faulty ones.
    pub(super) faulty: AtomicU64,
}

/// Where figures and facts come from. Cheap to clone.
#[derive(Clone)]
pub(super) struct Board {
    pub(super) node: NodeName,
    pub(super) views: watch::Receiver<Option<Arc<View>>>,
    pub(super) attached: watch::Receiver<Attached>,
    pub(super) members: MembersBoard,
    /// Where the members' secret is; `None`: none is asked for.
    pub(super) secret: Option<String>,
    pub(super) allocates: watch::Receiver<bool>,
    pub(super) gratuitous: watch::Receiver<GratuitousSent>,
    pub(super) probed: watch::Receiver<Counts>,
    /// What asking for other nodes did.
    pub(super) neighbours: watch::Receiver<vicinity::Counts>,
    pub(super) sight: Arc<Sight>,
    pub(super) decided: Stamp,
    pub(super) updates: Arc<Updates>,
    pub(super) problems: watch::Receiver<Vec<Problem>>,
    /// The connection to the API server, in a cluster.
    pub(super) link: Option<Link>,
    /// Who writes events, in a cluster.
    pub(super) events: Option<EventSender>,
    pub(super) elections: Arc<Elections>,
    pub(super) bgp: Bgp,
}

/// The page of metrics.
pub(super) fn page(board: Board) -> PageNow {
    http::page(Arc::new(move || board.figures()))
}

/// Serves metrics and health where they are wanted.
///
/// # Errors
/// When a port cannot be had, or serving fails.
pub(super) async fn serve(
    metrics: Option<SocketAddr>,
    secure: Option<Secure>,
    health: Option<SocketAddr>,
    board: Board,
) -> Result<()> {
    let gate = board.link.as_ref().map(Link::gate);
    let page = page(board.clone());
    let facts: FactsNow = Arc::new(move || board.facts());
    let metrics = async {
        match (metrics, secure.zip(gate)) {
            (Some(address), Some((secure, gate))) => {
                secure::metrics(address, secure, gate, page).await?.await
            }
            (Some(address), None) => http::metrics(address, page).await?.await,
            (None, _) => std::future::pending().await,
        }
    };
    let health = async {
        match health {
            Some(address) => http::health(address, facts).await?.await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = metrics => ended,
        ended = health => ended,
    }
}

/// Packets and bytes by VIP, link and node.
type Shares = BTreeMap<(IpAddr, String, String), (u64, u64)>;

fn neighbour_figures(counts: vicinity::Counts) -> BTreeMap<&'static str, u64> {
    BTreeMap::from([
        ("asked", counts.asked),
        ("answered", counts.answered),
        ("lost", counts.lost),
        ("left_out", counts.left_out),
    ])
}

fn by_name(counts: Vec<GlobalCount>) -> BTreeMap<&'static str, u64> {
    let counts = counts.into_iter();
    counts.map(|count| (count.name, count.count)).collect()
}

impl Board {
    fn figures(&self) -> Result<Figures> {
        let deadline = Time::from_ns(self.sight.deadline_ns()?);
        let probed = *self.probed.borrow();
        let mut figures = Figures {
            probes: probed.by_outcome(),
            heard: probed.ears.by_outcome(),
            node: self.node.to_string(),
            vips: self.vips()?,
            globals: by_name(self.sight.globals()?),
            passages: by_name(self.sight.passages()?),
            steered: by_name(self.sight.steered()?),
            tunnelled: by_name(self.sight.tunnelled()?),
            listening: by_name(self.sight.listening()?),
            opted: by_name(self.sight.opted()?),
            neighbours: neighbour_figures(*self.neighbours.borrow()),
            links: self.attached.borrow().values().map(link).collect(),
            updates: self.updates.all.load(Ordering::Relaxed),
            update_errors: self.updates.faulty.load(Ordering::Relaxed),
            deadline_s: (deadline > Time::default()).then(|| seconds(deadline, now())),
            won: self.elections.won.load(Ordering::Relaxed),
            lost: self.elections.lost.load(Ordering::Relaxed),
            groups: self.elections.groups(),
            takings: self.elections.takings(),
            members: members::figures(&self.members.read()),
            api: self.link.as_ref().map(|link| self.api(link)),
            bgp: self.bgp.figures(),
            bgp_unwelcome: (self.bgp.unwelcome.as_ref())
                .map_or_else(BTreeMap::new, |unwelcome| unwelcome.counts()),
            bgp_foreign: self.bgp.foreign(),
            bfd: self.bgp.bfd_figures(),
            bfd_discarded: self.bgp.bfd_discarded(),
            ..Figures::default()
        };
        if let Some(view) = self.views.borrow().as_deref() {
            let keys = self.bgp.keys.borrow();
            tell_view(&mut figures, view, &self.problems.borrow(), &keys);
            figures.shares = self.shares(view)?;
            if *self.allocates.borrow() {
                figures.pools = pools(&view.world);
            }
        }
        Ok(figures)
    }

    fn api(&self, link: &Link) -> ApiFigures {
        let (requests, failures) = link.requests();
        ApiFigures {
            requests,
            failures,
            events_lost: self.events.as_ref().map_or(0, EventSender::lost),
            stale_s: link.stale_s().unwrap_or_default(),
            ages_s: link.ages_s(),
        }
    }

    /// Rows of slots or numbers that nobody has any more are left out.
    fn shares(&self, view: &View) -> Result<Shares> {
        let own = (OWN_NODE, view.local.node.to_string());
        let others = view.numbers.iter();
        let others = others.map(|(node, number)| (*number, node.to_string()));
        let names: BTreeMap<u16, String> = others.chain([own]).collect();
        let links = view.local.links.iter();
        let links: BTreeMap<u32, String> = links
            .map(|(name, link)| (link.ifindex, name.to_string()))
            .collect();
        let spread = view.tables.vips.iter().filter(|(_, e)| e.is_steered());
        let slots: BTreeMap<u32, VipKey> = spread.map(|(key, e)| (e.slot(), *key)).collect();
        if slots.is_empty() {
            return Ok(Shares::new());
        }
        let share = |share: ShareSight| {
            let key = slots.get(&share.slot)?;
            let node = names.get(&u16::try_from(share.node).ok()?)?;
            let link = links.get(&key.ifindex())?;
            let labels = (key.addr().into(), link.clone(), node.clone());
            Some((labels, (share.packets, share.bytes)))
        };
        let shares = self.sight.shares()?.into_iter();
        Ok(shares.filter_map(share).collect())
    }

    fn vips(&self) -> Result<BTreeMap<IpAddr, VipFigures>> {
        let mut vips: BTreeMap<IpAddr, VipFigures> = BTreeMap::new();
        for slot in self.sight.slots()? {
            let vip = vips.entry(slot.vip).or_default();
            for (outcome, count) in slot.outcomes {
                *vip.outcomes.entry(outcome).or_default() += count;
            }
            vip.packets += slot.packets;
            vip.bytes += slot.bytes;
        }
        for (Vip(ip), sent) in self.gratuitous.borrow().iter() {
            vips.entry(*ip).or_default().gratuitous = *sent;
        }
        Ok(vips)
    }

    fn facts(&self) -> Facts {
        let view = self.views.borrow().clone();
        let attached = self.attached.borrow();
        let last = self.decided.last();
        let is_armed = self
            .sight
            .deadline_ns()
            .is_ok_and(|ns| Time::from_ns(ns) > now());
        Facts {
            decided_ms_ago: (last > Time::default()).then(|| now().since(last).ns() / 1_000_000),
            kinds_missing: missing(view.as_deref().map(|view| &*view.world)),
            is_armed,
            secret_missing: self
                .secret
                .clone()
                .filter(|_| self.members.read().is_waiting),
            links: attached
                .values()
                .map(|report| (report.link.clone(), report.is_attached()))
                .collect(),
        }
    }
}

fn missing(world: Option<&World>) -> Vec<String> {
    let is_missing = |kind: &Kind| world.is_none_or(|world| !world.synced.contains(kind));
    Kind::ALL
        .into_iter()
        .filter(is_missing)
        .map(|kind| kind.as_str().to_owned())
        .collect()
}

fn link(report: &AttachReport) -> (String, Option<String>) {
    (
        report.link.clone(),
        report.hook.map(|hook| hook.to_string()),
    )
}

fn tell_view(figures: &mut Figures, view: &View, of_allocator: &[Problem], keys: &Keys) {
    for (service, outcome) in &view.plan.outcomes {
        if let Outcome::Announced(announced) = outcome {
            let ips = announced.vips.iter().map(|(Vip(ip), _)| *ip).collect();
            figures.announced.insert(service.to_string(), ips);
        }
    }
    for (service, outcome) in &view.plan.bgp_outcomes {
        if let BgpOutcome::Announced(announced) = outcome {
            let ips = announced.vips.iter().map(|Vip(ip)| *ip).collect();
            figures.routed.insert(service.to_string(), ips);
        }
    }
    let world = view.world.problems.values();
    let of_plan = view.plan.problems.iter().chain(&view.problems);
    let of_secrets = bgp_keys::problems(&view.world, &view.plan, keys);
    let all = world.chain(of_plan).chain(of_allocator).chain(&of_secrets);
    for problem in all {
        *figures
            .problems
            .entry(problem.object.kind.as_str().to_owned())
            .or_default() += 1;
    }
    figures.is_config_loaded = view.world.is_synced();
    figures.is_config_stale = !judge::problems(view, keys).is_empty();
    figures.is_draining = view.local.is_draining;
    figures.unanswered = view.unanswered.len() as u64;
    figures.unwatched = view.unwatched as u64;
    figures.has_frr_k8s_names = view.local.bgp_type == BgpType::FrrK8s;
    figures.entries = view.tables.vips.len() as u64;
    figures.plans = view.work.plans;
    figures.plan_failures = view.work.failures;
    figures.plan_s = view.work.last.ns() as f64 / 1e9;
    figures.writes = view.work.writes;
    figures.repairs = view.work.repairs;
    figures.reaction_s = view.work.reaction.ns() as f64 / 1e9;
}

fn pools(world: &World) -> BTreeMap<String, PoolFigures> {
    let Some(assignments) = &world.assignments else {
        return BTreeMap::new();
    };
    let usage = allocator::usage(world, assignments).into_iter();
    usage
        .map(|(pool, usage)| (pool, PoolFigures::from(usage)))
        .collect()
}

/// Seconds from `now` until `at`; negative if it has passed.
fn seconds(at: Time, now: Time) -> f64 {
    at.since(now).ns() as f64 / 1e9 - now.since(at).ns() as f64 / 1e9
}
