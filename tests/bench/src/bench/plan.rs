//! How long it takes to decide, in clusters of several sizes, and from one changed endpoint to the kernel's tables.
//!
//! The deciding machine is driven as the speaker drives it, with the time as an argument, so that only its work is
//! measured and not the settling time. Tables are written twice: to maps in memory and to the maps of the object.

use super::Setting;
use super::cluster::{self, Size};
use crate::figure::{Aim, Figure, median, percentile};
use crate::object::Subject;
use crate::raw::allocated;
use anyhow::{Context, Result, ensure};
use speaker_core::agent::{Agent, Input, Output, SETTLE};
use speaker_core::election::Election;
use speaker_core::local::Local;
use speaker_core::object::{Kind, Object};
use speaker_core::plan::{self, Members, Memo, Plan};
use speaker_core::tables::{self, TableChange, Tables};
use speaker_core::world::World;
use speaker_proto::{Mac, Machine, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// The name of this bench.
pub(crate) const NAME: &str = "plan";

/// Measures.
pub(crate) fn run(setting: &Setting) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (services, nodes) in [(1_000, 100), (1_000, 1_000), (10_000, 100), (10_000, 1_000)] {
        let size = Size { services, nodes };
        let before = allocated();
        let objects = cluster::objects(size)?;
        for election in [Election::Sha256, Election::Xxh3] {
            let name = format!("{services} services x {nodes} nodes, {election}");
            figures.extend(from_nothing(&name, &objects, size, election));
            figures.extend(from_one_change(setting, &name, &objects, size, election)?);
        }
        drop(objects);
        ensure!(
            allocated() < before + (1 << 20),
            "the bench keeps what it should have dropped"
        );
    }
    Ok(figures)
}

fn local(size: Size, election: Election) -> Local {
    let mut local = cluster::local(size);
    local.rules.election = election;
    local
}

/// The first plan, the same again, and what both keep in memory.
fn from_nothing(name: &str, objects: &[Object], size: Size, election: Election) -> Vec<Figure> {
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
    let mut memo = Memo::default();
    let decide = |memo: &mut Memo| {
        let start = Instant::now();
        let elected = plan::elected(&world, &members, &local, memo);
        let plan = plan::plan(&world, &members, &held, &local, memo);
        let took = start.elapsed().as_secs_f64() * 1e3;
        assert!(
            !elected.is_empty() && !plan.outcomes.is_empty(),
            "a cluster without services"
        );
        took
    };
    let mut cold: Vec<f64> = (0..2).map(|_| decide(&mut Memo::default())).collect();
    cold.push(decide(&mut memo));
    let warm = (0..9).map(|_| decide(&mut memo)).collect();
    let bytes = allocated() - empty;
    vec![
        Figure::new(NAME, format!("{name}: first plan"), median(cold), "ms"),
        Figure::new(NAME, format!("{name}: nothing changed"), median(warm), "ms"),
        Figure::new(
            NAME,
            format!("{name}: objects and memo"),
            bytes as f64 / f64::from(1 << 20),
            "MiB",
        ),
    ]
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
    let (mut memory, mut kernel) = (Vec::new(), Vec::new());
    for round in 0..CHANGES {
        let service = cluster::local_service(size, round / 2);
        let object = cluster::slice(size, service, round % 2 == 1)?;
        let (to_memory, to_kernel) = node.change(object)?;
        memory.push(to_memory);
        kernel.push(to_kernel);
    }
    let figure = |what: &str, values: &[f64], share| {
        Figure::new(
            NAME,
            format!("{name}: {what}"),
            percentile(values.to_vec(), share),
            "ms",
        )
    };
    Ok(vec![
        figure("one endpoint to tables in memory, p50", &memory, 0.5),
        figure("one endpoint to tables in memory, p99", &memory, 0.99),
        figure("one endpoint to kernel tables, p50", &kernel, 0.5),
        figure("one endpoint to kernel tables, p99", &kernel, 0.99).aim(Aim::AtMost(10.0)),
    ])
}

const CHANGES: usize = 200;

/// A deciding machine and the tables that it has filled.
struct Node {
    agent: Agent,
    now: Time,
    members: BTreeSet<Mac>,
    tables: Tables,
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
        let mut node = Self {
            agent: Agent::new(local, BTreeMap::new(), true),
            now: Time::ms(1_000),
            members: cluster::macs(size),
            tables: Tables::default(),
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
        while let Some((due, _)) = node.agent.deadline() {
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

    /// Milliseconds from the object to the tables in memory, and to those in the kernel.
    fn change(&mut self, object: Object) -> Result<(f64, f64)> {
        // Settled long ago, so that this change acts at once.
        self.now = self.now + SETTLE + SETTLE;
        // Whoever shows the state holds the world meanwhile, as in the speaker.
        let _shown = self.agent.world().clone();
        let start = Instant::now();
        self.agent.input(self.now, Input::Object(Ok(object)));
        let changes = self.decide();
        let to_memory = start.elapsed();
        ensure!(!changes.is_empty(), "a changed endpoint changed no table");
        for change in &changes {
            self.kernel.apply(change)?;
        }
        let to_kernel = start.elapsed();
        Ok((to_memory.as_secs_f64() * 1e3, to_kernel.as_secs_f64() * 1e3))
    }

    /// Lets the machine decide what is due and applies its plans to the tables in memory; what had to be written.
    fn decide(&mut self) -> Vec<TableChange> {
        let mut written = Vec::new();
        loop {
            while let Some(output) = self.agent.output() {
                match output {
                    Output::Apply(plan) => written.extend(self.apply(&plan)),
                    Output::Arm => self.agent.input(self.now, Input::Armed),
                    Output::Event(_) => {}
                }
            }
            if self.agent.deadline().is_none_or(|(due, _)| due > self.now) {
                return written;
            }
            self.agent.expire(self.now);
        }
    }

    fn apply(&mut self, plan: &Plan) -> Vec<TableChange> {
        let wanted = tables::wanted(plan, self.agent.local(), &self.members, &self.tables);
        let changes = tables::changes(&self.tables, &wanted.tables);
        for change in &changes {
            self.tables.apply(change);
        }
        self.agent.input(self.now, Input::Applied(Ok(())));
        changes
    }
}
