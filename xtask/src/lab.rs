//! A cluster's network in namespaces of one machine, with real speakers on it.
//!
//! [`Lab::up`] makes client, switch, nodes and pods ([`topology`]), backends in the pods ([`backend`]), a service proxy on
//! the nodes ([`proxy`]) and a speaker on each, all following one folder of manifests. [`command`] is `cargo xtask lab`;
//! the suite in `tests/system` makes labs with manifests of its own. Nothing here takes part in answering for a VIP, and
//! no VIP is ever put on an interface.

pub mod backend;
mod chaos;
pub mod client;
pub mod cluster;
pub mod command;
mod control;
mod http;
mod kubelet;
mod mirror;
pub mod net;
mod place;
pub mod proxy;
mod rack;
mod record;
pub mod router;
mod show;
pub mod speaker;
pub mod topology;
pub mod traffic;

pub use command::build;
pub use place::Options;

use crate::tools;
use anyhow::{Context, Result, bail, ensure};
use cluster::Cluster;
use kubelet::{Kubelet, Pod};
use net::{NETNS_DIR, Netns};
use place::{BPFFS, copy, is_in_bpffs, lock, remove_home};
use proxy::{Frontend, Proxy};
use record::{Process, Record};
use rustix::process::Signal;
use speaker::{Source, Speaker};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use topology::Topology;

/// A lab that is up; taken down when dropped.
#[derive(Debug)]
pub struct Lab {
    options: Options,
    topology: Topology,
    record: Record,
    backends: Vec<Child>,
    cluster: Option<Cluster>,
    kubelet: Kubelet,
    proxy: Option<Proxy>,
    speakers: BTreeMap<String, Speaker>,
    /// Held for as long as the lab is up.
    lock: Option<File>,
}

impl Lab {
    /// Brings everything up; after a failure nothing is left.
    ///
    /// # Errors
    /// When such a lab is up already, a privilege or a tool is missing, or a part does not come up.
    pub fn up(options: Options) -> Result<Self> {
        let mut lab = Self::without_speakers(options)?;
        lab.start_speakers()?;
        Ok(lab)
    }

    /// Starts a speaker on every node and waits until they are ready.
    ///
    /// # Errors
    /// When one does not come up, with the last lines of its log.
    pub fn start_speakers(&mut self) -> Result<()> {
        if self.options.is_operated {
            return self.until_available();
        }
        let nodes: Vec<String> = self.topology.nodes.iter().map(|n| n.name.clone()).collect();
        for node in &nodes {
            self.start_speaker(node)?;
        }
        for node in &nodes {
            self.speaker(node)?.wait_until_ready()?;
        }
        Ok(())
    }

