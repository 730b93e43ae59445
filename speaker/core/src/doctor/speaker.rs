//! What a running speaker knows: how it is, and whether pools cover what is not theirs.

use super::facts::{Facts, IPVS, SpeakerFacts};
use super::{Check, Findings, Severity};
use std::net::IpAddr;

pub(super) fn examine(facts: &Facts, found: &mut Findings) {
    let Some(speaker) = &facts.speaker else {
        found.add(
            Severity::Note,
            Check::Speaker,
            "",
            "no speaker was reached, so that objects, VIPs and members were not looked at",
            "start one, or say where its socket is: --node, --run-dir or --socket",
        );
        return;
    };
    state(speaker, found);
    words(speaker, found);
    members(speaker, found);
    vips(facts, speaker, found);
    for (pool, ranges) in &speaker.pools {
        let pool = Covering {
            name: pool,
            ranges,
            facts,
            speaker,
        };
        pool.nodes(found);
        pool.routers(found);
        pool.pods(found);
        pool.segment(found);
    }
}

fn state(speaker: &SpeakerFacts, found: &mut Findings) {
    let (severity, seen, remedy) = match speaker.state.as_str() {
        "serving" => return,
        "waiting" => (
            Severity::Error,
            "it waits for the members' secret",
            "make the Secret memberlist, or see why it is not mounted; `speaker ctl members` says where it is looked for",
        ),
        "reading" => (
            Severity::Warning,
            "it has not seen every kind of object yet",
            "wait; if it lasts, `speaker ctl status` says what stands between it and its objects",
        ),
        _ => (
            Severity::Error,
            "no deadline is in force, so nothing is answered",
            "see its log for deadlineLapsed; a speaker needs a processor now and then: give it no CPU limit",
        ),
    };
    found.add(severity, Check::Speaker, &speaker.state, seen, remedy);
}

fn words(speaker: &SpeakerFacts, found: &mut Findings) {
    for (link, why) in &speaker.unattached {
        let remedy = "`speaker ctl links` says what was tried, and why it failed";
        found.add(
            Severity::Error,
            Check::Unattached,
            link,
            why.clone(),
            remedy,
        );
    }
    for problem in &speaker.problems {
        let remedy = "mend the object that it names; `speaker ctl status` has all of them";
        found.add(
            Severity::Warning,
            Check::Problem,
            "",
            problem.clone(),
            remedy,
        );
    }
    for (kind, why) in &speaker.api_troubles {
        let is_refused = ["403", "forbidden", "Forbidden"]
            .iter()
            .any(|word| why.contains(word));
        let remedy = match is_refused {
            true => {
                "kubectl apply --server-side -f deploy/manifests/2-speaker-rights.yaml: the role lacks a right"
            }
            false => {
                "see whether the node reaches the API server; what was seen last stays in force"
            }
        };
        found.add(Severity::Error, Check::ApiServer, kind, why.clone(), remedy);
    }
}

fn members(speaker: &SpeakerFacts, found: &mut Findings) {
    for member in &speaker.unheard {
        found.add(
            Severity::Warning,
            Check::MemberUnheard,
            member,
            "datagrams went there, and none ever came back",
            "let UDP through on the members' port (7946) in both directions; `speaker ctl members` counts",
        );
    }
    for member in &speaker.other_rules {
        found.add(
            Severity::Warning,
            Check::MemberSettings,
            member,
            "its --election, --placement, --lb-class or --ignore-exclude-lb differ from this node's",
            "give all speakers the same flags",
        );
    }
    if speaker.is_name_taken {
        found.add(
            Severity::Error,
            Check::NameTaken,
            "",
            "another speaker uses this node's name",
            "find the second process (kubectl get pods -A -o wide), or give it its own --node-name",
        );
    }
}

fn vips(facts: &Facts, speaker: &SpeakerFacts, found: &mut Findings) {
    let own = facts.addresses.iter();
    for own in own.filter(|own| own.link != IPVS && speaker.vips.contains(&own.ip)) {
        found.add(
            Severity::Error,
            Check::VipOnLink,
            &own.link,
            format!("it has {}, which is a VIP", own.ip),
            format!("ip addr del {}/{} dev {}; and end what put it there, such as kube-vip or keepalived", own.ip, own.bits, own.link),
        );
    }
}

/// A pool, and everything that could be in it.
struct Covering<'a> {
    name: &'a str,
    ranges: &'a [(IpAddr, IpAddr)],
    facts: &'a Facts,
    speaker: &'a SpeakerFacts,
}

