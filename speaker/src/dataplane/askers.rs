//! Who asked for our VIPs, as the program noted it.
//!
//! Read once after a taking, to tell them the new hardware address (`docs/layer2.md`, L6.5).

use super::maps::HashTable;
use super::pins::Pins;
use anyhow::Result;
use speaker_ebpf::abi::{self, AskerKey, AskerValue};
use speaker_proto::{Mac, Vip};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The map of askers, which only the program writes.
pub(crate) struct Askers {
    map: HashTable<AskerKey, AskerValue, 36, 16>,
}

/// A client that asked for a VIP on a link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Asker {
    /// The VIP.
    pub(crate) vip: Vip,
    /// Where.
    pub(crate) ifindex: u32,
    /// The client.
    pub(crate) client: IpAddr,
    /// Its hardware address.
    pub(crate) mac: Mac,
}

impl Askers {
    pub(super) fn open(pins: &Pins) -> Result<Self> {
        Ok(Self {
            map: HashTable::open(pins, &abi::ASKERS)?,
        })
    }

    /// Who asked for any of these VIPs (on a link). The program may evict rows meanwhile, so the
    /// walk may start over; it ends after twice the map's size.
    pub(crate) fn of(&self, vips: &BTreeSet<(Vip, u32)>) -> Result<BTreeSet<Asker>> {
        let mut found = BTreeSet::new();
        for row in self.map.rows().take(2 * abi::ASKERS_MAX as usize) {
            let (key, value) = row?;
            let asker = Asker {
                vip: Vip(key.vip.addr().into()),
                ifindex: key.vip.ifindex(),
                client: key.client.into(),
                mac: Mac(value.mac.0),
            };
            if vips.contains(&(asker.vip, asker.ifindex)) {
                found.insert(asker);
            }
        }
        Ok(found)
    }
}
