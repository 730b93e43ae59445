//! Ten thousand connections that are spread over five nodes, while one joins, one leaves, and one dies.
//!
//! The service has policy Local, so that a connection is known at the pod by the client's own port: with that it is known which node serves
//! it, and that a connection breaks if this node dies and never else.

use super::{SPREAD, until_spread};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};
use system_tests::lab::{TestLab, tell};
use xtask::lab::backend::{ECHO_PORT, allow_files};

#[test]
fn of_ten_thousand_connections_over_five_nodes_only_those_of_dead_nodes_break() {
    allow_files().unwrap();
    let service = service();
    let mut lab = TestLab::of_nodes(5, &[SPREAD, ("many.yaml", "", &service)]);
    let four = ["n1", "n2", "n3", "n4"];
    for node in four {
        lab.start_speaker(node).unwrap();
    }
    let at = lab.frontends_of("default/many").remove(0).address();
    let vip = at.ip();
    until_spread(&lab, vip, &four);
    let mut many = Many::open(&lab, at);
    let served = many.by_node(&lab);
    assert_eq!(served.len(), four.len(), "{:?}", counts(&served));

    lab.start_speaker("n5").unwrap();
    let holder = until_spread(&lab, vip, &["n1", "n2", "n3", "n4", "n5"]);
    many.must_live(&lab, "n5 joined", &[]);

    let leaving = four.into_iter().find(|node| *node != holder).unwrap();
    lab.exclude(leaving);
    let rest: Vec<&str> = ["n5"]
        .into_iter()
        .chain(four)
        .filter(|n| *n != leaving)
        .collect();
    until_spread(&lab, vip, &rest);
    many.must_live(&lab, &format!("{leaving} left"), &[]);

    // Whoever takes it from the holder now was not told whose connections are whose, and cannot know of each: see `docs/steering.md`.
    let is_serving = |node: &str| served.get(node).is_some_and(|ports| !ports.is_empty());
    let mut others = rest.iter().copied().filter(|node| *node != holder);
    let bystander = others.find(|node| is_serving(node));
    let bystander = bystander.expect("two of four are left, and one holds it");
    die(&mut lab, bystander);
    let rest: Vec<&str> = rest.into_iter().filter(|node| *node != bystander).collect();
    until_moved(&lab, vip, &rest);
    many.must_live(&lab, &format!("{bystander} died"), &served[bystander]);
}

/// The holder of a VIP, once one of these nodes holds it and has all of them for what is new.
fn until_moved(lab: &TestLab, vip: IpAddr, nodes: &[&str]) -> String {
    lab.eventually("one of them spreads it", || {
        let told = nodes
            .iter()
            .map(|node| (*node, super::steer(lab, node, vip)));
        let told: BTreeMap<_, _> = told.collect();
        let has_all = |node: &&str| {
            let rows = told[*node]["nodes"].as_array().cloned().unwrap_or_default();
            let sharing = rows.iter().filter(|row| row["weight"] != 0);
            let sharing: BTreeSet<_> = sharing.filter_map(|row| row["node"].as_str()).collect();
            told[*node]["is_spread"] == true && sharing == nodes.iter().copied().collect()
        };
        let holder = nodes.iter().copied().find(has_all);
        holder.map(str::to_owned).ok_or_else(|| format!("{told:?}"))
    })
}

/// Takes a node away as a lost power supply would: from one moment to the next nothing comes from it.
fn die(lab: &mut TestLab, node: &str) {
    let switch = lab.topology().switch.clone();
    switch.ip(&format!("link set {node} down")).unwrap();
    lab.speaker(node).unwrap().kill().unwrap();
}

/// Connections by the client's port.
struct Many {
    streams: BTreeMap<u16, TcpStream>,
    number: u32,
    vip: IpAddr,
}

impl Many {
    fn open(lab: &TestLab, at: SocketAddr) -> Self {
        let began = Instant::now();
        let streams = lab.in_client(|| {
            let open = |_| {
                let stream = TcpStream::connect_timeout(&at, PATIENCE).unwrap();
                stream.set_nodelay(true).unwrap();
                stream.set_nonblocking(true).unwrap();
                (stream.local_addr().unwrap().port(), stream)
            };
            (0..CONNECTIONS).map(open).collect()
        });
        tell(&format!(
            "{CONNECTIONS} connections in {:.1?}",
            began.elapsed()
        ));
        let mut many = Self {
            streams,
            number: 0,
            vip: at.ip(),
        };
        many.must_live(lab, "nothing happened", &[]);
        many
    }

