//! Manifests in, plan out: each folder under `scenarios/` is one fact about who announces what.
//!
//! A folder holds manifests as an operator would apply them, `scenario.yaml` with what manifests do not say (links, who is alive,
//! what happens next) and `plan.txt`, the plan of every node after every step. `UPDATE_EXPECT=1` writes the latter anew; a folder
//! without it fails.

mod setup;

use setup::{Addresses, Setup, Step};
use speaker_core::allocator::allocate;
use speaker_core::manifest::{self, DEFAULT_NAMESPACE};
use speaker_core::members::Fitness;
use speaker_core::plan::{Held, Hold, Holding, Members, Memo, elected, explain};
use speaker_core::{Kind, Local, World, plan};
use speaker_proto::{Epoch, NodeName};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Suites shrink by accident: fewer folders than this are a mistake.
const SCENARIOS_MIN: usize = 120;

#[test]
fn every_scenario_ends_in_its_plan() {
    let folders = folders();
    assert!(
        folders.len() >= SCENARIOS_MIN,
        "only {} scenarios",
        folders.len()
    );
    let is_updating = std::env::var_os("UPDATE_EXPECT").is_some();
    let failures: Vec<String> = folders
        .iter()
        .filter_map(|folder| check(folder, is_updating).err())
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = fs::read_dir(&root).unwrap_or_else(|e| panic!("{}: {e}", root.display()));
    let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

fn check(folder: &Path, is_updating: bool) -> Result<(), String> {
    let actual = Cluster::play(folder);
    let file = folder.join("plan.txt");
    if is_updating {
        fs::write(&file, &actual).unwrap();
    }
    let expected = fs::read_to_string(&file).map_err(|e| {
        format!(
            "{}: {e}; UPDATE_EXPECT=1 writes it, to be read before it is committed",
            file.display()
        )
    })?;
    if actual == expected {
        return Ok(());
    }
    Err(format!(
        "{}:\n{}",
        file.display(),
        difference(&expected, &actual)
    ))
}

/// Lines that only one side has, in order; enough to see what changed.
fn difference(expected: &str, actual: &str) -> String {
    let (expected, actual): (Vec<_>, Vec<_>) =
        (expected.lines().collect(), actual.lines().collect());
    let gone = expected
        .iter()
        .filter(|line| !actual.contains(line))
        .map(|line| format!("- {line}"));
    let come = actual
        .iter()
        .filter(|line| !expected.contains(line))
        .map(|line| format!("+ {line}"));
    gone.chain(come).collect::<Vec<_>>().join("\n")
}

/// The nodes of one scenario, which all see the same world.
struct Cluster<'f> {
    folder: &'f Path,
    setup: Setup,
    world: World,
    nodes: BTreeMap<NodeName, Member>,
}

/// What one node keeps between steps.
#[derive(Default)]
struct Member {
    held: Held,
    memo: Memo,
    epoch: Epoch,
}

impl<'f> Cluster<'f> {
    /// The plans of all nodes after each step, as text.
    fn play(folder: &'f Path) -> String {
        let setup = Setup::read(folder);
        let mut cluster = Self {
            folder,
            setup,
            world: World::default(),
            nodes: BTreeMap::new(),
        };
        for file in manifests(folder) {
            cluster.apply(&file);
        }
        for kind in Kind::ALL {
            if !cluster
                .setup
                .unsynced
                .iter()
                .any(|unsynced| unsynced == kind.as_str())
            {
                cluster.world.synced(kind);
            }
        }
        let mut text = format!("{}\n\n", cluster.setup.about);
        cluster.decide(&mut text);
        for step in std::mem::take(&mut cluster.setup.steps) {
            let _ = writeln!(text, "=== {}\n", step.name);
            cluster.take(step);
            cluster.decide(&mut text);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }

    fn apply(&mut self, file: &Path) {
        let name = file.file_name().unwrap().to_string_lossy();
        let text = fs::read_to_string(file).unwrap();
        for object in manifest::read(&name, &text, DEFAULT_NAMESPACE).objects {
            self.world.put(object);
        }
    }

    fn take(&mut self, step: Step) {
        if let Some(file) = step.apply {
            self.apply(&self.folder.join(file));
        }
        if let Some(key) = step.remove {
            let key = setup::key(&key);
            assert!(self.world.gone(&key), "{key} is not there to be removed");
        }
        if let Some(dead) = step.dead {
            self.setup.dead = dead;
        }
        self.setup.links.extend(step.links);
    }

    fn decide(&mut self, text: &mut String) {
        self.allocate();
        for problem in self.world.problems.values() {
            let _ = writeln!(text, "problem: {problem}");
        }
        if !self.world.problems.is_empty() {
            text.push('\n');
        }
        let fit = |name: NodeName| (name.clone(), Fitness::of(&self.setup.local(&name)));
        let members: Members = self.alive().map(fit).collect();
        for name in self.shown() {
            let local = self.setup.local(&name);
            let node = self.nodes.entry(name).or_default();
            let _ = writeln!(text, "--- {}", local.node);
            let _ = writeln!(text, "{}", node.decide(&self.world, &members, &local));
        }
        for question in &self.setup.why {
            let (name, service) = setup::question(question);
            let held = self
                .nodes
                .get(&name)
                .map_or_else(Held::new, |node| node.held.clone());
            let local = self.setup.local(&name);
            let story = explain(&self.world, &members, &held, &local, &service);
            let story = story.unwrap_or_else(|| panic!("{question}: no such service"));
            let _ = writeln!(text, "--- why: {story}");
        }
    }

    fn allocate(&mut self) {
        match self.setup.addresses {
            Addresses::Status => {}
            Addresses::Allocate => {
                // Where nobody writes statuses, what was given before is known from here alone.
                let current = Arc::clone(self.world.assignments.get_or_insert_default());
                let class = self.setup.class.as_deref();
                let allocation = allocate(&self.world, &current, class);
                self.world.assignments = Some(allocation.assignments.into());
            }
        }
    }

    fn alive(&self) -> impl Iterator<Item = NodeName> {
        let is_alive = |name: &&NodeName| !self.setup.dead.iter().any(|dead| dead == name.as_str());
        self.world.nodes.keys().filter(is_alive).cloned()
    }

    /// The nodes whose plans are shown: those alive, or the ones that the scenario names.
    fn shown(&self) -> Vec<NodeName> {
        if self.setup.show.is_empty() {
            return self.alive().collect();
        }
        self.setup
            .show
            .iter()
            .map(|name| name.parse().unwrap())
            .collect()
    }
}

impl Member {
    /// Elected means held; each taking has a new epoch.
    fn decide(&mut self, world: &World, members: &Members, local: &Local) -> String {
        if world.is_synced() {
            let elected = elected(world, members, local, &mut self.memo);
            self.held.retain(|group, _| elected.contains(group));
            for group in elected {
                self.held.entry(group).or_insert_with(|| {
                    self.epoch = self.epoch.next();
                    Holding {
                        hold: Hold::Holding,
                        epoch: self.epoch,
                    }
                });
            }
        }
        plan(world, members, &self.held, local, &mut self.memo).to_string()
    }
}

/// The manifests of a folder by name; those of later steps lie in folders of their own.
fn manifests(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_manifest = |path: &PathBuf| {
        path.extension().is_some_and(|e| e == "yaml") && !path.ends_with("scenario.yaml")
    };
    let mut files: Vec<_> = entries.filter(is_manifest).collect();
    files.sort();
    files
}
