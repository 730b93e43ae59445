//! Labs for end-to-end tests: the sample manifests, changed as a test wants, and questions that wait for their answer.
//!
//! Panics instead of returning errors, as tests do. One lab at a time: two cores do not carry more, and figures of one
//! would be disturbed by the next.

mod operated;
mod priority;
mod settled;
mod turn;

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use turn::options_of;
use xtask::lab::client::ask;
use xtask::lab::net::{NETNS_DIR, Netns};
use xtask::lab::proxy::Frontend;
use xtask::lab::{Lab, Options};
use xtask::tools;

/// A lab of one test, taken down when it ends.
pub struct TestLab {
    lab: Option<Lab>,
    _turn: Turn,
}

impl TestLab {
    /// The sample manifests, unchanged.
    pub fn sample() -> Self {
        Self::with(&[])
    }

    /// The sample manifests with changes: file, what to find in it, what to put there instead. A file that the samples
    /// do not have begins empty.
    #[track_caller]
    pub fn with(changes: &[(&str, &str, &str)]) -> Self {
        Self::prepared(changes, |_| {})
    }

    /// The sample manifests on an API server, with a controller and kubectl.
    #[track_caller]
    pub fn cluster() -> Self {
        let Options {
            controller,
            speaker,
            ..
        } = Options::sample();
        Self::cluster_of(controller, speaker)
    }

    /// The same with these binaries of controller and speakers.
    #[track_caller]
    pub fn cluster_of(controller: PathBuf, speaker: PathBuf) -> Self {
        let turn = turn();
        let binaries =
            xtask::lab::command::build_cluster().expect("a cluster's binaries are built");
        let options = Options {
            cluster: Some(binaries),
            controller,
            speaker,
            ..options_of(std::process::id())
        };
        let lab = Self {
            lab: Some(Lab::up(options).expect("the cluster comes up")),
            _turn: turn,
        };
        lab.settle();
        lab
    }

    /// What kubectl prints for these words.
    #[track_caller]
    pub fn kubectl(&self, words: &[&str]) -> String {
        let kubectl = self.lab().kubectl().expect("the lab is a cluster");
        xtask::lab::net::output(Command::new(kubectl).args(words)).expect("kubectl does it")
    }

    /// As [`TestLab::with`], with a router's namespace; no speaker runs yet.
    #[track_caller]
    pub fn routed(changes: &[(&str, &str, &str)]) -> Self {
        Self::routed_with(&[], changes)
    }

