//! Faults of the network: what the switch or a node's own filter passes no more.

use super::fault::{Heal, Target, nothing};
use crate::lab::net::{Netns, feed};
use anyhow::Result;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

/// The switch's port is off, which the node cannot see.
pub(super) fn node(target: &mut Target<'_>) -> Result<Heal> {
    let (switch, port) = port(target);
    let state = |netns: &Netns, port: &str, state: &str| {
        let set = ["link", "set", "dev", port, "state", state];
        netns.output("bridge", &set).map(drop)
    };
    state(&switch, &port, PORT_DISABLED)?;
    Ok(Box::new(move |_| state(&switch, &port, PORT_FORWARDING)))
}

/// The switch passes nothing of the node that speakers say to each other. The node cannot see it: its own stack takes all that it sends.
pub(super) fn gossip(target: &mut Target<'_>) -> Result<Heal> {
    lossy_gossip(target, 0)
}

/// The same, and of what nodes say to each other about addresses so many percent are lost. Stations lose nothing.
pub(super) fn lossy_gossip(target: &mut Target<'_>, percent: u8) -> Result<Heal> {
    let (switch, port) = port(target);
    let mut rules = String::from(CHAIN);
    for side in ["iifname", "oifname"] {
        for family in ["ip", "ip6"] {
            let _ = writeln!(
                rules,
                "{side} {port} ether type {family} udp dport {GOSSIP} drop;"
            );
        }
    }
    let nodes = target.lab.topology().nodes.iter();
    let nodes: Vec<&str> = nodes.map(|node| node.name.as_str()).collect();
    let nodes = nodes.join(", ");
    let said = [
        "ether type arp",
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }",
    ];
    for said in said.iter().filter(|_| percent > 0) {
        let _ = writeln!(
            rules,
            "iifname {{ {nodes} }} oifname {{ {nodes} }} {said} numgen random mod 100 < {percent} drop;"
        );
    }
    rules += "}\n}";
    filter(&switch, &rules)?;
    Ok(unfilter("bridge", switch))
}

/// The switch passes of the node what speakers say to each other, and nothing else. Neighbours that they know already are not asked for
/// again within the time of a fault.
pub(super) fn segment(target: &mut Target<'_>) -> Result<Heal> {
    let (switch, port) = port(target);
    let mut rules = String::from(CHAIN);
    for side in ["iifname", "oifname"] {
        for family in ["ip", "ip6"] {
            let _ = writeln!(
                rules,
                "{side} {port} ether type {family} udp dport {GOSSIP} accept;"
            );
        }
        let _ = writeln!(rules, "{side} {port} drop;");
    }
    rules += "}\n}";
    filter(&switch, &rules)?;
    Ok(unfilter("bridge", switch))
}

/// The other end of the node's link goes down.
pub(super) fn carrier(target: &mut Target<'_>) -> Result<Heal> {
    let (switch, port) = port(target);
    switch.ip(&format!("link set {port} down"))?;
    Ok(Box::new(move |_| switch.ip(&format!("link set {port} up"))))
}

/// It goes down and up, again and again.
pub(super) fn flap(target: &mut Target<'_>) -> Result<Heal> {
    let (switch, port) = port(target);
    for _ in 0..FLAPS {
        switch.ip(&format!("link set {port} down"))?;
        thread::sleep(FLAP);
        switch.ip(&format!("link set {port} up"))?;
        thread::sleep(FLAP);
    }
    Ok(nothing())
}

/// The switch drops what tells everybody of a VIP's new place: broadcasts from the VIP, and advertisements to everybody.
pub(super) fn gratuitous(target: &mut Target<'_>) -> Result<Heal> {
    let switch = target.lab.topology().switch.clone();
    let mut rules = String::from(CHAIN);
    rules += "ether daddr 33:33:00:00:00:01 icmpv6 type nd-neighbor-advert drop;\n";
    for vip in target.vips {
        if let IpAddr::V4(vip) = vip {
            let _ = writeln!(
                rules,
                "ether daddr ff:ff:ff:ff:ff:ff arp saddr ip {vip} drop;"
            );
        }
    }
    rules += "}\n}";
    filter(&switch, &rules)?;
    Ok(unfilter("bridge", switch))
}

/// The switch, and its port that leads to the holder: it is called like the node.
fn port(target: &Target<'_>) -> (Netns, String) {
    (target.lab.topology().switch.clone(), target.holder.clone())
}

fn filter(netns: &Netns, rules: &str) -> Result<()> {
    feed(netns.command("nft").args(["-f", "-"]), rules)
}

fn unfilter(family: &'static str, netns: Netns) -> Heal {
    Box::new(move |_| {
        let words = ["delete", "table", family, TABLE];
        netns.output("nft", &words).map(drop)
    })
}

const TABLE: &str = "chaos";
/// What the rules begin with; the table is `TABLE`.
const CHAIN: &str = "table bridge chaos {\nchain f { type filter hook forward priority -300;\n";
/// The speakers' port, as the lab leaves it.
const GOSSIP: u16 = 7946;
const PORT_DISABLED: &str = "0";
const PORT_FORWARDING: &str = "3";
const FLAPS: usize = 6;
/// Longer than a carrier takes to be noticed, shorter than a failover.
const FLAP: Duration = Duration::from_millis(150);
