//! A node and a client with a wire and a VLAN between them, and a speaker on the node.

use super::frames::Questions;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{process, thread};
use xtask::lab::net::{self, Netns};
use xtask::lab::proxy::Proxy;
use xtask::tools;

/// How the node is wired, beside a veth pair with a VLAN device on each end.
#[derive(Default)]
pub(crate) struct Wiring {
    /// Tags are written into the frame, not beside it as network cards do it.
    pub(crate) tags_in_frames: bool,
    /// The node's end is a port of the bridge `br0`, and the VLAN device is on that.
    pub(crate) is_bridged: bool,
}

/// A network namespace with the commands of tests.
pub(crate) struct Namespace(pub(crate) Netns);

/// The node, the client, and the speaker if it runs.
pub(crate) struct Site {
    pub(crate) node: Namespace,
    pub(crate) client: Namespace,
    name: String,
    folder: PathBuf,
    options: Vec<String>,
    speaker: Option<Child>,
    open: Questions,
}

impl Site {
    /// The usual wiring; the advertisement lists these interfaces.
    pub(crate) fn on(interfaces: &[&str]) -> Self {
        Self::new(&Wiring::default(), interfaces, &[])
    }

    /// The usual wiring and no speaker.
    pub(crate) fn without_speaker() -> Self {
        Self::wired(&Wiring::default())
    }

    /// As wired; the speaker is started with these options more.
    pub(crate) fn new(wiring: &Wiring, interfaces: &[&str], options: &[&str]) -> Self {
        let mut site = Self::wired(wiring);
        site.options = options.iter().map(|&option| option.to_owned()).collect();
        let manifests = site.manifests();
        fs::create_dir_all(&manifests).unwrap();
        let text = MANIFESTS.replace("INTERFACES", &interfaces.join(", "));
        fs::write(manifests.join("all.yaml"), text).unwrap();
        site.start();
        site
    }

    fn wired(wiring: &Wiring) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        assert!(
            tools::is_root(),
            "this suite makes namespaces and loads programs; as root run: cargo xtask test vlan"
        );
        let name = format!(
            "hgv-{}-{}",
            process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let site = Self {
            node: Namespace::new(&format!("{name}-node")),
            client: Namespace::new(&format!("{name}-client")),
            folder: PathBuf::from(format!("/run/{name}")),
            name,
            options: Vec::new(),
            speaker: None,
            open: Questions::default(),
        };
        fs::create_dir_all(&site.folder).unwrap();
        fs::create_dir_all(site.bpffs()).unwrap();
        site.wire(wiring);
        site
    }

    fn wire(&self, wiring: &Wiring) {
        let (node, client) = (self.node.0.name(), self.client.0.name());
        net::run(Command::new("ip").args(
            format!(
                "link add eth0 netns {node} address {PARENT_MAC} type veth peer name eth0 netns {client}"
            )
            .split(' '),
        ))
        .unwrap();
        for end in [&self.node, &self.client] {
            if wiring.tags_in_frames {
                end.run("ethtool -K eth0 txvlan off rxvlan off");
            }
            end.ip("link set eth0 up");
        }
        self.client.ip(&format!(
            "link add link eth0 eth0.100 type vlan id 100\n\
            link set eth0.100 up\n\
            address add 192.0.2.77/24 dev eth0\naddress add 2001:db8::77/64 dev eth0 nodad\n\
            address add {CLIENT4}/24 dev eth0.100\naddress add {CLIENT6}/64 dev eth0.100 nodad"
        ));
        if wiring.is_bridged {
            self.node.ip(&format!(
                "link add br0 address {BRIDGE_MAC} type bridge\nlink set eth0 master br0\nlink set br0 up"
            ));
            self.add_vlan("br0");
        } else {
            self.node.ip("address add 192.0.2.11/24 dev eth0");
            self.add_vlan("eth0");
        }
    }

    /// The node's VLAN device, on this link. Its hardware address is its own, but on a bridge.
    pub(crate) fn add_vlan(&self, parent: &str) {
        let address = if parent == "eth0" {
            VLAN_MAC
        } else {
            BRIDGE_MAC
        };
        self.node.ip(&format!(
            "link add link {parent} {parent}.100 address {address} type vlan id 100\n\
             link set {parent}.100 up\naddress add {NODE4}/24 dev {parent}.100"
        ));
    }

    /// A veth pair more, of which each end has this name.
    pub(crate) fn link_to_client(&self, name: &str) {
        let client = self.client.0.name();
        self.node.ip(&format!(
            "link add {name} type veth peer name {name} netns {client}\nlink set {name} up"
        ));
        self.client.ip(&format!("link set {name} up"));
    }

    /// One more file of manifests.
    pub(crate) fn manifest(&self, name: &str, text: &str) {
        fs::write(self.manifests().join(name), text).unwrap();
    }

