//! The deciding machine as it begins: with what the kernel holds, so that a restart changes nothing.

use crate::dataplane::KernelTables;
use crate::drive::chance;
use crate::drive::clock::now;
use crate::edge::links_now;
use crate::settings::Settings;
use anyhow::{Context, Result};
use speaker_core::Local;
use speaker_core::agent::{self, Agent};
use speaker_core::steering::socket::Listeners;
use speaker_core::tables::{Tables, left};
use speaker_ebpf::abi::{Entry, Mode, VipKey};
use speaker_proto::{Epoch, Mac, Time, Vip};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What this node knows of itself as it begins.
pub(super) struct Itself {
    /// Its links are there already: whatever is said of it names them from the first word on.
    pub(super) local: Local,
    /// Every hardware address that may stand in a frame of its own.
    pub(super) macs: BTreeSet<Mac>,
}

/// Looks at this node.
///
/// # Errors
/// When the kernel does not tell the links.
pub(super) fn itself(settings: &Settings) -> Result<Itself> {
    let links = links_now(&settings.excluded).context("failed to read the links")?;
    let local = Local {
        rules: settings.rules.clone(),
        bgp_type: settings.bgp_type,
        links: links.announcing,
        other_links: links.others,
        ..Local::new(settings.node.clone())
    };
    Ok(Itself {
        local,
        macs: links.macs,
    })
}

/// What the last process left in the kernel.
///
/// # Errors
/// When it cannot be read.
pub(super) fn found(tables: &KernelTables) -> Result<Tables> {
    tables.read().context("failed to read the kernel's tables")
}

/// The machine that decides, beginning with what was found: also the last deadline, zero where there was none, and whether it is in force.
pub(super) fn agent(
    settings: &Settings,
    local: Local,
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
        ..local
    };
    let start = agent::Start {
        local,
        adopted,
        spread: left(tables, now()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::args::{Cli, Command};
    use clap::Parser;
    use speaker_core::Link;

    /// A view without them would have others take this node off their lists for a moment, and the connections that it serves with it.
    #[test]
    fn what_is_said_of_a_node_names_its_links_from_the_first_word_on() {
        let words = [
            "speaker",
            "run",
            "--node-name=n1",
            "--manifests=/m",
            "--insecure-gossip",
        ];
        let Command::Run(args) = Cli::parse_from(words).command else {
            panic!("it is `run`");
        };
        let settings = Settings::read(*args).unwrap();
        let link = Link {
            ifindex: 2,
            mac: Mac([2, 0, 0, 0, 0, 1]),
            is_up: true,
            has_carrier: true,
            has_arp: true,
            has_ndp: true,
            below: None,
        };
        let local = Local {
            links: BTreeMap::from([("eth0".into(), link)]),
            ..Local::new(settings.node.clone())
        };
        let links = local.links.clone();
        let (tables, last) = (Tables::default(), (Time::default(), false));
        let agent = agent(&settings, local, &tables, Listeners::default(), last);
        assert_eq!(agent.local().links, links);
    }
}