    /// The same with further flags of every speaker.
    #[track_caller]
    pub fn routed_with(
        speaker_flags: &'static [&'static str],
        changes: &[(&str, &str, &str)],
    ) -> Self {
        let options = Options {
            has_router: true,
            speaker_flags,
            ..options_of(std::process::id())
        };
        Self::of(options, changes)
    }

    /// A cluster with a router's namespace; no speaker runs yet.
    #[track_caller]
    pub fn routed_cluster() -> Self {
        let binaries =
            xtask::lab::command::build_cluster().expect("a cluster's binaries are built");
        let options = Options {
            has_router: true,
            cluster: Some(binaries),
            ..options_of(std::process::id())
        };
        Self::of(options, &[])
    }

    /// A lab of so many nodes; no speaker runs yet. Nodes beyond the third get a manifest.
    #[track_caller]
    pub fn of_nodes(nodes: u8, changes: &[(&str, &str, &str)]) -> Self {
        let options = Options {
            nodes,
            ..options_of(std::process::id())
        };
        let lab = Self::of(options, changes);
        for node in lab.topology().nodes.iter().skip(3) {
            let [v4, v6] = node.addresses();
            let name = &node.name;
            let text = format!(
                "apiVersion: v1\nkind: Node\nmetadata:\n  name: {name}\n  labels:\n    kubernetes.io/hostname: {name}\n\
                 status:\n  addresses:\n    - {{type: InternalIP, address: {v4}}}\n    - {{type: InternalIP, address: \"{v6}\"}}\n"
            );
            edit(&lab.manifests(), &format!("node-{name}.yaml"), "", &text);
        }
        lab
    }

    #[track_caller]
    fn of(options: Options, changes: &[(&str, &str, &str)]) -> Self {
        let turn = turn();
        let lab = Lab::without_speakers(options).expect("the network comes up");
        for (file, from, to) in changes {
            edit(&lab.manifests(), file, from, to);
        }
        Self {
            lab: Some(lab),
            _turn: turn,
        }
    }

    /// As [`TestLab::with`], and `prepare` sees the network before the first speaker starts.
    #[track_caller]
    pub fn prepared(changes: &[(&str, &str, &str)], prepare: impl FnOnce(&Lab)) -> Self {
        let mut lab = Self::of(options_of(std::process::id()), changes);
        prepare(&lab);
        lab.start_speakers().expect("the speakers come up");
        lab.settle();
        lab
    }

    /// Changes a manifest of the running lab, in one step as a careful writer would.
    #[track_caller]
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        edit(&self.manifests(), file, from, to);
    }

    /// Gives a node the label that takes it out of the election.
    #[track_caller]
    pub fn exclude(&self, node: &str) {
        let name = format!("    kubernetes.io/hostname: {node}\n");
        let label = format!("{name}    {EXCLUDE_LABEL}: \"\"\n");
        self.edit(&format!("node-{node}.yaml"), &name, &label);
    }

    /// The frontends of a service, once it has addresses.
    #[track_caller]
    pub fn frontends_of(&self, service: &str) -> Vec<Frontend> {
        self.eventually(&format!("{service} has addresses"), || {
            // A file may go between the listing and the reading.
            let all = self.lab().frontends();
            let all = all.map_err(|error| format!("{error:#}"))?;
            let own: Vec<Frontend> = all.into_iter().filter(|f| f.service == service).collect();
            if own.is_empty() {
                Err("none yet".to_owned())
            } else {
                Ok(own)
            }
        })
    }

    /// What the client gets from a frontend, once it answers.
    #[track_caller]
    pub fn answer(&self, frontend: &Frontend) -> Answer {
        let what = format!("{} answers at {}", frontend.service, frontend.address());
        Answer::of(&self.eventually(&what, || self.in_client(|| ask(frontend))))
    }

    /// Runs `f` in the client's namespace.
    pub fn in_client<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        self.client()
            .enter(f)
            .expect("the client's namespace is there")
    }

    /// The client's namespace.
    pub fn client(&self) -> &Netns {
        &self.topology().client
    }

    /// The namespace of a node.
    #[track_caller]
    pub fn netns(&self, node: &str) -> &Netns {
        &self
            .topology()
            .node(node)
            .expect("the lab has this node")
            .netns
    }

    /// The node that answers the client for an address, asked anew; none when nobody does.
    pub fn holder(&self, vip: IpAddr) -> Option<String> {
        self.node_with(&self.resolve(vip)?)
    }

    /// The node that the client has in its table for an address, which it uses meanwhile and is not made to ask anew.
    pub fn known_holder(&self, vip: IpAddr) -> Option<String> {
        let neighbours = self.client().neighbours();
        let neighbours = neighbours.expect("neighbours can be listed");
        self.node_with(neighbours.get(&vip)?)
    }

    fn node_with(&self, mac: &str) -> Option<String> {
        let nodes = self.topology().nodes.iter();
        let mut owners = nodes.filter(|node| {
            let own = node.netns.macs().expect("links can be listed");
            own.values().any(|own| own == mac)
        });
        owners.next().map(|node| node.name.clone())
    }

    /// The hardware address that the client is given for an address, asked anew; none when nobody answers its first question. A machine with
    /// much to do may keep the speaker from renewing its deadline in time, so that who waits for an answer takes none for a "not yet".
    pub fn resolve(&self, vip: IpAddr) -> Option<String> {
        let client = self.client();
        // Deleting the entry would throw away what others have waiting for it.
        let forget = format!("neigh replace {vip} dev eth0 nud none");
        client
            .ip(&forget)
            .expect("the client's table can be changed");
        let any = if vip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        self.in_client(|| {
            let socket = UdpSocket::bind(any).expect("a port is free");
            // Port 9 discards; what matters is that the kernel looks for the neighbour.
            let _ = socket.send_to(b"", SocketAddr::new(vip, 9));
        });
        let until = Instant::now() + RESOLVED_MAX;
        loop {
            let neighbours = client.neighbours().expect("neighbours can be listed");
            if let Some(mac) = neighbours.get(&vip) {
                return Some(mac.clone());
            }
            if Instant::now() >= until {
                return None;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What `speaker ctl … -o json` of a node says. A speaker that has only begun may refuse what it answers in a moment, so that one that
    /// waits for an answer takes this for a "not yet".
    ///
    /// # Errors
    /// When it ends badly, with what it said.
    pub fn seen(&self, node: &str, words: &[&str]) -> Result<Value, String> {
        let seen = self.speakers()[node].ctl_json(words);
        seen.map_err(|error| format!("{error:#}"))
    }

    /// The same as text.
    ///
    /// # Errors
    /// When it ends badly, with what it said.
    pub fn said(&self, node: &str, words: &[&str]) -> Result<String, String> {
        let said = self.speakers()[node].ctl(words);
        said.map_err(|error| format!("{error:#}"))
    }

    /// Waits until `check` is well, and returns what it found.
    #[track_caller]
    pub fn eventually<T, E: Debug>(&self, what: &str, check: impl FnMut() -> Result<T, E>) -> T {
        within(PATIENCE, check).unwrap_or_else(|why| {
            panic!(
                "not within {} s: {what}: {why:?}\n{}",
                PATIENCE.as_secs(),
                self.speakers_say()
            )
        })
    }

    /// Waits until the holder of an address is as wanted.
    #[track_caller]
    pub fn until_held(&self, vip: IpAddr, wanted: impl Fn(Option<&str>) -> bool) -> Option<String> {
        self.eventually(&format!("the holder of {vip} is as wanted"), || {
            let holder = self.holder(vip);
            if wanted(holder.as_deref()) {
                Ok(holder)
            } else {
                Err(holder)
            }
        })
    }

    fn lab(&self) -> &Lab {
        self.lab.as_ref().expect("the lab is up until dropped")
    }
}

impl Deref for TestLab {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        self.lab()
    }
}

impl DerefMut for TestLab {
    fn deref_mut(&mut self) -> &mut Lab {
        self.lab.as_mut().expect("the lab is up until dropped")
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.speakers_say());
        }
        let gone = self.lab.take().map_or(Ok(()), Lab::down);
        if !thread::panicking() {
            gone.expect("the lab goes without a trace");
        }
    }
}

