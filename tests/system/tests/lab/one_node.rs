//! One node of a cluster: a speaker in a namespace of its own, an API server's double beside it, and a client on the same
//! segment.
//!
//! The double enforces the roles and the policy that are shipped, so that a call without a right fails the test. Panics instead of returning errors, as
//! tests do. Nobody plays the controller: a test writes the statuses itself.

use api_tests::{Double, Options, Users};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize as _;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;
use system_tests::lab::{Turn, turn, within};
use xtask::lab::net::{Netns, output, run};
use xtask::tools;

/// A node, its API server and a client.
pub(super) struct OneNode {
    /// The API server.
    pub(super) double: Double,
    node: Netns,
    client: Netns,
    home: tempfile::TempDir,
    speaker: Option<Child>,
    _turn: Turn,
}

impl OneNode {
    /// A cluster without services: the node `n1` that is here and `n2` that is not, one pool, one advertisement.
    #[track_caller]
    pub(super) fn new() -> Self {
        let turn = turn();
        let home = tempfile::tempdir().expect("the temporary folder can be written");
        let prefix = format!("hgt{}", std::process::id());
        let [node, client] = ["n1", "cl"].map(|name| Netns::named(format!("{prefix}-{name}")));
        for netns in [&node, &client] {
            if netns.exists() {
                netns.delete().expect("what a killed run left goes");
            }
            netns.create().expect("a namespace can be made");
        }
        let link = format!(
            "link set lo up\nlink add eth0 type veth peer name eth0 netns {}\naddr add {NODE}/24 dev eth0\nlink set eth0 up\n",
            client.name()
        );
        node.ip(&link).expect("the node is wired");
        let link = format!("link set lo up\naddr add {CLIENT}/24 dev eth0\nlink set eth0 up\n");
        client.ip(&link).expect("the client is wired");
        let bpffs = home.path().join("bpf");
        fs::create_dir(&bpffs).expect("the temporary folder can be written");
        run(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(&bpffs))
            .expect("a bpf file system can be mounted");
        let double = node.enter(start).expect("the namespace is there");
        let cluster = Self {
            double,
            node,
            client,
            home,
            speaker: None,
            _turn: turn,
        };
        cluster.fill();
        cluster
    }

    fn fill(&self) {
        self.apply(BASIS);
        for file in ["2-speaker-rights", "5-speaker-policy"] {
            let file = tools::root().join(format!("deploy/manifests/{file}.yaml"));
            manifests(&file).iter().for_each(|object| self.put(object));
        }
        let written = self.double.kubeconfig_of_files(self.home.path(), ACCOUNT);
        written.expect("the folder can be written");
    }

    /// Replaces the speaker's token, in its file and at the API server, which refuses the old one from now on.
    pub(super) fn replace_token(&self) {
        fs::write(self.path("token"), "second").expect("the folder can be written");
        self.double.add_user("second", ACCOUNT, &[]);
        self.double.remove_token(TOKEN);
    }

    /// Writes the API server's authority where the speaker reads it.
    pub(super) fn tell_authority(&self) {
        let written = self.double.write_authority(self.home.path());
        written.expect("the folder can be written");
    }

    /// Makes or replaces all objects of a manifest.
    #[track_caller]
    pub(super) fn apply(&self, text: &str) {
        manifests_of(text)
            .iter()
            .for_each(|object| self.put(object));
    }

    /// The namespace of the node.
    pub(super) const fn node(&self) -> &Netns {
        &self.node
    }

    /// The namespace of the client, at [`CLIENT`].
    pub(super) const fn client(&self) -> &Netns {
        &self.client
    }

    /// A place for files, which goes with the cluster.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Makes or replaces an object.
    #[track_caller]
    pub(super) fn put(&self, object: &Value) {
        let (code, answer) = self.double.put(object);
        assert!((200..300).contains(&code), "{code} {answer} for {object}");
    }

    /// A service of type LoadBalancer with an endpoint, and an address as the controller would give it.
    #[track_caller]
    pub(super) fn serve(&self, name: &str, ip: IpAddr) {
        self.apply(&SERVICE.replace("NAME", name));
        let path = format!("/api/v1/namespaces/default/services/{name}/status");
        let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": ip}]}}});
        let (code, answer) =
            self.double
                .request("PATCH", &path, "application/merge-patch+json", &status);
        assert_eq!(code, 200, "{answer}");
    }

    /// Starts the speaker.
    #[track_caller]
    pub(super) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts the speaker with these arguments besides.
    #[track_caller]
    pub(super) fn start_with(&mut self, arguments: &[&str]) {
        assert!(self.speaker.is_none(), "it runs already");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .expect("the folder can be written");
        let mut command = self.node.command(tools::target().join("debug/speaker"));
        command
            .args(["run", "--node-name", "n1", "--pod-name", POD])
            .args(["--namespace", NAMESPACE])
            .arg("--kubeconfig")
            .arg(self.path("kubeconfig"))
            .arg("--run-dir")
            .arg(self.path("run"))
            .arg("--bpffs")
            .arg(self.path("bpf"))
            .arg("--insecure-gossip")
            .args(arguments)
            .stdout(log.try_clone().expect("a file can be opened twice"))
            .stderr(log);
        self.speaker = Some(command.spawn().expect("the speaker can be started"));
    }

