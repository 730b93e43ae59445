//! Very many connections to one address, on which nodes each of them depends, and which of them break.
//!
//! What a connection depends on is read from the nodes' own tables of connections, which know the client's port and the pod: the node whose
//! service proxy translates it, and the node of the pod. What happens to nodes is none of its business.

use super::super::interop::traffic::Ends;
use super::super::moves::open_until;
use super::steer;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use system_tests::lab::{TestLab, tell};

/// Connections by the client's port.
pub(super) struct Crowd {
    streams: BTreeMap<u16, TcpStream>,
    at: SocketAddr,
    number: u32,
}

/// The nodes that a connection depends on, by the client's port.
pub(super) type Needs = BTreeMap<u16, BTreeSet<String>>;

impl Crowd {
    pub(super) fn open(lab: &TestLab, at: SocketAddr, count: usize) -> Self {
        let began = Instant::now();
        let streams = lab.in_client(|| {
            let open = |_| {
                let stream = TcpStream::connect_timeout(&at, PATIENCE).unwrap();
                stream.set_nodelay(true).unwrap();
                stream.set_nonblocking(true).unwrap();
                (stream.local_addr().unwrap().port(), stream)
            };
            (0..count).map(open).collect()
        });
        tell(&format!(
            "{count} connections to {at} in {:.1?}",
            began.elapsed()
        ));
        let mut crowd = Self {
            streams,
            at,
            number: 0,
        };
        crowd.must_live(lab, "nothing happened", &BTreeSet::new());
        crowd
    }

    /// On which nodes each depends.
    pub(super) fn needs(&self, lab: &TestLab) -> Needs {
        lab.eventually("one node knows each connection", || {
            let mut needs = Needs::new();
            for node in &lab.topology().nodes {
                let table = node.netns.output("cat", &["/proc/net/nf_conntrack"]);
                let table = table.expect("a table of connections can be read");
                for (port, pod) in table.lines().filter_map(|line| self.translated(line)) {
                    let nodes = lab.topology().nodes.iter();
                    let of_pod = nodes.filter(|node| {
                        let pods = node.pods.iter();
                        pods.clone().any(|of| IpAddr::from(of.v4) == pod)
                            || pods.clone().any(|of| IpAddr::from(of.v6) == pod)
                    });
                    let own = needs.entry(port).or_default();
                    own.extend(of_pod.map(|node| node.name.clone()));
                    own.insert(node.name.clone());
                }
            }
            match needs.keys().eq(self.streams.keys()) {
                true => Ok(needs),
                false => Err(format!("{} of {}", needs.len(), self.streams.len())),
            }
        })
    }

    /// The client's port and the pod, if a node's table has one of these connections here and its proxy translates it.
    fn translated(&self, line: &str) -> Option<(u16, IpAddr)> {
        let words = line.split_whitespace();
        let words: Vec<_> = words.filter_map(|word| word.split_once('=')).collect();
        let both = |name| {
            let named = words.iter().filter(move |(key, _)| *key == name);
            named.map(|(_, value)| *value)
        };
        let to: IpAddr = both("dst").next()?.parse().ok()?;
        let port: u16 = both("sport").next()?.parse().ok()?;
        let pod: IpAddr = both("src").nth(1)?.parse().ok()?;
        let is_ours = to == self.at.ip() && pod != to && self.streams.contains_key(&port);
        (is_ours && line.contains(" ESTABLISHED ")).then_some((port, pod))
    }

    /// Every connection says something that must come back, but on these ports: those must have broken, and are given up.
    pub(super) fn must_live(&mut self, lab: &TestLab, what: &str, lost: &BTreeSet<u16>) {
        let before = self.streams.len();
        let broken = self.say(lost);
        tell(&format!(
            "{what}: {} of {before} connections broke, and {} were there",
            broken.len(),
            lost.len()
        ));
        let are_lost = broken.keys().eq(lost);
        let wrong: Vec<_> = broken
            .iter()
            .filter(|(port, _)| !lost.contains(port))
            .collect();
        assert!(
            are_lost,
            "{what}: {} of {before} broke, {} of these with nodes that live: {:?}\n{}",
            broken.len(),
            wrong.len(),
            wrong.iter().take(5).collect::<Vec<_>>(),
            self.told(lab)
        );
    }

    /// The same while others are opened all the time, which all have to live.
    pub(super) fn must_live_beside_new_ones(
        &mut self,
        lab: &TestLab,
        what: &str,
        lost: &BTreeSet<u16>,
    ) {
        let (at, client, stop) = (self.at, lab.client(), AtomicBool::new(false));
        let later = thread::scope(|scope| {
            let later = scope.spawn(|| client.enter(|| open_until(at, &stop)).unwrap());
            let _ends = Ends(&stop);
            self.must_live(lab, what, lost);
            thread::sleep(WHILE);
            stop.store(true, Ordering::Relaxed);
            later.join().unwrap()
        });
        tell(&format!("{what}: of new connections {later:?}"));
        let is_well = later.broken == 0 && later.all > 0;
        assert!(is_well, "{what}: {later:?}\n{}", self.told(lab));
    }

    fn told(&self, lab: &TestLab) -> String {
        let nodes = lab.speakers().keys();
        let told = nodes.map(|node| format!("{node}: {}\n", steer(lab, node, self.at.ip())));
        told.collect()
    }

    /// One line on each connection; the ports of those that it did not come back on, which are closed, and why. Those that are `lost` are
    /// not waited for.
    fn say(&mut self, lost: &BTreeSet<u16>) -> BTreeMap<u16, String> {
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
        while waiting.keys().any(|port| !lost.contains(port)) && Instant::now() < until {
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
}

/// The ports whose connections depend on a node.
pub(super) fn on(needs: &Needs, node: &str) -> BTreeSet<u16> {
    let of_node = needs.iter().filter(|(_, nodes)| nodes.contains(node));
    of_node.map(|(port, _)| *port).collect()
}

/// Longer than a segment that was lost three times takes to come again, on a machine that has other work. A connection that broke says so at once.
const PATIENCE: Duration = Duration::from_secs(45);
/// In which some dozens of connections are opened.
const WHILE: Duration = Duration::from_secs(1);
