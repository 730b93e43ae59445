//! The deciding machine as it begins: with what the kernel holds, so that a restart changes nothing.

use crate::drive::chance;
use crate::drive::clock::now;
use crate::settings::Settings;
use speaker_core::Local;
use speaker_core::agent::{self, Agent};
use speaker_core::steering::socket::Listeners;
use speaker_core::tables::Tables;
use speaker_ebpf::abi::{Entry, Mode, VipKey};
use speaker_proto::{Epoch, Time, Vip};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The machine that decides, beginning with what was found: also the last deadline, zero where there was none, and whether it is in force.
pub(super) fn agent(
    settings: &Settings,
    tables: &Tables,
    listeners: Listeners,
    (last_deadline, is_armed): (Time, bool),
) -> Agent {
    let adopted = adopted(tables);
    let deadline = ["passed", "in force"][usize::from(is_armed)];
    let vips = adopted.len();
    tracing::info!(vips, deadline, op = "startup", "found pinned tables");
    let local = Local {
        listeners: Arc::new(listeners),
        rules: settings.rules.clone(),
        bgp_type: settings.bgp_type,
        ..Local::new(settings.node.clone())
    };
    let start = agent::Start {
        local,
        adopted,
        spread: spread(tables),
        last_deadline: (last_deadline > Time::default()).then_some(last_deadline),
        is_armed,
        drain_window: settings.drain_window,
        seed: u64::from_le_bytes(chance::bytes()),
    };
    Agent::new(start, now())
}

/// VIPs that the kernel answers for, by the epoch of their taking.
pub(super) fn adopted(tables: &Tables) -> BTreeMap<Vip, Epoch> {
    let answers = |(key, entry): (&VipKey, &Entry)| {
        (entry.mode() == Some(Mode::Answer)).then(|| (Vip(key.addr().into()), Epoch(entry.epoch())))
    };
    tables.vips.iter().filter_map(answers).collect()
}

/// VIPs of which the kernel spreads the packets.
fn spread(tables: &Tables) -> BTreeSet<Vip> {
    let rows = tables.steering.rows.keys();
    rows.map(|key| Vip(key.addr().into())).collect()
}
