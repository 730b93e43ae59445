//! Links: whether they carry, how bonds spread, what cards do to packets, and what fits.

use super::facts::{Facts, LinkFacts, TUNNELS};
use super::{Check, Findings, Severity};

pub(super) fn examine(facts: &Facts, found: &mut Findings) {
    if !facts.links.is_empty() && facts.announcing().next().is_none() {
        found.add(
            Severity::Warning,
            Check::NoLink,
            "",
            "every link is excluded by name, part of another or no Ethernet",
            "see `speaker ctl links`; the list of names is --exclude-links",
        );
    }
    for (name, link) in &facts.links {
        if link.announces {
            carries(name, link, found);
            offload(name, link, found);
        }
        bond(name, link, found);
        programs(name, link, found);
    }
    sizes(facts, found);
}

fn carries(name: &str, link: &LinkFacts, found: &mut Findings) {
    if !link.is_up {
        let remedy = format!("ip link set {name} up, if it is meant to announce");
        let seen = "it is down";
        found.add(Severity::Note, Check::LinkDown, name, seen, remedy);
    } else if !link.has_carrier {
        let remedy = "look at the cable, the port of the switch, or what the link lies on";
        let seen = "it is up and has no carrier";
        found.add(Severity::Warning, Check::LinkDown, name, seen, remedy);
    }
    if !link.has_multicast {
        let remedy = format!("ip link set {name} multicast on");
        let seen = "its flag MULTICAST is off";
        found.add(Severity::Warning, Check::LinkMulticast, name, seen, remedy);
    }
}

fn offload(name: &str, link: &LinkFacts, found: &mut Findings) {
    if link.features.contains("rx-lro") {
        found.add(
            Severity::Warning,
            Check::Lro,
            name,
            "large-receive-offload is on",
            format!("ethtool -K {name} lro off"),
        );
    }
}

fn bond(name: &str, link: &LinkFacts, found: &mut Findings) {
    let Some(mode) = link.bond_mode.as_deref() else {
        return;
    };
    let (severity, what) = match mode {
        // Its own answers to ARP are given by the bond, each client another port's.
        "balance-alb" => (
            Severity::Error,
            "which rewrites ARP replies by itself, so that the speaker refuses it",
        ),
        "balance-rr" => (
            Severity::Warning,
            "which sends one connection's packets by all ports in turn: needs a static aggregation at the switch, and reorders",
        ),
        "broadcast" => (Severity::Warning, "which sends every answer by every port"),
        _ => return,
    };
    found.add(
        severity,
        Check::BondMode,
        name,
        format!("its mode is {mode}, {what}"),
        "use active-backup, or 802.3ad with an aggregation at the switch; a mode can be changed only while the bond has no ports",
    );
}

/// Those that run before ours, or are there while ours is not.
fn programs(name: &str, link: &LinkFacts, found: &mut Findings) {
    let ours = link.programs.iter().position(|program| program.is_ours);
    let before = ours.unwrap_or(link.programs.len());
    for program in link.programs.iter().take(before) {
        let severity = match (link.announces, ours) {
            (true, Some(_)) => Severity::Warning,
            (true, None) | (false, _) => Severity::Note,
        };
        if !link.announces && program.hook != "xdp" {
            continue;
        }
        let named = match program.name.as_str() {
            "" => "a program without a name",
            named => named,
        };
        let when = match ours {
            Some(_) => "runs before ours",
            None => "is there, and ours is not",
        };
        found.add(
            severity,
            Check::OtherProgram,
            name,
            format!("{named} on {} {when}", program.hook),
            "see `bpftool net show`; a kernel of 6.6 or later has ours go first, by TCX",
        );
    }
}

fn sizes(facts: &Facts, found: &mut Findings) {
    for (name, link) in facts.announcing() {
        if link.mtu < V6_MTU_MIN {
            found.add(
                Severity::Warning,
                Check::Mtu,
                name,
                format!("its MTU is {}, and IPv6 needs {V6_MTU_MIN}", link.mtu),
                format!("ip link set {name} mtu 1500"),
            );
        }
    }
    let Some(smallest) = facts.announcing().map(|(_, link)| link.mtu).min() else {
        return;
    };
    for (name, link) in &facts.links {
        if link.announces || link.part_of.is_some() || !link.is_up {
            continue;
        }
        let extra = TUNNELS.iter().find(|(kind, _)| *kind == link.kind);
        let below = link.below.as_ref().and_then(|below| facts.links.get(below));
        let room = below.map_or(smallest, |below| below.mtu);
        let (fits, what) = match extra {
            Some((_, bytes)) => (
                room.saturating_sub(*bytes),
                format!("and with {bytes} bytes of its own headers"),
            ),
            None if link.is_of_pods() => (room, "and".to_owned()),
            None => continue,
        };
        if link.mtu > fits {
            found.add(
                Severity::Warning,
                Check::Mtu,
                name,
                format!(
                    "its MTU is {}, {what} packets of pods do not fit into {room} bytes of the link that they leave by",
                    link.mtu
                ),
                format!("ip link set {name} mtu {fits}, and the same in the CNI's configuration"),
            );
        }
    }
}

/// RFC 8200 §5.
const V6_MTU_MIN: u32 = 1280;
