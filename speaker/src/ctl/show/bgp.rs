//! BGP peers: each in a line, or one with all there is to say, and the routes that they are told.

use super::super::peers::{BgpPeerSight, BgpSight, Said};
use super::super::table::{pairs, table};
use super::{Known, Shown};
use anyhow::{Context, Result};
use serde::Serialize;
use std::time::Duration;

/// All peers, or one.
pub(super) fn show(known: &Known<'_>, peer: Option<&str>) -> Result<Shown<BgpSight>> {
    let mut data = known.snapshot.bgp.clone();
    if let Some(name) = peer {
        data.peers.retain(|peer| peer.name == name);
        let one = data.peers.first();
        let one = one.with_context(|| format!("this node has no BGPPeer {name}"))?;
        let text = whole(one, &data);
        return Ok(Shown { data, text });
    }
    Ok(Shown {
        text: lines(&data),
        data,
    })
}

fn lines(data: &BgpSight) -> String {
    if data.peers.is_empty() {
        return "this node has no BGP peer\n".to_owned();
    }
    let rows: Vec<[String; 7]> = data.peers.iter().map(row).collect();
    let head = ["PEER", "REMOTE", "AS", "STATE", "FOR", "TOLD", "NOTE"];
    table(head, &rows)
}

fn row(peer: &BgpPeerSight) -> [String; 7] {
    [
        peer.name.clone(),
        peer.remote.clone(),
        peer.peer_asn.clone(),
        peer.state.unwrap_or("-").to_owned(),
        whole_seconds(peer.for_ms),
        format!("{}/{}", peer.told.values().sum::<u32>(), peer.wanted),
        note(peer),
    ]
}

/// The one thing that an operator should know.
fn note(peer: &BgpPeerSight) -> String {
    if let Some(obstacle) = &peer.obstacle {
        return obstacle.clone();
    }
    if peer.paused.is_some() {
        return format!("paused until `speaker ctl bgp resume {}`", peer.name);
    }
    if let Some(because) = &peer.because {
        return because.clone();
    }
    if !peer.without_next_hop.is_empty() {
        return format!("no next hop for {}", peer.without_next_hop.join(", "));
    }
    String::new()
}

fn whole(peer: &BgpPeerSight, data: &BgpSight) -> String {
    let mut rows = vec![
        ("remote", peer.remote.clone()),
        ("AS", format!("{} to {}", peer.my_asn, peer.peer_asn)),
        ("router id", peer.router_id.clone()),
        (
            "state",
            format!(
                "{} for {}",
                peer.state.unwrap_or("no session"),
                whole_seconds(peer.for_ms)
            ),
        ),
    ];
    if !peer.vrf.is_empty() {
        rows.push(("vrf", peer.vrf.clone()));
    }
    if let Some(obstacle) = &peer.obstacle {
        rows.push(("not in force", obstacle.clone()));
    }
    if let Some(text) = &peer.paused {
        let until = format!(
            "\"{text}\", until `speaker ctl bgp resume {}` or until this speaker starts anew",
            peer.name
        );
        rows.push(("paused", until));
    }
    for note in &peer.notes {
        rows.push(("note", note.clone()));
    }
    if let Some(because) = &peer.because {
        rows.push(("because", format!("{because} ({} times)", peer.times)));
    }
    if let Some(ms) = peer.retry_ms {
        rows.push(("dials in", format!("{:?}", Duration::from_millis(ms))));
    }
    if let Some(negotiated) = &peer.negotiated {
        let word = |is: bool| if is { "yes" } else { "no" }.to_owned();
        rows.push(("peer's router id", negotiated.peer_router_id.clone()));
        rows.push(("families", negotiated.families.join(", ")));
        let timers = format!(
            "hold {} s, keepalive {} s",
            negotiated.hold_s, negotiated.keepalive_s
        );
        rows.push(("timers", timers));
        rows.push(("graceful restart", word(negotiated.has_graceful_restart)));
        let extended = word(negotiated.has_v4_over_v6_next_hop);
        rows.push(("IPv4 over IPv6", extended));
    }
    rows.extend(traffic(peer));
    if let Some(bytes) = peer.password_bytes {
        let drops: Vec<String> = data
            .md5_drops
            .iter()
            .map(|(what, count)| format!("{what} {count}"))
            .collect();
        let drops = drops.join(", ");
        let password = format!("{bytes} bytes; segments dropped on this node: {drops}");
        rows.push(("password", password));
    }
    pairs(&rows)
}

fn traffic(peer: &BgpPeerSight) -> Vec<(&'static str, String)> {
    let told: Vec<String> = peer
        .told
        .iter()
        .map(|(family, count)| format!("{family} {count}"))
        .collect();
    let [sent, received] = peer.messages;
    let [ups, downs] = peer.ups_downs;
    let mut rows = vec![
        (
            "told",
            format!("{} of {} prefixes", told.join(", "), peer.wanted),
        ),
        ("received", format!("{} prefixes, none used", peer.received)),
        ("messages", format!("{sent} sent, {received} received")),
        ("came up", format!("{ups} times, went down {downs}")),
    ];
    if !peer.without_next_hop.is_empty() {
        rows.push(("no next hop for", peer.without_next_hop.join(", ")));
    }
    for (name, said) in [
        ("we last said", &peer.last_sent),
        ("it last said", &peer.last_received),
    ] {
        if let Some(Said { words, ms_ago }) = said {
            rows.push((name, format!("{words}, {} ago", whole_seconds(*ms_ago))));
        }
    }
    if let Some((what, count)) = peer.forgiven {
        rows.push(("forgiven", format!("{count} UPDATEs, the last for {what}")));
    }
    rows
}

pub(super) fn whole_seconds(ms: u64) -> String {
    format!("{:?}", Duration::from_secs(ms / 1000))
}

/// A route that peers are told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Route {
    peer: String,
    prefix: String,
    attributes: String,
}

/// The routes of all peers, or of one.
pub(super) fn routes(known: &Known<'_>, peer: Option<&str>) -> Shown<Vec<Route>> {
    let peers = known.snapshot.plan.bgp.iter();
    let peers = peers.filter(|(name, _)| peer.is_none_or(|wanted| *name.0 == *wanted));
    let data: Vec<Route> = peers
        .flat_map(|(name, plan)| {
            plan.routes.iter().map(|(prefix, attributes)| Route {
                peer: name.to_string(),
                prefix: prefix.to_string(),
                attributes: attributes.to_string(),
            })
        })
        .collect();
    let rows: Vec<[String; 3]> = data
        .iter()
        .map(|route| {
            let Route {
                peer,
                prefix,
                attributes,
            } = route;
            [peer.clone(), prefix.clone(), attributes.clone()]
        })
        .collect();
    let text = match rows.is_empty() {
        true => "no peer is told of any route\n".to_owned(),
        false => table(["PEER", "PREFIX", "ATTRIBUTES"], &rows),
    };
    Shown { data, text }
}
