//! Settings below `/proc/sys/net` that stand in the way of VIPs.
//!
//! What the kernel makes of each is in its `Documentation/networking/ip-sysctl.rst`.

use super::facts::{Facts, IPVS, LinkFacts};
use super::{Check, Findings, Severity};

pub(super) fn examine(facts: &Facts, found: &mut Findings) {
    forwarding(facts, found);
    for (name, _) in facts.announcing() {
        reverse_path(facts, name, found);
        proxies(facts, name, found);
        of_ipv6(facts, name, found);
        ipvs(facts, name, found);
    }
    bridges(facts, found);
}

fn forwarding(facts: &Facts, found: &mut Findings) {
    if facts.sysctl("net/ipv4/ip_forward") == Some(0) {
        found.add(
            Severity::Warning,
            Check::Forwarding,
            "",
            "net.ipv4.ip_forward is 0",
            "sysctl -w net/ipv4/ip_forward=1",
        );
    }
    let is_announcing = |link: &str| facts.links.get(link).is_some_and(|link| link.announces);
    let has_v6 = facts.addresses.iter().any(|own| match own.ip {
        std::net::IpAddr::V6(ip) => !ip.is_unicast_link_local() && is_announcing(&own.link),
        std::net::IpAddr::V4(_) => false,
    });
    if has_v6 && facts.sysctl("net/ipv6/conf/all/forwarding") == Some(0) {
        found.add(
            Severity::Warning,
            Check::Forwarding,
            "",
            "net.ipv6.conf.all.forwarding is 0",
            "sysctl -w net/ipv6/conf/all/forwarding=1",
        );
    }
}

/// Strict where a client's way back can be another link.
fn reverse_path(facts: &Facts, name: &str, found: &mut Findings) {
    if facts.larger("ipv4", name, "rp_filter") != Some(1) {
        return;
    }
    let mut defaults = facts.defaults.iter().filter(|route| !route.is_v6);
    let leaves_elsewhere = defaults.find(|route| route.link != name);
    let others = facts.announcing().filter(|(other, _)| *other != name);
    let elsewhere = match leaves_elsewhere {
        Some(route) => format!("the default route leaves by {}", route.link),
        None if others.count() > 0 => "other links announce, too".to_owned(),
        None => return,
    };
    found.add(
        Severity::Warning,
        Check::ReversePath,
        name,
        format!("rp_filter is 1 (strict), and {elsewhere}"),
        format!("sysctl -w net/ipv4/conf/{name}/rp_filter=2"),
    );
}

fn proxies(facts: &Facts, name: &str, found: &mut Findings) {
    // The kernel proxies where either says so.
    if facts.larger("ipv4", name, "proxy_arp") == Some(1) {
        found.add(
            Severity::Warning,
            Check::ProxyArp,
            name,
            "proxy_arp is 1",
            format!(
                "sysctl -w net/ipv4/conf/{name}/proxy_arp=0 net/ipv4/conf/all/proxy_arp=0, if nothing relies on it"
            ),
        );
    }
    if facts.larger("ipv6", name, "proxy_ndp") == Some(1) {
        found.add(
            Severity::Note,
            Check::ProxyNdp,
            name,
            "proxy_ndp is 1",
            format!(
                "sysctl -w net/ipv6/conf/{name}/proxy_ndp=0 net/ipv6/conf/all/proxy_ndp=0, if nothing relies on it"
            ),
        );
    }
}

fn of_ipv6(facts: &Facts, name: &str, found: &mut Findings) {
    if facts.sysctl(&format!("net/ipv6/conf/{name}/disable_ipv6")) != Some(1) {
        return;
    }
    let pools = facts.speaker.iter().flat_map(|speaker| &speaker.pools);
    let is_wanted = pools
        .flat_map(|(_, ranges)| ranges)
        .any(|(first, _)| first.is_ipv6());
    let severity = match is_wanted {
        true => Severity::Warning,
        false => Severity::Note,
    };
    found.add(
        severity,
        Check::Ipv6Off,
        name,
        "disable_ipv6 is 1",
        format!("sysctl -w net/ipv6/conf/{name}/disable_ipv6=0, if IPv6 is wanted"),
    );
}

/// What kube-proxy's `strictARP` sets.
fn ipvs(facts: &Facts, name: &str, found: &mut Findings) {
    if !facts.has_ipvs() {
        return;
    }
    let strict = "set strictARP: true in kube-proxy's configuration, which sets arp_ignore=1 and arp_announce=2";
    for (check, setting, least) in [
        (Check::ArpIgnore, "arp_ignore", 1),
        (Check::ArpAnnounce, "arp_announce", 2),
    ] {
        if let Some(value) = facts.larger("ipv4", name, setting)
            && value < least
        {
            let seen = format!("there is {IPVS}, and {setting} is {value}");
            found.add(Severity::Warning, check, name, seen, strict);
        }
    }
}

fn bridges(facts: &Facts, found: &mut Findings) {
    let is_pods = |(name, link): &(&String, &LinkFacts)| {
        link.kind == "bridge" && !link.announces && name.starts_with("cni")
    };
    let Some((bridge, _)) = facts.links.iter().find(is_pods) else {
        return;
    };
    for setting in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"] {
        let path = format!("net/bridge/{setting}");
        if facts.sysctl(&path) == Some(0) {
            found.add(
                Severity::Warning,
                Check::BridgeFilter,
                bridge,
                format!("net.bridge.{setting} is 0, and {bridge} joins the node's pods"),
                format!("sysctl -w {path}=1"),
            );
        }
    }
}