    /// Ends the speaker: in order, or by force.
    #[track_caller]
    pub(super) fn end(&mut self, signal: Signal) {
        let mut speaker = self.speaker.take().expect("it runs");
        let pid = i32::try_from(speaker.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process has a number"), signal).expect("it runs");
        speaker.wait().expect("it is ours");
    }

    /// Takes the API server away: connections break, nothing listens.
    pub(super) fn api_goes(&mut self) {
        self.double.stop();
    }

    /// Brings it back as it was.
    #[track_caller]
    pub(super) fn api_returns(&mut self) {
        let (node, double) = (self.node.clone(), &mut self.double);
        node.enter(|| double.resume())
            .expect("the namespace is there")
            .expect("the port is free");
    }

    /// Whether the node answers the client for an address, asked anew.
    pub(super) fn is_answered(&self, ip: IpAddr) -> bool {
        let forget = format!("neigh replace {ip} dev eth0 nud none");
        self.client
            .ip(&forget)
            .expect("the client's table can be changed");
        let asked = self.client.enter(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a port is free");
            // Port 9 discards; what matters is that the kernel looks for the neighbour.
            let _ = socket.send_to(b"", SocketAddr::new(ip, 9));
        });
        asked.expect("the namespace is there");
        within(ANSWERED_MAX, || {
            let neighbours = self.client.neighbours().expect("neighbours can be listed");
            neighbours.contains_key(&ip).then_some(()).ok_or(())
        })
        .is_ok()
    }

    /// Waits until `check` holds.
    #[track_caller]
    pub(super) fn until(&self, what: &str, mut check: impl FnMut(&Self) -> bool) {
        let waited = within(PATIENCE, || check(self).then_some(()).ok_or(()));
        assert!(
            waited.is_ok(),
            "not within {} s: {what}\n{}",
            PATIENCE.as_secs(),
            self.log()
        );
    }

    /// The items of a list.
    pub(super) fn list(&self, path: &str) -> Vec<Value> {
        let list = self.double.get(path).unwrap_or_default();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// What `speaker ctl` says to these words; nothing while it is not there.
    pub(super) fn ctl(&self, words: &[&str]) -> String {
        let mut command = Command::new(tools::target().join("debug/speaker"));
        command
            .args(["ctl", "--node", "n1", "--run-dir"])
            .arg(self.path("run"));
        output(command.args(words)).unwrap_or_default()
    }

    /// What a scraper with this token gets from `/metrics`; the status and the page.
    pub(super) fn scrape(&self, token: &str) -> (String, String) {
        let mut curl = self.client.command("curl");
        curl.args(["--silent", "--insecure", "--max-time", "15"])
            .args(["--write-out", "\n%{http_code}"])
            .args(["--header", &format!("Authorization: Bearer {token}")])
            .arg(format!("https://{NODE}:9120/metrics"));
        let said = output(&mut curl).unwrap_or_default();
        let (page, code) = said.rsplit_once('\n').unwrap_or_default();
        (code.to_owned(), page.to_owned())
    }

    /// Whether the last good objects are on disk.
    pub(super) fn has_kept(&self) -> bool {
        self.path("run/n1/state/objects.jsonl").exists()
    }

    /// Whether something of the speaker is left in the bpf file system.
    pub(super) fn has_pins(&self) -> bool {
        self.path("bpf/heliograph").exists()
    }

    /// Everything that the speaker said.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for OneNode {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        if self.speaker.is_some() {
            self.end(Signal::KILL);
        }
        let gone = [
            run(Command::new("umount").arg(self.path("bpf"))),
            self.node.delete(),
            self.client.delete(),
        ];
        if !std::thread::panicking() {
            gone.into_iter()
                .for_each(|gone| gone.expect("everything goes without a trace"));
        }
    }
}

fn start() -> Double {
    let mut users = Users::new();
    users.add(TOKEN, ACCOUNT, &[]);
    users.bind(TOKEN, "n1");
    users.add("scraper", "scraper", &[]);
    users.add("stranger", "stranger", &[]);
    Double::start(Options {
        crds: Some(tools::root().join("deploy/crds")),
        users,
        ..Options::default()
    })
    .expect("the double starts")
}

fn manifests(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    manifests_of(&text)
}

fn manifests_of(text: &str) -> Vec<Value> {
    let documents = serde_norway::Deserializer::from_str(text);
    documents
        .map(|document| Value::deserialize(document).expect("a manifest"))
        .collect()
}

/// The namespace of the installation.
pub(super) const NAMESPACE: &str = "metallb-system";
/// Whose requests the speaker makes.
pub(super) const ACCOUNT: &str = "system:serviceaccount:metallb-system:speaker";
/// The pod that the speaker believes to be.
pub(super) const POD: &str = "speaker-x";
const TOKEN: &str = "speaker";
pub(super) const NODE: &str = "192.0.2.11";
/// The client's address.
pub(super) const CLIENT: &str = "192.0.2.2";
const PATIENCE: Duration = Duration::from_secs(60); // a write that failed is tried again after 48 s at most
const ANSWERED_MAX: Duration = Duration::from_millis(600);

const BASIS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: metallb-system}
---
apiVersion: v1
kind: Pod
metadata: {name: speaker-x, namespace: metallb-system}
spec: {containers: [{name: speaker, image: heliograph}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: scraper}
rules: [{nonResourceURLs: [/metrics], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: scraper}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: scraper}
subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: scraper}]
---
apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: v1
kind: Node
metadata: {name: n2, labels: {node.kubernetes.io/exclude-from-external-load-balancers: ''}}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: lan, namespace: metallb-system}
spec: {addresses: [192.0.2.100-192.0.2.119]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: lan, namespace: metallb-system}
";

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: NAME, namespace: default}
spec: {type: LoadBalancer, selector: {app: NAME}, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: NAME-1, namespace: default, labels: {kubernetes.io/service-name: NAME}}
addressType: IPv4
endpoints: [{addresses: [10.0.0.1], nodeName: n1}]
ports: [{port: 80}]
";