/// The `key=value` words of a backend's answer.
#[derive(Debug)]
pub struct Answer(BTreeMap<String, String>);

impl Answer {
    fn of(text: &str) -> Self {
        let words = text
            .split_whitespace()
            .filter_map(|word| word.split_once('='));
        Self(
            words
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    /// The pod that answered.
    pub fn pod(&self) -> &str {
        &self.0["pod"]
    }

    /// The node of the pod.
    pub fn node(&self) -> &str {
        &self.0["node"]
    }

    /// Whom the pod saw as its client.
    pub fn client(&self) -> IpAddr {
        self.0["client"]
            .parse()
            .expect("a backend writes an address")
    }
}

/// The speaker of another version that `HELIOGRAPH_OTHER` names, as the suite `lab` does; without, it is said that this one meets itself.
pub fn other_speaker() -> Option<PathBuf> {
    let other = std::env::var_os(::xtask::other::VARIABLE).map(PathBuf::from);
    if other.is_none() {
        tell("no other version is named by HELIOGRAPH_OTHER: this one meets itself");
    }
    other
}

/// Says something that is read also when the test passes, where `println!` would be swallowed.
pub fn tell(what: &str) {
    writeln!(std::io::stderr(), "{what}").expect("standard error can be written");
}

pub use turn::{Turn, turn};
pub use xtask::tools::within;

#[track_caller]
fn edit(dir: &Path, file: &str, from: &str, to: &str) {
    let path = dir.join(file);
    let text = fs::read_to_string(&path).unwrap_or_default();
    assert!(text.contains(from), "{file} has no {from:?}");
    let draft = path.with_extension("draft");
    fs::write(&draft, text.replacen(from, to, 1)).expect("the lab's folder can be written");
    fs::rename(&draft, &path).expect("the lab's folder can be written");
}

/// The built `xtask`.
pub fn xtask() -> PathBuf {
    Options::sample().backend
}

/// What a lab whose namespaces begin with `prefix` should have taken away and has not.
pub fn left_behind(prefix: &str) -> Vec<String> {
    let mut left: Vec<String> = fs::read_dir(NETNS_DIR)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(prefix))
        .collect();
    left.extend(processes());
    let options = Options::sample();
    for node in ["n1", "n2", "n3"] {
        for folder in [
            options.bpffs.join("heliograph").join(node),
            options.run_dir.join(node),
        ] {
            if folder.exists() {
                left.push(folder.display().to_string());
            }
        }
    }
    left
}

/// Speakers, backends and routers that run; of another lab there is none while this suite runs.
fn processes() -> impl Iterator<Item = String> {
    let lines = fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = lines.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    let ours = tools::target().display().to_string();
    lines.filter(move |line| {
        line.starts_with(&ours)
            && ["/routers/usr/", " lab-backend ", "speaker run "]
                .iter()
                .any(|word| line.contains(word))
    })
}

/// The label that takes a node out of the election.
pub const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// No promise of anybody's: how long a test waits before it says that something never comes, on a machine that has other work. What must
/// come in time is judged by time stamps.
const PATIENCE: Duration = Duration::from_secs(60);
const RESOLVED_MAX: Duration = Duration::from_millis(600);
