//! Segments and links: which node has a link on which segment, under which name and index.
//!
//! Every node is on the first segment by `eth0`, over which members hear each other, too. Where there is a second one, some nodes are on it by
//! `eth1`, and services are announced on either or on both. What stands at a port is not known here.

use crate::node::Node;
use speaker_core::link::{Link, LinkName};
use speaker_proto::Mac;
use std::collections::BTreeMap;

/// A segment, counted from 0.
pub type Lan = usize;

/// As many as there may be.
pub const LANS: usize = 2;

/// The index of a node's link on a segment.
pub const fn ifindex(lan: Lan) -> u32 {
    FIRST + lan as u32
}

/// The segment that the link with this index is on, if there is such a link.
pub fn of(ifindex: u32) -> Option<Lan> {
    let lan = ifindex.checked_sub(FIRST)? as Lan;
    (lan < LANS).then_some(lan)
}

/// The name of a node's link on a segment.
pub fn name(lan: Lan) -> LinkName {
    LinkName::from(format!("eth{lan}").as_str())
}

/// The hardware address of a node's link on a segment.
pub const fn mac(node: usize, lan: Lan) -> Mac {
    Mac([2, 0, 0, 0, lan as u8, node as u8 + 1])
}

impl Node {
    /// The segments that it has a link on.
    pub fn lans(&self) -> impl Iterator<Item = Lan> + use<> {
        let has_second = self.macs[1].is_some();
        (0..LANS).filter(move |lan| *lan == 0 || has_second)
    }

    /// The hardware address of its link on a segment.
    pub fn mac_on(&self, lan: Lan) -> Option<Mac> {
        self.macs[lan]
    }

    /// Whether an address is one of its links'.
    pub fn has_mac(&self, mac: Mac) -> bool {
        self.macs.contains(&Some(mac))
    }

    /// Whether it has a link on a segment that has carrier.
    pub fn has_carrier(&self, lan: Lan) -> bool {
        self.macs[lan].is_some() && self.link_faults[lan] == 0
    }

    /// Its links as netlink tells of them.
    pub fn links(&self) -> BTreeMap<LinkName, Link> {
        let link = |lan: Lan| {
            let link = Link {
                ifindex: ifindex(lan),
                mac: self.macs[lan]?,
                is_up: true,
                has_carrier: self.has_carrier(lan),
                has_arp: true,
                has_ndp: true,
                below: None,
            };
            Some((name(lan), link))
        };
        (0..LANS).filter_map(link).collect()
    }
}

/// The index of the first link: 1 is the loopback's.
const FIRST: u32 = 2;