    /// A file of the test's own.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Node, client and VIPs reach each other in the VLAN, although the same subnet is on the parent.
    pub(crate) fn talk_in_vlan(&self) {
        self.client.ip(&format!(
            "route add {VIP4} dev eth0.100 src {CLIENT4}\nroute add {VIP6} dev eth0.100 src {CLIENT6}"
        ));
        self.node.ip(&format!(
            "route add {CLIENT4} dev eth0.100\nroute add {CLIENT6} dev eth0.100"
        ));
    }

    /// The lab's service proxy on the node, following the manifests.
    pub(crate) fn proxy(&self) -> Proxy {
        let nodes = BTreeMap::from([(NODE.to_owned(), self.node.0.clone())]);
        Proxy::start(&self.manifests(), &nodes).unwrap()
    }

    /// Starts the speaker and waits until it can be asked.
    pub(crate) fn start(&mut self) {
        let log = File::create(self.folder.join("log")).unwrap();
        let mut command = self.node.0.command(speaker());
        command
            .args(["run", "--node-name", NODE, "--manifests"])
            .arg(self.manifests())
            .arg("--run-dir")
            .arg(self.folder.join("run"))
            .arg("--bpffs")
            .arg(self.bpffs())
            .args([
                "--port",
                "0",
                "--health-probe-port",
                "0",
                "--log-format",
                "text",
                "--insecure-gossip",
            ])
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.speaker = Some(command.spawn().unwrap());
        self.eventually("the speaker can be asked", || {
            self.try_ctl(&["status"]).is_ok()
        });
    }

