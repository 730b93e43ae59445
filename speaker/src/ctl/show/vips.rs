//! Every VIP in the kernel's table.

use super::super::table::table;
use super::{Known, Shown};
use anyhow::Result;
use serde::Serialize;
use speaker_proto::Time;

/// The answer for programs.
#[derive(Serialize)]
pub(super) struct Vips {
    vips: Vec<Vip>,
}

#[derive(Serialize)]
struct Vip {
    vip: String,
    link: String,
    mode: &'static str,
    /// Whether the program answers for it now.
    answers: bool,
    is_fenced: bool,
    /// Some of its packets may go to another node.
    is_moving: bool,
    epoch: u64,
    services: Vec<String>,
    answered: u64,
    packets: u64,
    bytes: u64,
}

pub(super) fn show(known: &Known<'_>) -> Result<Shown<Vips>> {
    let services = known.snapshot.services_by_address();
    let node_deadline = known.sight.deadline_ns()?;
    let mut vips = Vec::new();
    for slot in known.sight.slots()? {
        let deadline = if slot.deadline_ns == 0 {
            node_deadline
        } else {
            slot.deadline_ns
        };
        let is_alive = Time::from_ns(deadline) > known.now;
        vips.push(Vip {
            vip: slot.vip.to_string(),
            link: known.snapshot.link_name(slot.ifindex),
            mode: slot.mode,
            answers: slot.mode == "answer" && is_alive && !slot.is_fenced,
            is_fenced: slot.is_fenced,
            is_moving: slot.is_moving,
            epoch: slot.epoch,
            services: services.get(&slot.vip).cloned().unwrap_or_default(),
            answered: slot.outcomes.get("answered").copied().unwrap_or_default(),
            packets: slot.packets,
            bytes: slot.bytes,
        });
    }
    Ok(Shown {
        text: text(&vips),
        data: Vips { vips },
    })
}

fn text(vips: &[Vip]) -> String {
    if vips.is_empty() {
        return "no VIP in the kernel's table\n".to_owned();
    }
    let rows: Vec<[String; 8]> = vips
        .iter()
        .map(|vip| {
            [
                vip.vip.clone(),
                vip.link.clone(),
                mode(vip).to_owned(),
                vip.epoch.to_string(),
                vip.answered.to_string(),
                vip.packets.to_string(),
                vip.bytes.to_string(),
                vip.services.join(" "),
            ]
        })
        .collect();
    table(
        [
            "VIP", "LINK", "MODE", "EPOCH", "ANSWERED", "PACKETS", "BYTES", "SERVICES",
        ],
        &rows,
    )
}

fn mode(vip: &Vip) -> &'static str {
    match (vip.mode, vip.answers, vip.is_fenced) {
        ("answer", false, true) => "fenced",
        ("answer", false, false) => "lapsed",
        (mode, _, _) => mode,
    }
}