    /// Brings up all but the speakers.
    ///
    /// # Errors
    /// As [`Lab::up`].
    pub fn without_speakers(options: Options) -> Result<Self> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "the lab makes network namespaces and loads eBPF programs: run it as root"
        );
        let folder = options.folder();
        fs::create_dir_all(&folder)
            .with_context(|| format!("failed to make {}", folder.display()))?;
        let lock = lock(&options)?;
        if let Some(left) = Record::load(&options.record())? {
            tools::say("an earlier lab ended without cleaning up; doing that now");
            left.undo()?;
        }
        let topology = Topology::new(&options.prefix, options.nodes);
        let topology = match options.cluster {
            Some(_) => topology.with_control(&options.prefix),
            None => topology,
        };
        let topology = match options.has_router {
            true => topology.with_router(&options.prefix),
            false => topology,
        };
        let mut lab = Self {
            topology,
            options,
            record: Record::default(),
            backends: Vec::new(),
            cluster: None,
            kubelet: Kubelet::default(),
            proxy: None,
            speakers: BTreeMap::new(),
            lock: Some(lock),
        };
        lab.prepare()?;
        lab.make_namespaces()?;
        lab.topology.wire()?;
        lab.start_backends()?;
        let objects = lab.start_cluster()?;
        let nodes = lab.topology.nodes.iter();
        let nodes = nodes
            .map(|node| (node.name.clone(), node.netns.clone()))
            .collect();
        lab.proxy = Some(Proxy::start(&objects, &nodes)?);
        Ok(lab)
    }

    fn note(&mut self, change: impl FnOnce(&mut Record)) -> Result<()> {
        change(&mut self.record);
        self.record.save(&self.options.record())
    }

    /// Folders, manifests and the bpffs.
    fn prepare(&mut self) -> Result<()> {
        let owner = Process::running(std::process::id(), "the lab")?;
        self.note(|record| record.owner = Some(owner))?;
        for folder in ["manifests", "log"] {
            let folder = self.folder().join(folder);
            if folder.exists() {
                fs::remove_dir_all(&folder)?;
            }
            fs::create_dir(&folder)?;
        }
        copy(&self.options.manifests, &self.manifests())?;
        self.mount_bpffs()?;
        let nodes = self.topology.nodes.iter().map(|node| node.name.clone());
        for node in nodes.collect::<Vec<_>>() {
            for folder in [self.pins(&node), self.options.run_dir.join(&node)] {
                ensure!(
                    !folder.exists(),
                    "{} is there already: another speaker runs as {node}, or ran and was not cleaned up \
                     (`speaker cleanup --node-name {node}`)",
                    folder.display()
                );
                let parent = folder
                    .parent()
                    .filter(|parent| !parent.exists())
                    .map(Path::to_owned);
                self.note(|record| {
                    record.parents.extend(parent);
                    record.folders.push(folder);
                })?;
            }
        }
        Ok(())
    }

    fn mount_bpffs(&mut self) -> Result<()> {
        let at = self.options.bpffs.clone();
        if is_in_bpffs(&at)? {
            return Ok(());
        }
        let place = Path::new(BPFFS);
        ensure!(
            at.starts_with(place),
            "{} is not in a mounted bpffs",
            at.display()
        );
        if !is_in_bpffs(place)? {
            tools::say(&format!(
                "mounting a bpffs at {BPFFS} (it goes when the lab goes)"
            ));
            self.note(|record| record.mounted = Some(place.to_owned()))?;
            net::run(Command::new("mount").args(["-t", "bpf", "bpf", BPFFS]))?;
        }
        if at != place {
            self.note(|record| record.folders.push(at.clone()))?;
            fs::create_dir(&at).with_context(|| format!("failed to make {}", at.display()))?;
        }
        Ok(())
    }

    fn make_namespaces(&mut self) -> Result<()> {
        let made_netns_dir = !Path::new(NETNS_DIR).exists();
        self.note(|record| record.made_netns_dir = made_netns_dir)?;
        let all: Vec<Netns> = self.topology.namespaces().into_iter().cloned().collect();
        for netns in all {
            ensure!(
                !netns.exists(),
                "a network namespace {} is there already, and no lab has recorded it as its own",
                netns.name()
            );
            self.note(|record| record.namespaces.push(netns.name().to_owned()))?;
            netns.create()?;
        }
        Ok(())
    }

    fn start_backends(&mut self) -> Result<()> {
        let binary = &self.options.backend;
        ensure!(
            binary.exists(),
            "{} is missing: `cargo build -p xtask`",
            binary.display()
        );
        let mut started = Vec::new();
        for node in &self.topology.nodes {
            for pod in &node.pods {
                let mut command = pod.netns.command(binary);
                command.args(["lab-backend", "--pod", &pod.name, "--node", &node.name]);
                let log = self.folder().join("log").join(format!("{}.log", pod.name));
                started.push((spawn(&mut command, &log)?, format!("backend {}", pod.name)));
            }
        }
        for (child, what) in started {
            self.adopt(&child, what)?;
            self.backends.push(child);
        }
        Ok(())
    }

    fn adopt(&mut self, child: &Child, what: String) -> Result<()> {
        let process = Process::running(child.id(), what)?;
        self.note(|record| record.processes.push(process))
    }

    /// Starts the speaker of a node that has none running.
    ///
    /// # Errors
    /// When its binary is missing or cannot be started.
    pub fn start_speaker(&mut self, node: &str) -> Result<()> {
        self.launch(node, None)
    }

    /// Starts a speaker as a pod of the cluster says, or without one as the lab has it.
    fn launch(&mut self, node: &str, pod: Option<&Pod>) -> Result<()> {
        let Some(at) = self.topology.node(node) else {
            bail!("the lab has no node {node}");
        };
        let speaker = Speaker::start(&speaker::Start {
            binary: &self.options.speaker,
            node: at,
            source: self.source(),
            run_dir: &self.options.run_dir,
            bpffs: &self.options.bpffs,
            log: &self.folder().join("log").join(format!("{node}.log")),
            flags: self.options.speaker_flags,
            pod,
        })?;
        let process = Process::running(speaker.id(), format!("speaker {node}"));
        self.speakers.insert(node.to_owned(), speaker);
        match process {
            Ok(process) => self.note(|record| record.processes.push(process)),
            Err(_) => self.speaker(node)?.wait_until_ready(), // says why it has ended
        }
    }

    fn source(&self) -> Source {
        match &self.cluster {
            Some(cluster) => Source::Cluster(cluster.kubeconfig("speaker")),
            None => Source::Manifests(self.manifests()),
        }
    }

    /// The running speaker of a node.
    ///
    /// # Errors
    /// When none was started there.
    pub fn speaker(&mut self, node: &str) -> Result<&mut Speaker> {
        self.speakers
            .get_mut(node)
            .with_context(|| format!("no speaker was started on {node}"))
    }

    /// Whether every speaker still runs.
    ///
    /// # Errors
    /// When one has ended, with the last lines of its log.
    pub fn check_speakers(&mut self) -> Result<()> {
        if let Some(cluster) = &mut self.cluster {
            cluster.check()?;
        }
        self.speakers.values_mut().try_for_each(Speaker::check)
    }

    /// The speakers by node.
    pub fn speakers(&self) -> &BTreeMap<String, Speaker> {
        &self.speakers
    }

    /// The last words of every speaker.
    pub fn speakers_say(&self) -> String {
        let tails = self
            .speakers
            .iter()
            .map(|(node, s)| format!("{node}:\n{}", s.log_tail()));
        tails.collect()
    }

    /// What it is made of.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The namespaces and addresses.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Puts one more host on the switch.
    ///
    /// # Errors
    /// When its name is taken, or a link, an address or a setting is refused.
    pub fn plug_in(&mut self, name: &str, v4: Ipv4Addr, v6: Ipv6Addr) -> Result<Netns> {
        let netns = Netns::named(format!("{}-{name}", self.options.prefix));
        self.note(|record| record.namespaces.push(netns.name().to_owned()))?;
        netns.create()?;
        netns.sysctl(topology::EVERYWHERE)?;
        netns.ip("link set lo up")?;
        self.topology.plug(&netns, name, "eth0")?;
        netns.ip(&topology::addresses("eth0", v4, v6))?;
        Ok(netns)
    }

    /// The lab's own folder.
    pub fn folder(&self) -> PathBuf {
        self.options.folder()
    }

    /// The lab's copy of the manifests, which speakers and proxy follow.
    pub fn manifests(&self) -> PathBuf {
        self.folder().join("manifests")
    }

    /// Where the speaker of a node pins its maps and links.
    pub fn pins(&self, node: &str) -> PathBuf {
        self.options.bpffs.join("heliograph").join(node)
    }

    /// What the service proxy serves at present: all services that have addresses.
    ///
    /// # Errors
    /// When the manifests cannot be listed.
    pub fn frontends(&self) -> Result<Vec<Frontend>> {
        let objects = match &self.cluster {
            Some(cluster) => cluster.objects(),
            None => self.manifests(),
        };
        Ok(proxy::frontends(&objects)?.0)
    }

    /// Takes everything down.
    ///
    /// # Errors
    /// With what would not go.
    pub fn down(mut self) -> Result<()> {
        self.take_down()
    }

    fn take_down(&mut self) -> Result<()> {
        let Some(lock) = self.lock.take() else {
            return Ok(());
        };
        self.proxy = None;
        for speaker in self.speakers.values_mut() {
            speaker.ask_to_stop();
        }
        for speaker in self.speakers.values_mut() {
            speaker.stop()?;
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.stop()?;
        }
        for backend in &mut self.backends {
            backend.kill().context("failed to end a backend")?;
            backend.wait().context("failed to wait for a backend")?;
        }
        self.record.undo()?;
        remove_home(&self.options)?;
        drop(lock);
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = self.take_down() {
            tools::say(&format!("{error:#}"));
        }
    }
}

/// Takes down the lab of these options, whoever keeps it up, or what is left of it. Whether there was one.
///
/// # Errors
/// With what would not go.
pub fn down(options: &Options) -> Result<bool> {
    let Some(record) = Record::load(&options.record())? else {
        return Ok(false);
    };
    if let Some(owner) = record.owner.as_ref().filter(|owner| owner.is_alive()) {
        tools::say(&format!("asking {owner} to end"));
        owner.signal(Signal::TERM);
        ensure!(owner.wait(OWNER_PATIENCE), "{owner} does not end");
    }
    let lock = lock(options)?;
    // What the owner has cleaned up is gone, and so is the record.
    if let Some(left) = Record::load(&options.record())? {
        left.undo()?;
    }
    remove_home(options)?;
    drop(lock);
    Ok(true)
}

/// A background process of its own group, so that Ctrl-C reaches only the lab, which ends it in order.
fn spawn(command: &mut Command, log: &Path) -> Result<Child> {
    use std::os::unix::process::CommandExt;
    let log = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("failed to open {}", log.display()))?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .with_context(|| format!("failed to start {command:?}"))
}

const OWNER_PATIENCE: Duration = Duration::from_secs(30);