    /// Every connection says something that must come back, but for those of these ports, which are given up.
    fn must_live(&mut self, lab: &TestLab, what: &str, lost: &[u16]) {
        let before = self.streams.len();
        let broken = self.say();
        tell(&format!(
            "{what}: {} of {before} connections broke, and {} were there",
            broken.len(),
            lost.len()
        ));
        let wrong: Vec<_> = broken
            .iter()
            .filter(|(port, _)| !lost.contains(port))
            .collect();
        assert!(
            wrong.is_empty(),
            "{what}: {} of {before} broke, {} of these with nodes that live: {:?}\n{}",
            broken.len(),
            wrong.len(),
            wrong.iter().take(5).collect::<Vec<_>>(),
            self.told(lab)
        );
    }

    fn told(&self, lab: &TestLab) -> String {
        let ask = |node: &str| {
            let told = lab.speakers()[node].ctl(&["steer", &self.vip.to_string()]);
            told.unwrap_or_else(|error| error.to_string())
        };
        let told = lab
            .speakers()
            .keys()
            .map(|node| format!("{node}:\n{}\n", ask(node)));
        told.collect()
    }

    /// One line on each connection; the ports of those that it did not come back on, which are closed, and why.
    fn say(&mut self) -> BTreeMap<u16, String> {
        self.number += 1;
        let line = format!("{:08}\n", self.number);
        let mut waiting = BTreeMap::new();
        let mut broken = BTreeMap::new();
        for (port, stream) in &mut self.streams {
            match stream.write_all(line.as_bytes()) {
                Ok(()) => drop(waiting.insert(*port, Vec::new())),
                Err(error) => drop(broken.insert(*port, error.to_string())),
            }
        }
        let until = Instant::now() + PATIENCE;
        while !waiting.is_empty() && Instant::now() < until {
            waiting.retain(|port, got: &mut Vec<u8>| {
                let mut bytes = [0; 16];
                match (&self.streams[port]).read(&mut bytes) {
                    Ok(0) => drop(broken.insert(*port, "closed".to_owned())),
                    Ok(count) => {
                        got.extend(&bytes[..count]);
                        return *got != line.as_bytes();
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                    Err(error) => drop(broken.insert(*port, error.to_string())),
                }
                false
            });
            thread::sleep(Duration::from_millis(5));
        }
        let silent = waiting.keys().map(|port| (*port, "no answer".to_owned()));
        broken.extend(silent);
        self.streams.retain(|port, _| !broken.contains_key(port));
        broken
    }

    /// The client's ports by the node that serves them, as the pods' sockets tell.
    fn by_node(&self, lab: &TestLab) -> BTreeMap<String, Vec<u16>> {
        let mut served: BTreeMap<String, Vec<u16>> = BTreeMap::new();
        let own = lab.client().addresses().unwrap();
        for node in &lab.topology().nodes {
            for pod in &node.pods {
                let filter = format!("sport = :{ECHO_PORT}");
                let sockets = pod
                    .netns
                    .output("ss", &["-Htn", "state", "established", &filter]);
                for peer in sockets
                    .unwrap()
                    .lines()
                    .filter_map(|line| line.split_whitespace().last())
                {
                    let (address, port) = peer.rsplit_once(':').expect("an address and a port");
                    let address = address.trim_matches(['[', ']']);
                    let address: IpAddr = address.parse().expect("an address");
                    assert!(
                        own.contains(&address.to_canonical()),
                        "the pod sees {address}"
                    );
                    served
                        .entry(node.name.clone())
                        .or_default()
                        .push(port.parse().expect("a port"));
                }
            }
        }
        assert_eq!(
            served.values().map(Vec::len).sum::<usize>(),
            self.streams.len()
        );
        served
    }
}

fn counts(served: &BTreeMap<String, Vec<u16>>) -> BTreeMap<&str, usize> {
    let counts = served
        .iter()
        .map(|(node, ports)| (node.as_str(), ports.len()));
    counts.collect()
}

/// A service with two endpoints on each of five nodes.
fn service() -> String {
    let endpoints = (1..=5).flat_map(|node| [11, 12].map(|pod| (node, pod)));
    let endpoints = endpoints.map(|(node, pod)| {
        format!("  - {{addresses: [10.244.{node}.{pod}], nodeName: n{node}, conditions: {{ready: true}}}}\n")
    });
    let endpoints: String = endpoints.collect();
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: many\n  namespace: default\nspec:\n  type: LoadBalancer\n  \
         externalTrafficPolicy: Local\n  ipFamilies: [IPv4]\n  clusterIPs: [10.96.0.30]\n  selector: {{app: many}}\n  ports:\n  \
         - {{name: echo, protocol: TCP, port: 7}}\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  \
         name: many-v4\n  namespace: default\n  labels: {{kubernetes.io/service-name: many}}\naddressType: IPv4\nports:\n  \
         - {{name: echo, protocol: TCP, port: {ECHO_PORT}}}\nendpoints:\n{endpoints}"
    )
}

const CONNECTIONS: usize = 10_000;
/// Longer than a segment that was lost three times takes to come again, on a machine that has other work. A connection that broke says so at once.
const PATIENCE: Duration = Duration::from_secs(45);
