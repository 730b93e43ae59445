//! The part of the tables that says what else is done with packets of VIPs: rows of VIPs, ports of their services, sources of those.
//!
//! A set of sources has a number that comes from what is in it, so that none is changed while a port names it, and a new process finds
//! them all where they were. What does not fit is left to the service proxy, which looks at sources anyway.

use super::{TableChange, split};
use crate::diff::diff;
use crate::plan::{Plan, Ports, Sources, VipOptions};
use crate::service::Protocol;
use speaker_ebpf::abi::options::{Closed, OPTED_MAX, SERVICES_MAX, SET_BITS, SOURCES_MAX};
use speaker_ebpf::abi::{Addr, Entry, OptionValue, ServiceKey, ServiceValue, SourceKey, VipKey};
use speaker_proto::Vip;
use std::collections::BTreeMap;
use std::net::IpAddr;
use xxhash_rust::xxh3::xxh3_64;

/// What the tables of options hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Content {
    /// `OPTIONS`.
    pub rows: BTreeMap<VipKey, OptionValue>,
    /// `SERVICES`.
    pub services: BTreeMap<ServiceKey, ServiceValue>,
    /// `SOURCES`: the length of the prefix in bits, its set's among them, and the prefix.
    pub sources: BTreeMap<(u32, SourceKey), u32>,
}

/// How many VIPs lack options because a table is full, by table and room for it.
pub(super) type Full = BTreeMap<(&'static str, u32), usize>;

/// What should be there so that `plan` is true, for the entries that take packets.
pub(super) fn wanted(plan: &Plan, vips: &BTreeMap<VipKey, Entry>) -> (Content, Full) {
    let mut draft = Draft::default();
    if plan.options.is_empty() {
        return (draft.content, draft.full);
    }
    let takes = |(_, entry): &(&VipKey, &Entry)| super::takes_packets(entry);
    let mut placed: BTreeMap<Vip, Vec<VipKey>> = BTreeMap::new();
    for (key, _) in vips.iter().filter(takes) {
        let vip = Vip(IpAddr::from(key.addr()));
        placed.entry(vip).or_default().push(*key);
    }
    for (vip, options) in &plan.options {
        if let Some(keys) = placed.get(vip) {
            draft.add(*vip, keys, options);
        }
    }
    (draft.content, draft.full)
}

#[derive(Default)]
struct Draft {
    content: Content,
    sets: BTreeMap<u32, Sources>,
    full: Full,
}

impl Draft {
    fn add(&mut self, vip: Vip, keys: &[VipKey], options: &VipOptions) {
        if self.content.rows.len() + keys.len() > OPTED_MAX as usize {
            self.lacks("hg_options", OPTED_MAX);
            return;
        }
        let is_closed = options.closed != Closed::Pass;
        let mut ports: Vec<_> = options.ports.iter().collect();
        ports.retain(|(_, sources)| is_closed || !sources.is_empty());
        let has_room = self.content.services.len() + ports.len() <= SERVICES_MAX as usize;
        if !has_room {
            self.lacks("hg_services", SERVICES_MAX);
            ports.clear();
        }
        let numbers = self.numbers(&options.ports);
        let is_filtered = has_room && !numbers.is_empty();
        for (port, sources) in ports {
            let key = service(vip, *port);
            let number = numbers.get(sources).copied().unwrap_or_default();
            let value = ServiceValue { sources: number };
            self.content.services.insert(key, value);
        }
        let closed = if has_room {
            options.closed
        } else {
            Closed::Pass
        };
        let row = OptionValue::new(closed, options.is_echo, is_filtered);
        if row != OptionValue::default() {
            self.content.rows.extend(keys.iter().map(|key| (*key, row)));
        }
    }

    fn lacks(&mut self, table: &'static str, room: u32) {
        *self.full.entry((table, room)).or_default() += 1;
    }

    /// The numbers of the sets that a VIP's ports name and for which there is room.
    fn numbers(&mut self, ports: &Ports) -> BTreeMap<Sources, u32> {
        let mut numbers = BTreeMap::new();
        let mut is_short = false;
        for sources in ports.values().filter(|sources| !sources.is_empty()) {
            match self.number(sources) {
                Some(number) => {
                    numbers.insert(Sources::clone(sources), number);
                }
                None => is_short = true,
            }
        }
        if is_short {
            self.lacks("hg_sources", SOURCES_MAX);
        }
        numbers
    }

    /// The number of a set whose prefixes are in the table; `None`: there is no room for them.
    fn number(&mut self, sources: &Sources) -> Option<u32> {
        let text: Vec<String> = sources.iter().map(ToString::to_string).collect();
        let mut number = (xxh3_64(text.join(",").as_bytes()) as u32).max(1);
        while let Some(other) = self.sets.get(&number) {
            if other == sources {
                return Some(number);
            }
            // Two sets with one number are as rare as four thousand million is large, but must not be one.
            number = number.wrapping_add(1).max(1);
        }
        if self.content.sources.len() + sources.len() > SOURCES_MAX as usize {
            return None;
        }
        for net in sources.iter() {
            let above = if net.addr().is_ipv4() { 96 } else { 0 };
            let bits = SET_BITS + above + u32::from(net.prefix_len());
            let addr = Addr::from(net.network());
            let key = SourceKey { set: number, addr };
            self.content.sources.insert((bits, key), 1);
        }
        self.sets.insert(number, Sources::clone(sources));
        Some(number)
    }
}

fn service(vip: Vip, (protocol, port): (Protocol, u16)) -> ServiceKey {
    let number = match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    };
    ServiceKey::new(vip.0.into(), number, port.to_be_bytes())
}

/// The writes that lead from `have` to `want`: before and after those to the entries. A row never calls a port closed that is not, and a
/// port never names a set that is not there whole.
pub(super) fn changes(have: &Content, want: &Content) -> (Vec<TableChange>, Vec<TableChange>) {
    let (source_puts, source_removals) = split(diff(&have.sources, &want.sources));
    let (service_puts, service_removals) = split(diff(&have.services, &want.services));
    let (row_puts, row_removals) = split(diff(&have.rows, &want.rows));
    let sources = source_puts.into_iter().map(TableChange::Source);
    let services = service_puts.into_iter().map(TableChange::Service);
    let rows = row_puts.into_iter().map(TableChange::Option);
    let before = sources.chain(services).chain(rows).collect();
    let rows = row_removals.into_iter().map(TableChange::Option);
    let services = service_removals.into_iter().map(TableChange::Service);
    let sources = source_removals.into_iter().map(TableChange::Source);
    (before, rows.chain(services).chain(sources).collect())
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
