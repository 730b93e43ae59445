//! How long it takes to decide, in clusters of several sizes, and from one changed endpoint to the kernel's tables.
//!
//! The deciding machine is driven as the speaker drives it, with the time as an argument, so that only its work is
//! measured and not the settling time. Tables are written twice: to maps in memory and to the maps of the object.

use super::Setting;
use super::cluster::{self, Size};
use crate::figure::{Aim, Figure, median, percentile};
use crate::object::Subject;
use crate::raw::allocated;
use crate::sheet::Sheet;
use anyhow::{Context, Result, ensure};
use speaker_core::agent::{Agent, Input, Output, SETTLE, Start};
use speaker_core::election::Election;
use speaker_core::key::Kind;
use speaker_core::local::Local;
use speaker_core::members::node_id;
use speaker_core::object::Object;
use speaker_core::plan::{self, Hold, Members, Memo, Plan};
use speaker_core::tables::{self, Memory, TableChange, Tables};
use speaker_core::world::World;
use speaker_proto::member::{Boot, HeldVersion, Member, MemberLink, Profile, Roster, Standing};
use speaker_proto::{Mac, Machine, Span, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// The name of this bench.
pub(crate) const NAME: &str = "plan";

/// Measures.
pub(crate) fn run(setting: &Setting, sheet: &mut Sheet<'_>) -> Result<()> {
    let sizes = match setting.is_quick {
        true => &[(1_000, 100)][..],
        false => &[(1_000, 100), (1_000, 1_000), (10_000, 100), (10_000, 1_000)],
    };
    for &(services, nodes) in sizes {
        let size = Size { services, nodes };
        let before = allocated();
        let objects = cluster::objects(size)?;
        for election in [Election::Sha256, Election::Xxh3] {
            let name = format!("{services} services x {nodes} nodes, {election}");
            sheet.extend(from_nothing(&name, &objects, size, election)?)?;
            sheet.extend(from_one_change(setting, &name, &objects, size, election)?)?;
        }
        drop(objects);
        ensure!(
            allocated() < before + (1 << 20),
            "the bench keeps what it should have dropped"
        );
    }
    Ok(())
}

fn local(size: Size, election: Election) -> Local {
    let mut local = cluster::local(size);
    local.rules.election = election;
    local
}

/// All other nodes as members that know at once whatever they are told.
fn roster(objects: &[Object], local: &Local) -> Roster {
    let link = MemberLink {
        name: "eth0".into(),
        mac: Mac([2, 0, 0, 0, 0, 1]),
        has_arp: true,
        has_ndp: true,
    };
    let member = |node: &Arc<speaker_core::node::Node>| {
        let profile = Profile {
            links: vec![link.clone()],
            ..Profile::of(node.name.clone())
        };
        let member = Member {
            boot: Boot::default(),
            profile: Arc::new(profile),
            standing: Standing::Alive,
            held: Arc::default(),
            held_version: HeldVersion(1),
            acked: HeldVersion(u64::MAX - 1), // there is always a next one
            is_reachable: true,
            is_in_grace: false,
            has_met: true,
        };
        (node_id(&node.name), Arc::new(member))
    };
    let mut world = World::default();
    for object in objects {
        world.put(Ok(object.clone()));
    }
    let others = world.nodes.values().filter(|node| node.name != local.node);
    Roster {
        members: others.map(member).collect(),
        is_settled: true,
        is_name_taken: false,
    }
}

/// The first plan, the same again, the next after one change, and what all of it keeps in memory.
fn from_nothing(
    name: &str,
    objects: &[Object],
    size: Size,
    election: Election,
) -> Result<Vec<Figure>> {
    let local = local(size, election);
    let empty = allocated();
    let mut world = World::default();
    for object in objects {
        world.put(Ok(object.clone()));
    }
    for kind in Kind::ALL {
        world.synced(kind);
    }
    let members: Members = world.nodes.keys().cloned().collect();
    let held = BTreeMap::new();
    let decide = |world: &World, memo: &mut Memo| {
        let elected = plan::elected(world, &members, &local, memo);
        let plan = plan::plan(world, &members, &held, &local, memo);
        assert!(
            !elected.is_empty() && !plan.outcomes.is_empty(),
            "a cluster without services"
        );
    };
    let first = (0..3).map(|_| timed(|| decide(&world, &mut Memo::default())));
    let first = median(first.collect());
    let mut memo = Memo::default();
    decide(&world, &mut memo);
    let bytes = allocated() - empty;
    let again = (0..9).map(|_| timed(|| decide(&world, &mut memo)));
    let again = median(again.collect());
    let copy = median((0..9).map(|_| timed(|| drop(world.clone()))).collect());
    let mut changed = Vec::new();
    for round in 0..20 {
        let service = cluster::local_service(size, round / 2);
        world.put(Ok(cluster::slice(size, service, round % 2 == 1)?));
        changed.push(timed(|| decide(&world, &mut memo)));
    }
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    let figure =
        |what: &str, value, unit| Figure::new(NAME, format!("{name}: {what}"), value, unit);
    Ok(vec![
        figure("objects and memo", mebibytes, "MiB"),
        figure("first plan", first, "ms"),
        figure("same plan again", again, "ms"),
        figure("plan after one endpoint", median(changed), "ms"),
        figure("a copy of the table of objects", copy, "ms"),
    ])
}

/// Milliseconds that `work` takes.
fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e3
}

