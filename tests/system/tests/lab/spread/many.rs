//! Very many connections that are spread over five nodes, while one joins, one leaves, the holder is drained, one dies, and the holder dies.
//!
//! Which of them depend on a node is known beforehand, and exactly these break when it dies; of what else happens to nodes none breaks. With
//! policy Local that is who is served there, with policy Cluster also who is served elsewhere by its pods.

use super::crowd::{Crowd, Needs, on};
use super::{SPREAD, until_spread};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};
use system_tests::lab::{TestLab, tell};
use xtask::lab::backend::{ECHO_PORT, allow_files};

/// The newcomer is not elected as long as the others live.
#[test]
fn of_ten_thousand_connections_over_five_nodes_only_those_of_dead_nodes_break() {
    let scene = Scene {
        policy: "Local",
        vip: "192.0.2.111",
        holders: ["n1", "n1", "n4", "n5"],
        leaving: Some("n2"),
        dying: "n3",
    };
    scene.play();
}

/// The newcomer takes the VIP as soon as it is there.
#[test]
fn with_policy_cluster_only_connections_break_that_a_dead_node_translated_or_whose_pod_it_had() {
    let scene = Scene {
        policy: "Cluster",
        vip: "2001:db8::118",
        holders: ["n4", "n5", "n4", "n1"],
        leaving: None,
        dying: "n2",
    };
    scene.play();
}

struct Scene {
    policy: &'static str,
    /// An address for which the election comes out as `holders` say.
    vip: &'static str,
    /// With four nodes, with the fifth, after the drain, and after the death of that one.
    holders: [&'static str; 4],
    leaving: Option<&'static str>,
    dying: &'static str,
}

impl Scene {
    fn play(&self) {
        allow_files().unwrap();
        let mut lab = TestLab::of_nodes(5, &[("many.yaml", "", &self.service())]);
        let mut rest = vec!["n1", "n2", "n3", "n4"];
        rest.iter()
            .for_each(|node| lab.start_speaker(node).unwrap());
        // What a node held at the start it takes for its own stack's, should it get the VIP again: see `docs/steering.md`.
        lab.settle();
        let (file, from, to) = SPREAD;
        lab.edit(file, from, to);
        let at = lab.frontends_of("default/many").remove(0).address();
        let vip = at.ip();
        assert_eq!(until_spread(&lab, vip, &rest), self.holders[0]);
        let begun = Instant::now();
        let mut crowd = Crowd::open(&lab, at, CONNECTIONS);
        let needs = crowd.needs(&lab);
        let served = counts(&needs);
        tell(&format!("{}: {served:?}", self.policy));
        assert!(rest.iter().all(|node| served.contains_key(node)));

        // Who comes before that may have been there all along.
        thread::sleep(FINDING.saturating_sub(begun.elapsed()));
        lab.start_speaker("n5").unwrap();
        rest.push("n5");
        lab.until_held(vip, |holder| holder == Some(self.holders[1]));
        until_spread(&lab, vip, &rest);
        crowd.must_live(&lab, "n5 joined", &BTreeSet::new());

        if let Some(leaving) = self.leaving {
            lab.exclude(leaving);
            rest.retain(|node| *node != leaving);
            until_spread(&lab, vip, &rest);
            crowd.must_live(&lab, &format!("{leaving} left"), &BTreeSet::new());
        }

        let [_, drained, holder, heir] = self.holders;
        lab.speakers()[drained].ctl(&["drain"]).unwrap();
        rest.retain(|node| *node != drained);
        until_moved(&lab, vip, &rest, holder);
        let what = format!("{drained} had it and was drained, {holder} took it");
        crowd.must_live_beside_new_ones(&lab, &what, &BTreeSet::new());

        let mut dead = BTreeSet::new();
        for (dying, holder) in [(self.dying, holder), (holder, heir)] {
            let lost: BTreeSet<u16> = on(&needs, dying).difference(&dead).copied().collect();
            self.die(&mut lab, dying);
            rest.retain(|node| *node != dying);
            until_moved(&lab, vip, &rest, holder);
            let what = format!("{dying} died, {holder} has it");
            crowd.must_live_beside_new_ones(&lab, &what, &lost);
            dead.extend(lost);
        }
        // Told to stop, one that was drained or is alone takes its time.
        for node in rest.into_iter().chain([drained]).chain(self.leaving) {
            lab.speaker(node).unwrap().kill().unwrap();
        }
    }

