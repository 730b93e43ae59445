//! The show of a lab with a router: sessions as both sides tell them, routes, and which node each request from behind the router took.
//!
//! That requests part is the router's doing, by ports; a node whose services have policy Local answers from its own pod, which says its name.

use super::{change, out, short};
use crate::lab::Lab;
use crate::lab::proxy::Frontend;
use crate::lab::rack::Rack;
use crate::lab::speaker::Speaker;
use crate::lab::topology::{ROUTER_V4, ROUTER_V6, VISITOR_V4, VISITOR_V6};
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The whole show: sessions, routes, a picture of who answered, and what to try next.
///
/// # Errors
/// When a VIP does not answer any more, or no route leads to it.
pub(in crate::lab) fn everything(lab: &Lab, rack: &Rack) -> Result<()> {
    let frontends = lab.frontends()?;
    sessions(lab, rack)?;
    routes(lab, rack, &frontends)?;
    out("\nThe client behind the router asks every VIP:\n");
    for frontend in &frontends {
        out(&format!("  {}", super::line(lab, frontend)?));
    }
    let web = frontends.iter().find(|frontend| frontend.is_http);
    if let Some(web) = web {
        picture(lab, web)?;
    }
    next(lab, rack, web.or(frontends.first()));
    Ok(())
}

fn sessions(lab: &Lab, rack: &Rack) -> Result<()> {
    for (node, speaker) in lab.speakers() {
        out(&format!(
            "\nThe session as {node} sees it ({} bgp):\n",
            speaker.ctl_words()
        ));
        indented(&speaker.ctl(&["bgp"])?);
    }
    out("\nAnd as the router sees them (vtysh -c 'show bgp summary'):\n");
    // Further columns and families say the same again.
    let said = rack.frr.vtysh(&["show bgp ipv4 unicast summary"])?;
    let table = said
        .lines()
        .skip_while(|line| !line.starts_with("Neighbor"));
    let table = table.take_while(|line| !line.is_empty());
    indented(&table.collect::<Vec<_>>().join("\n"));
    Ok(())
}

fn indented(text: &str) {
    for line in text.lines() {
        out(&format!("  {line}"));
    }
}

/// The router's routes, and that nothing but these leads to the VIPs.
fn routes(lab: &Lab, rack: &Rack, frontends: &[Frontend]) -> Result<()> {
    out("\nThe router's routes, with the next hops in its kernel:\n");
    let ways = rack.next_hops()?;
    let vips: BTreeSet<(IpAddr, &str)> = frontends
        .iter()
        .map(|frontend| (frontend.vip, frontend.service.as_str()))
        .collect();
    for (vip, service) in vips {
        let hops = ways
            .get(&vip)
            .with_context(|| format!("the router has no route to {vip}"))?;
        let hops: Vec<String> = hops
            .iter()
            .map(|(hop, node)| format!("{hop} ({node})"))
            .collect();
        out(&format!(
            "  {service:<14} {vip:<18} via {}",
            hops.join(", ")
        ));
    }
    for netns in lab.topology().namespaces() {
        let on = netns.addresses()?;
        let owned = frontends.iter().find(|frontend| on.contains(&frontend.vip));
        ensure!(
            owned.is_none(),
            "{owned:?} is on an interface of {}",
            netns.name()
        );
    }
    out("  no interface of any namespace has a VIP, and no link its network");
    Ok(())
}

/// Draws which nodes requests took.
fn picture(lab: &Lab, web: &Frontend) -> Result<()> {
    let mut nodes: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..REQUESTS {
        let url = format!("http://{}/", web.address());
        let asker = lab.topology().asker();
        let answer = asker.output("curl", &["-sS", "--max-time", "5", &url])?;
        let node = answer
            .split(' ')
            .find_map(|word| word.strip_prefix("node="));
        let node = node.with_context(|| format!("{answer:?} names no node"))?;
        *nodes.entry(node.to_owned()).or_default() += 1;
    }
    out(&format!(
        "\n{REQUESTS} times curl http://{}/ ({}), each from another port:\n\n  \
         client {VISITOR_V4} {VISITOR_V6}\n    │\n  \
         router {ROUTER_V4} {ROUTER_V6}, AS 64513",
        web.address(),
        web.service
    ));
    let all = &lab.topology().nodes;
    for (number, node) in all.iter().enumerate() {
        let branch = if number + 1 == all.len() {
            "└"
        } else {
            "├"
        };
        let answered = nodes.get(&node.name).copied().unwrap_or(0);
        out(&format!(
            "    {branch}── {} {} {:<24} {answered} answers",
            node.name,
            node.v4(),
            "█".repeat(answered)
        ));
    }
    Ok(())
}

fn next(lab: &Lab, rack: &Rack, first: Option<&Frontend>) {
    let (Some(first), Some(node)) = (first, lab.topology().nodes.first()) else {
        return;
    };
    let node = &node.name;
    let ctl = lab
        .speakers()
        .get(node)
        .map(Speaker::ctl_words)
        .unwrap_or_default();
    out(&format!(
        "\nTo try next, in another terminal:\n\n  \
         {ctl} bgp {peer}   # all of a session: timers, capabilities, last notifications\n  \
         {ctl} routes {peer}   # what the router is told\n  \
         {ctl} why {service}\n  \
         {ctl} drain   # the router goes round {node}, then hears why; back with drain --undo\n  \
         kill -9 {pid}   # the speaker of {node}: the session ends at once, BFD with it\n  \
         ip -n {switch} link set {node} down   # {node} falls silent: BFD tells the router within 0.3 s; back with up\n  \
         {vtysh} -c 'show bgp summary' -c 'show bfd peers brief' -c 'show ip route bgp'\n  \
         {vtysh} -c 'show bgp {vip}/{length}'\n  \
         ip netns exec {visitor} curl http://{at}/\n  \
         {change}\n  \
         tail -f {logs}/{node}.log\n\n\
         Ctrl-C here, or `cargo xtask lab down` there, takes everything away.",
        peer = "rack",
        service = first.service,
        pid = lab.speakers().get(node).map_or(0, Speaker::id),
        switch = lab.topology().switch.name(),
        vtysh = short(&rack.shell),
        vip = first.vip,
        length = if first.vip.is_ipv4() { 32 } else { 128 },
        visitor = lab.topology().asker().name(),
        at = first.address(),
        change = change(lab, node),
        logs = short(&lab.folder().join("log")),
    ));
}

const REQUESTS: usize = 60;