/// One endpoint of a service becomes unready on this node, or ready again, and that changes who answers.
fn from_one_change(
    setting: &Setting,
    name: &str,
    objects: &[Object],
    size: Size,
    election: Election,
) -> Result<Vec<Figure>> {
    let mut node = Node::start(setting, objects, size, election)?;
    let mut spans = Vec::new();
    for round in 0..CHANGES {
        let service = cluster::local_service(size, round / 2);
        let object = cluster::slice(size, service, round % 2 == 1)?;
        let changed = node.change(object);
        spans.push(changed.with_context(|| format!("{name}: change {round}"))?);
    }
    let figure = |what: &str, part: fn(&Spans) -> f64, share| {
        let value = percentile(spans.iter().map(part).collect(), share);
        Figure::new(NAME, format!("{name}: one endpoint to {what}"), value, "ms")
    };
    Ok(vec![
        figure("the new plan, p50", |s| s.plan, 0.5),
        figure("tables in memory, p50", |s| s.memory, 0.5),
        figure("tables in memory, p99", |s| s.memory, 0.99),
        figure("kernel tables, p50", |s| s.kernel, 0.5),
        figure("kernel tables, p99", |s| s.kernel, 0.99).aim(Aim::AtMost(10.0)),
    ])
}

/// Milliseconds since the object arrived.
struct Spans {
    plan: f64,
    memory: f64,
    kernel: f64,
}

const CHANGES: usize = 200;
const TAKING_MAX: Span = Span::s(10); // of virtual time, far more than taking lasts

/// A deciding machine and the tables that it has filled.
struct Node {
    agent: Agent,
    now: Time,
    members: BTreeSet<Mac>,
    tables: Tables,
    memory: Memory,
    kernel: Subject,
}

