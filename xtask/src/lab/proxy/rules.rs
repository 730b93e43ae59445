//! The rules of one node as text for `nft -f`, in the shape of kube-proxy's nftables mode.
//!
//! Per family a table `kube-proxy`: prerouting and output look an address, protocol and port up in one verdict map;
//! policy Cluster marks for masquerading and goes on to any endpoint; policy Local goes to the node's own endpoints,
//! and a second map drops what has none. <https://kubernetes.io/docs/reference/networking/virtual-ips/>

use super::manifest::{Frontend, Policy};
use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::net::SocketAddr;

/// What replaces all earlier rules of the proxy on `node`, in one transaction.
pub(super) fn rules(frontends: &[Frontend], node: &str) -> String {
    let mut text = String::new();
    for family in [Family::V4, Family::V6] {
        let mine: Vec<&Frontend> = frontends
            .iter()
            .filter(|f| f.vip.is_ipv4() == (family == Family::V4) && !f.is_left_alone)
            .collect();
        table(&mut text, family, &mine, node).expect("writing to a string cannot fail");
    }
    text
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    /// The word of rules and tables.
    const fn ip(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }

    /// The type of map keys.
    const fn addr(self) -> &'static str {
        match self {
            Self::V4 => "ipv4_addr",
            Self::V6 => "ipv6_addr",
        }
    }
}

fn table(out: &mut String, family: Family, frontends: &[&Frontend], node: &str) -> fmt::Result {
    let (ip, addr) = (family.ip(), family.addr());
    writeln!(out, "table {ip} kube-proxy\ndelete table {ip} kube-proxy")?;
    writeln!(out, "table {ip} kube-proxy {{")?;
    out.push_str(MASQUERADE);
    let mut endpoints = BTreeSet::new();
    for frontend in frontends {
        service(out, family, frontend, node, &mut endpoints)?;
    }
    let (served, unserved): (Vec<&Frontend>, Vec<&Frontend>) =
        frontends.iter().partition(|f| !usable(f, node).is_empty());
    verdict_map(out, "service-ips", addr, &served, |f| {
        format!("goto external-{}", name(f))
    })?;
    verdict_map(out, "no-endpoint-services", addr, &unserved, |f| {
        match f.policy {
            // Some other node may have one: silence, as kube-proxy.
            Policy::Local => "drop".to_owned(),
            Policy::Cluster => "goto reject-chain".to_owned(),
        }
    })?;
    let key = format!("{ip} daddr . meta l4proto . th dport");
    writeln!(
        out,
        "  chain reject-chain {{ reject; }}\n  \
           chain services {{ {key} vmap @service-ips; }}\n  \
           chain service-endpoints-check {{ {key} vmap @no-endpoint-services; }}"
    )?;
    out.push_str(HOOKS);
    writeln!(out, "}}")
}

/// The chains of one frontend and of its endpoints.
fn service(
    out: &mut String,
    family: Family,
    frontend: &Frontend,
    node: &str,
    endpoints: &mut BTreeSet<String>,
) -> fmt::Result {
    let usable = usable(frontend, node);
    if usable.is_empty() {
        return Ok(());
    }
    let name = name(frontend);
    let protocol = frontend.protocol;
    let mut goals = Vec::new();
    for (number, endpoint) in usable.iter().enumerate() {
        let chain = format!("endpoint-{name}__{}", dotted(*endpoint));
        goals.push(format!("{number} : goto {chain}"));
        if endpoints.insert(chain.clone()) {
            let (ip, pod) = (family.ip(), endpoint.ip());
            // A pod that reaches itself must see the node as its client, or it would answer past the proxy.
            writeln!(
                out,
                "  chain {chain} {{\n    {ip} saddr {pod} jump mark-for-masquerade\n    \
                     meta l4proto {protocol} dnat to {endpoint}\n  }}"
            )?;
        }
    }
    let choice = format!(
        "numgen random mod {} vmap {{ {} }}",
        usable.len(),
        goals.join(", ")
    );
    writeln!(out, "  chain service-{name} {{ {choice}; }}")?;
    let marked = match frontend.policy {
        Policy::Cluster => "jump mark-for-masquerade\n    ",
        Policy::Local => "",
    };
    writeln!(
        out,
        "  chain external-{name} {{\n    {marked}goto service-{name}\n  }}"
    )
}

/// The endpoints to which `node` may send.
fn usable(frontend: &Frontend, node: &str) -> Vec<SocketAddr> {
    let may = |at: &str| match frontend.policy {
        Policy::Cluster => true,
        Policy::Local => at == node,
    };
    let endpoints = frontend.endpoints.iter().filter(|(_, at)| may(at));
    endpoints.map(|(endpoint, _)| *endpoint).collect()
}

fn verdict_map(
    out: &mut String,
    name: &str,
    addr: &str,
    frontends: &[&Frontend],
    verdict: impl Fn(&Frontend) -> String,
) -> fmt::Result {
    writeln!(
        out,
        "  map {name} {{\n    type {addr} . inet_proto . inet_service : verdict"
    )?;
    if !frontends.is_empty() {
        writeln!(out, "    elements = {{")?;
        for f in frontends {
            writeln!(
                out,
                "      {} . {} . {} : {},",
                f.vip,
                f.protocol,
                f.port,
                verdict(f)
            )?;
        }
        writeln!(out, "    }}")?;
    }
    writeln!(out, "  }}")
}

/// Names a frontend's chains; a shared address keeps services apart, and the address keeps families and VIPs apart.
fn name(frontend: &Frontend) -> String {
    format!(
        "{}/{}/{}",
        frontend.service,
        frontend.protocol,
        dotted(frontend.address())
    )
}

/// An endpoint within the letters that nftables has for names.
fn dotted(at: SocketAddr) -> String {
    format!("{}/{}", at.ip(), at.port()).replace(':', ".")
}

const MASQUERADE: &str = "  \
  chain mark-for-masquerade { meta mark set meta mark or 0x4000; }
  chain masquerading {
    meta mark and 0x4000 == 0 return
    meta mark set meta mark xor 0x4000
    masquerade fully-random
  }
";

const HOOKS: &str = "  \
  chain filter-prerouting {
    type filter hook prerouting priority dstnat - 10; policy accept;
    ct state new jump service-endpoints-check
  }
  chain filter-output {
    type filter hook output priority -110; policy accept;
    ct state new jump service-endpoints-check
  }
  chain nat-prerouting { type nat hook prerouting priority dstnat; policy accept; jump services; }
  chain nat-output { type nat hook output priority -100; policy accept; jump services; }
  chain nat-postrouting { type nat hook postrouting priority srcnat; policy accept; jump masquerading; }
";

#[cfg(test)]
mod tests;