impl Covering<'_> {
    fn has(&self, ip: IpAddr) -> bool {
        let inside = |(first, last): &(IpAddr, IpAddr)| {
            first.is_ipv4() == ip.is_ipv4() && *first <= ip && ip <= *last
        };
        self.ranges.iter().any(inside)
    }

    fn add(&self, check: Check, seen: String, ip: IpAddr, found: &mut Findings) {
        let remedy = format!("take {ip} out of spec.addresses of the IPAddressPool");
        found.add(Severity::Error, check, self.name, seen, remedy);
    }

    fn nodes(&self, found: &mut Findings) {
        let own = self.facts.addresses.iter();
        let own = own.filter(|own| own.link != IPVS && !self.speaker.vips.contains(&own.ip));
        for own in own.filter(|own| self.has(own.ip)) {
            let seen = format!("{} is this node's, on {}", own.ip, own.link);
            self.add(Check::PoolCoversNode, seen, own.ip, found);
        }
        for (node, addresses) in &self.speaker.nodes {
            let is_own = |ip: &IpAddr| self.facts.addresses.iter().any(|own| own.ip == *ip);
            let theirs = addresses.iter().filter(|ip| !is_own(ip) && self.has(**ip));
            for ip in theirs {
                let seen = format!("{ip} is node {node}'s");
                self.add(Check::PoolCoversNode, seen, *ip, found);
            }
        }
    }

    fn routers(&self, found: &mut Findings) {
        for route in &self.facts.defaults {
            if let Some(ip) = route.gateway.filter(|ip| self.has(*ip)) {
                let seen = format!("{ip} is the router of {}", route.link);
                self.add(Check::PoolCoversRouter, seen, ip, found);
            }
        }
        for (peer, ip) in self.speaker.peers.iter().filter(|(_, ip)| self.has(**ip)) {
            let seen = format!("{ip} is the address of the BGPPeer {peer}");
            self.add(Check::PoolCoversRouter, seen, *ip, found);
        }
    }

    /// Networks of links that join pods, but for single addresses, which the check of nodes finds.
    fn pods(&self, found: &mut Findings) {
        let is_pods = |link: &str| {
            let link = self.facts.links.get(link);
            link.is_some_and(|link| !link.announces && link.is_of_pods())
        };
        let own = self.facts.addresses.iter();
        for own in own.filter(|own| is_pods(&own.link) && own.bits < bits_of(own.ip)) {
            let (first, last) = network(own.ip, own.bits);
            let meets = |(from, to): &(IpAddr, IpAddr)| {
                from.is_ipv4() == first.is_ipv4() && *from <= last && first <= *to
            };
            if !is_link_local(first) && self.ranges.iter().any(meets) {
                found.add(
                    Severity::Warning,
                    Check::PoolCoversPods,
                    self.name,
                    format!("{first}/{} is the network of {}", own.bits, own.link),
                    "give the pool addresses that no network of the cluster has",
                );
            }
        }
    }

    /// Ranges at layer 2 that lie in no network of an announcing link of their family.
    fn segment(&self, found: &mut Findings) {
        if self.speaker.routed_pools.contains(self.name) {
            return;
        }
        for (first, last) in self.ranges {
            let own = self.facts.addresses.iter().filter(|own| {
                let link = self.facts.links.get(&own.link);
                link.is_some_and(|link| link.announces)
                    && own.ip.is_ipv4() == first.is_ipv4()
                    && !is_link_local(own.ip)
            });
            let networks: Vec<(IpAddr, IpAddr)> =
                own.map(|own| network(own.ip, own.bits)).collect();
            let is_off = |(from, to): &(IpAddr, IpAddr)| last < from || to < first;
            if !networks.is_empty() && networks.iter().all(is_off) {
                found.add(
                    Severity::Note,
                    Check::PoolOffSegment,
                    self.name,
                    format!("{first} to {last} is in no network of a link that announces"),
                    "take addresses of the segment, give the router a route onto the link, or announce the pool by BGP",
                );
            }
        }
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
        IpAddr::V4(ip) => ip.is_link_local(),
    }
}

fn bits_of(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// First and last address of the network that an address is in.
fn network(ip: IpAddr, bits: u8) -> (IpAddr, IpAddr) {
    match ipnet::IpNet::new(ip, bits.min(bits_of(ip))) {
        Ok(net) => (net.network(), net.broadcast()),
        Err(_) => (ip, ip),
    }
}
