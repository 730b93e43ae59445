//! A packet that came to this node itself, and the facts that every decision about sending it on needs.
//!
//! What becomes of it is the business of the modules that decide.

use super::Maps;
use crate::abi::{MacAddr, VipKey};
use crate::frame::flow::{self, Family, Flow};
use crate::frame::{Ether, Frame, ip};

/// A packet for a VIP that was sent to this node's hardware address.
pub(super) struct Arrival<'a> {
    /// The VIP and the link.
    pub(super) key: &'a VipKey,
    /// Its family.
    pub(super) family: Family,
    /// This node's hardware address on the link.
    pub(super) own: MacAddr,
    /// Who sent the frame.
    pub(super) src: MacAddr,
    /// BOOTTIME nanoseconds.
    pub(super) now: u64,
}

impl<'a> Arrival<'a> {
    /// For a link where this node has `own`. `None`: hands off. The link announces nothing, or the packet came by a group address or was
    /// flooded here.
    #[inline(always)]
    pub(super) fn find<F: Frame, M: Maps>(
        frame: &F,
        maps: &M,
        key: &'a VipKey,
        (family, own): (Family, Option<MacAddr>),
    ) -> Option<Self> {
        let own = own?;
        let ether = Ether::read(frame)?;
        (ether.dst == own).then_some(Self {
            key,
            family,
            own,
            src: ether.src,
            now: maps.now(),
        })
    }

    /// What it belongs to.
    #[inline(always)]
    pub(super) fn flow<F: Frame>(&self, frame: &mut F) -> Flow {
        flow::read(frame, self.key.addr(), self.family)
    }

    /// Whether the packet has a hop to give.
    #[inline(always)]
    pub(super) fn has_hop<F: Frame>(&self, frame: &F) -> bool {
        match self.family {
            Family::V4 => ip::v4_has_hop(frame),
            Family::V6 => ip::v6_has_hop(frame),
        }
    }

    /// Takes a hop from the packet and readdresses its frame; `false`: it has no hop left, and is as it was.
    #[inline(always)]
    pub(super) fn send_on<F: Frame>(&self, frame: &mut F, to: MacAddr) -> bool {
        let hop = match self.family {
            Family::V4 => ip::v4_hop(frame),
            Family::V6 => ip::v6_hop(frame),
        };
        let ether = Ether {
            dst: to,
            src: self.own,
        };
        hop.is_some() && ether.write(frame).is_some()
    }
}
