//! What became of every frame, by VIP and link; and what belongs to no VIP.

use super::super::table::{pairs, table};
use super::{Known, Shown};
use crate::dataplane::GlobalCount;
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;

/// The answer for programs.
#[derive(Serialize)]
pub(super) struct Counters {
    vips: Vec<VipCounters>,
    globals: BTreeMap<&'static str, u64>,
    moves: BTreeMap<&'static str, u64>,
    steered: BTreeMap<&'static str, u64>,
    tunnelled: BTreeMap<&'static str, u64>,
    options: BTreeMap<&'static str, u64>,
    listening: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct VipCounters {
    vip: String,
    link: String,
    outcomes: BTreeMap<&'static str, u64>,
    packets: u64,
    bytes: u64,
}

pub(super) fn show(known: &Known<'_>) -> Result<Shown<Counters>> {
    let slots = known.sight.slots()?;
    let vips = slots.into_iter().map(|slot| VipCounters {
        vip: slot.vip.to_string(),
        link: known.snapshot.link_name(slot.ifindex),
        outcomes: slot.outcomes,
        packets: slot.packets,
        bytes: slot.bytes,
    });
    let by_name = |counts: Vec<GlobalCount>| {
        let counts = counts.into_iter();
        counts
            .map(|GlobalCount { name, count }| (name, count))
            .collect()
    };
    let data = Counters {
        vips: vips.collect(),
        globals: by_name(known.sight.globals()?),
        moves: by_name(known.sight.passages()?),
        steered: by_name(known.sight.steered()?),
        tunnelled: by_name(known.sight.tunnelled()?),
        options: by_name(known.sight.opted()?),
        listening: by_name(known.sight.listening()?),
    };
    Ok(Shown {
        text: text(&data),
        data,
    })
}

fn text(data: &Counters) -> String {
    let rows: Vec<[String; 6]> = data
        .vips
        .iter()
        .map(|vip| {
            let answered = vip.outcomes.get("answered").copied().unwrap_or_default();
            let others = vip
                .outcomes
                .iter()
                .filter(|(name, count)| **name != "answered" && **count > 0);
            let others: Vec<String> = others
                .map(|(name, count)| format!("{name} {count}"))
                .collect();
            [
                vip.vip.clone(),
                vip.link.clone(),
                answered.to_string(),
                vip.packets.to_string(),
                vip.bytes.to_string(),
                others.join(", "),
            ]
        })
        .collect();
    let lines = |counts: &BTreeMap<&'static str, u64>| {
        let counts = counts.iter();
        let counts: Vec<_> = counts
            .map(|(name, count)| (*name, count.to_string()))
            .collect();
        pairs(&counts)
    };
    let vips = table(
        [
            "VIP",
            "LINK",
            "ANSWERED",
            "PACKETS",
            "BYTES",
            "NOT ANSWERED",
        ],
        &rows,
    );
    let (globals, moves) = (lines(&data.globals), lines(&data.moves));
    let tunnelled = lines(&data.tunnelled);
    let (steered, options) = (lines(&data.steered), lines(&data.options));
    let listening = lines(&data.listening);
    format!(
        "{vips}\nwhole node\n{globals}\npackets of VIPs that move\n{moves}\npackets of VIPs that are spread\n{steered}\n\
         packets to and from other segments\n{tunnelled}\npackets by option\n{options}\nconnections and datagrams for sockets\n{listening}"
    )
}