impl Node {
    /// Feeds all objects and applies the first plans, until the node holds what it was elected for.
    fn start(
        setting: &Setting,
        objects: &[Object],
        size: Size,
        election: Election,
    ) -> Result<Self> {
        let local = local(size, election);
        let links = local.links.clone();
        let roster = roster(objects, &local);
        let now = Time::ms(1_000);
        let start = Start {
            local,
            adopted: BTreeMap::new(),
            is_armed: true,
            spread: BTreeMap::new(),
            last_deadline: None,
            drain_window: Span::s(30),
            seed: 1,
        };
        let mut node = Self {
            agent: Agent::new(start, now),
            now,
            members: cluster::macs(size),
            tables: Tables::default(),
            memory: Memory::default(),
            kernel: Subject::load(&setting.object, 1)?,
        };
        node.agent.input(
            node.now,
            Input::Links {
                announcing: links,
                others: BTreeSet::new(),
            },
        );
        for object in objects {
            node.agent
                .input(node.now, Input::Object(Ok(object.clone())));
        }
        for kind in Kind::ALL {
            node.agent.input(node.now, Input::Synced(kind));
        }
        node.agent.input(node.now, Input::Roster(Arc::new(roster)));
        while let Some((due, _)) = node.agent.deadline()
            && !node.is_at_rest(due)
        {
            node.now = node.now.max(due);
            for change in node.decide() {
                node.kernel
                    .apply(&change)
                    .context("failed to write a table")?;
            }
        }
        ensure!(
            !node.agent.held().is_empty(),
            "the node was elected for nothing"
        );
        Ok(node)
    }

    /// It holds all that it was elected for, and nothing is due soon.
    fn is_at_rest(&self, due: Time) -> bool {
        let mut held = self.agent.held().values();
        let is_taken = !self.agent.held().is_empty() && held.all(|h| h.hold == Hold::Holding);
        is_taken && due > self.now + SETTLE
    }

    /// How long one object takes to each stage.
    fn change(&mut self, object: Object) -> Result<Spans> {
        // Settled long ago, so that this change acts at once.
        self.now = self.now + SETTLE + SETTLE;
        // Whoever shows the state holds the world meanwhile, as in the speaker.
        let _shown = self.agent.world().clone();
        let start = Instant::now();
        let since = || start.elapsed().as_secs_f64() * 1e3;
        self.agent.input(self.now, Input::Object(Ok(object)));
        let plan = since();
        let mut changes = self.decide();
        // A VIP that comes back is asked after first; the answers come as soon as they can, and only the work is measured.
        let patience = self.now + TAKING_MAX;
        while changes.is_empty()
            && let Some((due, _)) = self.agent.deadline()
            && due < patience
        {
            self.now = self.now.max(due);
            changes = self.decide();
        }
        let memory = since();
        ensure!(!changes.is_empty(), "a changed endpoint changed no table");
        for change in &changes {
            self.kernel.apply(change)?;
        }
        let kernel = since();
        Ok(Spans {
            plan,
            memory,
            kernel,
        })
    }

    /// Lets the machine decide what is due and applies its plans to the tables in memory; what had to be written.
    fn decide(&mut self) -> Vec<TableChange> {
        let mut written = Vec::new();
        loop {
            while let Some(output) = self.agent.output() {
                match output {
                    Output::Apply(plan) => written.extend(self.apply(&plan)),
                    Output::Arm => self.agent.input(self.now, Input::Armed),
                    Output::Probe { group, nonce, .. } => {
                        let probed = Input::Probed {
                            group,
                            nonce,
                            answered: None,
                        };
                        self.agent.input(self.now, probed);
                    }
                    Output::Event(_)
                    | Output::Tell(..)
                    | Output::Publish(..)
                    | Output::Watch(_)
                    | Output::LookFor(_)
                    | Output::Kernel(..)
                    | Output::Unfence(_)
                    | Output::Claim(_)
                    | Output::ClaimTo(..)
                    | Output::Disarm(..) => {}
                }
            }
            if self.agent.deadline().is_none_or(|(due, _)| due > self.now) {
                return written;
            }
            self.agent.expire(self.now);
        }
    }

    fn apply(&mut self, plan: &Plan) -> Vec<TableChange> {
        let wanted = tables::wanted(
            plan,
            self.agent.local(),
            &self.members,
            &self.tables,
            &mut self.memory,
        );
        let changes = tables::changes(&self.tables, &wanted.tables);
        for change in &changes {
            self.tables.apply(change);
        }
        self.agent.input(self.now, Input::Applied(Ok(())));
        changes
    }
}