    /// Takes a node away as a lost power supply would: from one moment to the next nothing comes from it. With policy Cluster the endpoints that
    /// it had are taken away too, as a cluster does after a while: until then every proxy sends some of what is new there.
    fn die(&self, lab: &mut TestLab, node: &str) {
        let switch = lab.topology().switch.clone();
        switch.ip(&format!("link set {node} down")).unwrap();
        lab.speaker(node).unwrap().kill().unwrap();
        if self.policy != "Cluster" {
            return;
        }
        let number = lab.topology().node(node).unwrap().number;
        lab.edit("many.yaml", &self.endpoints(number), "");
        let pod = self.pod(number, 1).to_string().replace(':', ".");
        let is_pods = |line: &&str| line.contains("default/many") && line.contains(&pod);
        let nodes = lab.topology().nodes.iter();
        for other in nodes.filter(|other| other.name != node) {
            lab.eventually("its proxy knows", || {
                let rules = other.netns.output("nft", &["list", "ruleset"]).unwrap();
                let named = rules.lines().find(is_pods);
                named.map_or(Ok(()), |line| Err(line.to_owned()))
            });
        }
    }

    /// A service with two endpoints on each of five nodes.
    fn service(&self) -> String {
        let (policy, vip) = (self.policy, self.vip);
        let (family, own) = if vip.contains(':') {
            ("IPv6", "fd00:10:96::30")
        } else {
            ("IPv4", "10.96.0.30")
        };
        let endpoints: String = (1..=5).map(|number| self.endpoints(number)).collect();
        format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: many\n  namespace: default\n  annotations:\n    \
             metallb.io/loadBalancerIPs: \"{vip}\"\nspec:\n  type: LoadBalancer\n  externalTrafficPolicy: {policy}\n  \
             ipFamilies: [{family}]\n  clusterIPs: [\"{own}\"]\n  selector: {{app: many}}\n  ports:\n  \
             - {{name: echo, protocol: TCP, port: 7}}\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  \
             name: many\n  namespace: default\n  labels: {{kubernetes.io/service-name: many}}\naddressType: {family}\nports:\n  \
             - {{name: echo, protocol: TCP, port: {ECHO_PORT}}}\nendpoints:\n{endpoints}"
        )
    }

    /// Those of a node.
    fn endpoints(&self, number: u8) -> String {
        let endpoint = |pod| {
            let address = self.pod(number, pod);
            format!(
                "  - {{addresses: [\"{address}\"], nodeName: n{number}, conditions: {{ready: true}}}}\n"
            )
        };
        [1, 2].map(endpoint).concat()
    }

    /// The address of a node's pod, in the family of the VIP.
    fn pod(&self, number: u8, pod: u8) -> IpAddr {
        let text = match self.vip.contains(':') {
            true => format!("fd00:10:244:{number}::1{pod}"),
            false => format!("10.244.{number}.1{pod}"),
        };
        text.parse().expect("an address")
    }
}

/// Waits until this node, which may not have had it before, holds a VIP and has all of these for what is new, and the client sends to it.
fn until_moved(lab: &TestLab, vip: IpAddr, nodes: &[&str], holder: &str) {
    lab.eventually("it holds it and spreads it over them", || {
        let told = super::steer(lab, holder, vip);
        let rows = told["nodes"].as_array().cloned().unwrap_or_default();
        let sharing = rows.iter().filter(|row| row["weight"] != 0);
        let sharing: BTreeSet<_> = sharing.filter_map(|row| row["node"].as_str()).collect();
        let has_all = told["is_spread"] == true && sharing == nodes.iter().copied().collect();
        match has_all && lab.known_holder(vip).as_deref() == Some(holder) {
            true => Ok(()),
            false => Err(told),
        }
    });
}

/// How many connections depend on each node.
fn counts(needs: &Needs) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for node in needs.values().flatten() {
        *counts.entry(node.as_str()).or_default() += 1;
    }
    counts
}

const CONNECTIONS: usize = 10_000;
/// A little longer than a node that is new takes others for those that it did not find yet.
const FINDING: Duration = Duration::from_secs(11);
