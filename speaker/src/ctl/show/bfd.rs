//! BFD sessions: each in a line, or one with all there is to say, and what was not taken of any.

use super::super::peers::{BfdSessionSight, BfdSideSight, BfdSight};
use super::super::table::{pairs, table};
use super::bgp::whole_seconds;
use super::{Known, Shown};
use anyhow::{Result, bail};
use std::time::Duration;

/// All sessions, or those of one peer, by its name or its address.
pub(super) fn show(known: &Known<'_>, peer: Option<&str>) -> Result<Shown<BfdSight>> {
    let mut data = known.snapshot.bfd.clone();
    let Some(peer) = peer else {
        let text = lines(&data);
        return Ok(Shown { data, text });
    };
    let is_meant = |session: &BfdSessionSight| {
        session.address == peer || session.peers.iter().any(|name| name == peer)
    };
    data.sessions.retain(is_meant);
    if data.sessions.is_empty() {
        bail!("no BFD session of this node is with {peer}");
    }
    let wholes: Vec<String> = data.sessions.iter().map(whole).collect();
    let text = wholes.join("\n");
    Ok(Shown { data, text })
}

fn lines(data: &BfdSight) -> String {
    let rows: Vec<[String; 8]> = data.sessions.iter().map(row).collect();
    let head = [
        "PEER",
        "ADDRESS",
        "LINK",
        "STATE",
        "FOR",
        "INTERVAL",
        "DETECTION",
        "NOTE",
    ];
    let mut text = match rows.is_empty() {
        true => "no BGP peer is watched by BFD\n".to_owned(),
        false => table(head, &rows),
    };
    let discarded = data.discarded.iter();
    let discarded: Vec<String> = discarded
        .map(|(cause, count)| format!("{cause} {count}"))
        .collect();
    let mut notes = Vec::new();
    if !discarded.is_empty() {
        notes.push(("packets not taken", discarded.join(", ")));
    }
    if data.refused > 0 {
        notes.push(("sessions without room", data.refused.to_string()));
    }
    if data.late_turns > 0 {
        notes.push(("held up ourselves", format!("{} times", data.late_turns)));
    }
    if !notes.is_empty() {
        text += "\n";
        text += &pairs(&notes);
    }
    text
}

fn row(session: &BfdSessionSight) -> [String; 8] {
    [
        session.peers.join(", "),
        session.address.clone(),
        or_dash(&session.link),
        session.state.clone(),
        whole_seconds(session.for_ms),
        interval(session),
        ms(session.detection_ms),
        session.because.clone().unwrap_or_default(),
    ]
}

fn whole(session: &BfdSessionSight) -> String {
    let hops = if session.is_multihop {
        "several hops"
    } else {
        "one hop"
    };
    let state = format!("{} for {}", session.state, whole_seconds(session.for_ms));
    let mut rows = vec![
        ("peer", session.peers.join(", ")),
        ("address", format!("{}, over {hops}", session.address)),
        ("state", state),
    ];
    for (name, value) in [
        ("from", &session.local),
        ("link", &session.link),
        ("vrf", &session.vrf),
    ] {
        if !value.is_empty() {
            rows.push((name, value.clone()));
        }
    }
    if let Some(because) = &session.because {
        rows.push(("because", because.clone()));
    }
    let theirs = (session.theirs.as_ref()).map_or_else(|| "not heard".to_owned(), side);
    let [sent, received] = session.packets;
    let [ups, downs] = session.ups_downs;
    rows.extend([
        ("we send every", interval(session)),
        ("it may be silent for", ms(session.detection_ms)),
        ("we say", side(&session.ours)),
        ("it says", theirs),
        ("packets", format!("{sent} sent, {received} received")),
        ("came up", format!("{ups} times, went down {downs}")),
    ]);
    if session.unsent > 0 {
        rows.push(("not sent", format!("{} packets", session.unsent)));
    }
    if session.late > 0 {
        let given = format!("{} times, because we were held up ourselves", session.late);
        rows.push(("given again", given));
    }
    pairs(&rows)
}

fn side(side: &BfdSideSight) -> String {
    format!(
        "{}, discriminator {:#010x}, sends every {}, takes every {}, multiplier {}",
        side.state,
        side.discriminator,
        ms(side.transmit_ms),
        ms(side.receive_ms),
        side.multiplier
    )
}

fn interval(session: &BfdSessionSight) -> String {
    session.interval_ms.map_or_else(|| "-".to_owned(), ms)
}

fn ms(ms: u64) -> String {
    format!("{:?}", Duration::from_millis(ms))
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_owned()
}