    /// Ends the speaker as an operator would.
    pub(crate) fn stop(&mut self) {
        let mut speaker = self.speaker.take().unwrap();
        let pid = Pid::from_raw(i32::try_from(speaker.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let begun = Instant::now();
        while speaker.try_wait().unwrap().is_none() {
            if begun.elapsed() > WAIT_MAX {
                speaker.kill().unwrap();
                speaker.wait().unwrap();
                panic!("the speaker did not end:\n{}", self.log());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until both VIPs are answered for on this device of the client.
    #[track_caller]
    pub(crate) fn held_on(&self, device: &str) {
        for vip in [VIP4, VIP6] {
            self.answer(vip, device);
        }
    }

    /// Asks until somebody answers: with which hardware address. An emulated machine with much to do may keep the speaker from renewing its deadline in
    /// time, and tools from hearing an answer in theirs.
    #[track_caller]
    pub(crate) fn answer(&self, vip: &str, device: &str) -> String {
        let mut answer = None;
        self.eventually(&format!("{vip} answered on {device}"), || {
            answer = self.asked(vip, device);
            answer.is_some()
        });
        answer.unwrap()
    }

    /// Asks once, by the client's tools: the hardware address that was answered with. What counts is what came over the wire,
    /// to this client and with this device's tag: tools also take announcements for answers.
    #[track_caller]
    pub(crate) fn asked(&self, vip: &str, device: &str) -> Option<String> {
        let question = if vip.contains(':') {
            format!("ndisc6 -1 -r 1 -w 1000 {vip} {device}")
        } else {
            format!("arping -c 1 -w 1 -I {device} {vip}")
        };
        let mut output = String::new();
        let seen = self.client.while_watching("eth0", || {
            output = self.client.attempt(&question).1;
        });
        let mut answers = self.open.answers(&seen, vip).into_iter();
        let answer = answers.find(|answer| answer.is_tagged == (device == "eth0.100"))?;
        // What the tool did not wait for comes too late.
        let is_in_time = output.to_lowercase().contains(&answer.mac);
        is_in_time.then_some(answer.mac)
    }

    /// What `speaker ctl` prints for these words.
    pub(crate) fn ctl(&self, words: &[&str]) -> String {
        self.try_ctl(words).unwrap()
    }

    fn try_ctl(&self, words: &[&str]) -> Result<String, String> {
        let mut command = Command::new(speaker());
        command.args(["ctl", "--node", NODE, "--run-dir"]);
        net::output(command.arg(self.folder.join("run")).args(words))
            .map_err(|why| format!("{why:#}"))
    }

    /// What `speaker cleanup` says.
    pub(crate) fn cleanup(&self) -> String {
        let mut command = self.node.0.command(speaker());
        command.args(["cleanup", "--node-name", NODE, "--run-dir"]);
        command.arg(self.folder.join("run")).arg("--bpffs");
        net::output(command.arg(self.bpffs())).unwrap()
    }

    /// Everything that is pinned.
    pub(crate) fn pins(&self) -> Vec<String> {
        let mut find = Command::new("find");
        let listed = net::output(find.arg(self.bpffs()).args(["-mindepth", "1"])).unwrap();
        listed.lines().map(str::to_owned).collect()
    }

    /// Says something worth seeing also when all is well.
    pub(crate) fn tell(&self, what: &str) {
        for line in what.lines() {
            println!("heliograph-told: {line}");
        }
    }

    /// Waits until `is_so`; the log tells what became of the speaker if that takes too long.
    #[track_caller]
    pub(crate) fn eventually(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(
                begun.elapsed() < WAIT_MAX,
                "not in time: {what}\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn manifests(&self) -> PathBuf {
        self.folder.join("manifests")
    }

    fn bpffs(&self) -> PathBuf {
        Path::new("/sys/fs/bpf").join(&self.name)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut speaker) = self.speaker.take() {
            let _ = speaker.kill();
            let _ = speaker.wait();
            let _ = thread::panicking() || !self.cleanup().is_empty();
        }
        let _ = fs::remove_dir_all(&self.folder);
        let _ = fs::remove_dir_all(self.bpffs());
    }
}

impl Namespace {
    fn new(name: &str) -> Self {
        let namespace = Self(Netns::named(name));
        namespace.0.create().unwrap();
        let settings = [
            ("ipv6.conf.default.accept_dad", "0"),
            ("ipv6.conf.default.accept_ra", "0"),
        ];
        namespace.0.sysctl(&settings).unwrap();
        namespace.ip("link set lo up");
        namespace
    }

    /// Commands of `ip`, one a line.
    #[track_caller]
    pub(crate) fn ip(&self, commands: &str) {
        self.0.ip(&format!("{commands}\n")).unwrap();
    }

    /// Runs `work` on a thread of its own inside.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.0.enter(work).unwrap()
    }

    /// Runs a command; its output. It must succeed.
    #[track_caller]
    pub(crate) fn run(&self, command: &str) -> String {
        let (is_done, output) = self.attempt(command);
        assert!(is_done, "{command}: {output}");
        output
    }

    /// A command to run inside.
    pub(crate) fn command(&self, program: &str) -> Command {
        self.0.command(program)
    }

    /// Runs a command; whether it succeeded, and its output.
    pub(crate) fn attempt(&self, command: &str) -> (bool, String) {
        let mut words = command.split(' ');
        let mut inside = self.0.command(words.next().unwrap());
        let done = inside.args(words).stdin(Stdio::null()).output().unwrap();
        let output = String::from_utf8_lossy(&done.stdout);
        let errors = String::from_utf8_lossy(&done.stderr);
        (done.status.success(), format!("{output}{errors}"))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let gone = self.0.delete();
        assert!(gone.is_ok() || thread::panicking(), "{gone:?}");
    }
}

/// The speaker under test; an emulated machine says where it has it.
fn speaker() -> PathBuf {
    let named = std::env::var_os("HELIOGRAPH_SPEAKER").map(PathBuf::from);
    named.unwrap_or_else(|| tools::target().join("debug/speaker"))
}

const NODE: &str = "n1";
pub(crate) const VIP4: &str = "192.0.2.100";
pub(crate) const VIP6: &str = "2001:db8::100";
/// The node's own address in the VLAN.
pub(crate) const NODE4: &str = "192.0.2.12";
/// The client's addresses in the VLAN.
pub(crate) const CLIENT4: &str = "192.0.2.78";
pub(crate) const CLIENT6: &str = "2001:db8::78";
pub(crate) const PARENT_MAC: &str = "02:00:00:00:00:11";
pub(crate) const VLAN_MAC: &str = "02:00:00:00:00:64";
pub(crate) const BRIDGE_MAC: &str = "02:00:00:00:00:b0";

/// An emulated machine is slow.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(120);

const MANIFESTS: &str = r#"
apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: lan, namespace: metallb-system}
spec:
  addresses: [192.0.2.100/32, "2001:db8::100/128"]
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: lan, namespace: metallb-system}
spec:
  ipAddressPools: [lan]
  interfaces: [INTERFACES]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  ipFamilies: [IPv4, IPv6]
  clusterIPs: [10.96.0.10, "fd00:10:96::10"]
  ports: [{name: http, protocol: TCP, port: 80}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-v4
  namespace: default
  labels: {kubernetes.io/service-name: web}
addressType: IPv4
ports: [{name: http, protocol: TCP, port: 8080}]
endpoints:
  - {addresses: [10.244.1.11], nodeName: n1, conditions: {ready: true}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-v6
  namespace: default
  labels: {kubernetes.io/service-name: web}
addressType: IPv6
ports: [{name: http, protocol: TCP, port: 8080}]
endpoints:
  - {addresses: ["fd00:10:244:1::11"], nodeName: n1, conditions: {ready: true}}
"#;
