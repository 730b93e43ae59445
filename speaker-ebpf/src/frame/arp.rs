//! ARP over Ethernet and IPv4: what a frame says, and the reply to it (RFC 826, RFC 5227).
//!
//! It knows neither tables nor who we are, apart from the hardware address that a reply carries.

use super::{ETHER_BYTES, Ether, Frame};
use crate::abi::{Addr, MacAddr};

/// An ARP frame. The target's hardware address means nothing in what is read here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arp {
    /// Ethernet header.
    pub ether: Ether,
    /// Hardware and protocol type, their lengths, operation.
    header: u64,
    sha: MacAddr,
    spa: u32,
    tpa: u32,
}

/// Bytes of an ARP frame without padding.
pub const ARP_BYTES: u32 = TPA_AT as u32 + 4;

/// What an ARP frame is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArpKind {
    /// Somebody asks for the target address; RFC 5227 probes among them (sender address 0.0.0.0).
    Request,
    /// The sender says where its own address is: an announcement of either form, or a reply.
    Claim,
    /// Neither a request nor a reply.
    Other,
    /// Not about Ethernet and IPv4: the fields are elsewhere.
    Malformed,
}

impl Arp {
    /// From a frame of [`ARP_BYTES`] or more.
    #[inline(always)]
    pub fn read<F: Frame>(frame: &F) -> Option<Self> {
        Some(Self {
            ether: Ether::read(frame)?,
            header: u64::from_ne_bytes(frame.load(ETHER_BYTES)?),
            sha: frame.load(SHA_AT)?,
            spa: frame.load(SPA_AT)?,
            tpa: frame.load(TPA_AT)?,
        })
    }

    /// What it is about.
    #[inline(always)]
    pub fn kind(&self) -> ArpKind {
        match self.header {
            // RFC 5227 §3: sender and target address equal is an announcement, which nobody answers.
            REQUEST if self.spa == self.tpa => ArpKind::Claim,
            REQUEST => ArpKind::Request,
            REPLY => ArpKind::Claim,
            header if header & TYPES == REQUEST & TYPES => ArpKind::Other,
            _ => ArpKind::Malformed,
        }
    }

    /// The address that a request asks for.
    #[inline(always)]
    pub fn target(&self) -> Addr {
        Addr::v4_word(self.tpa)
    }

    /// The sender's address; a claim is about it.
    #[inline(always)]
    pub fn sender(&self) -> Addr {
        Addr::v4_word(self.spa)
    }

    /// The sender's hardware address as the ARP header has it; replies go there, as Linux does it.
    #[inline(always)]
    pub fn sender_mac(&self) -> MacAddr {
        self.sha
    }

    /// Whether the sender's hardware address can be one station's.
    #[inline(always)]
    pub fn is_sender_usable(&self) -> bool {
        !self.sha.is_zero() && !self.sha.is_multicast()
    }

    /// Whether the sender can be told of a takeover later: it has a unicast IP address.
    #[inline(always)]
    pub fn is_sender_addressable(&self) -> bool {
        // RFC 1122 §3.2.1.3: network 0 is "this host", 224/4 groups, 240/4 reserved with the broadcast address in it.
        let [network, ..] = self.spa.to_ne_bytes();
        network != 0 && network < 224
    }

    /// Turns the frame into the reply from `own`: same length, addressed to the sender's hardware.
    #[inline(always)]
    pub fn reply<F: Frame>(&self, frame: &mut F, own: MacAddr) -> Option<()> {
        let ether = Ether {
            dst: self.sha,
            src: own,
        };
        ether.write(frame)?;
        frame.store(ETHER_BYTES, REPLY.to_ne_bytes())?;
        frame.store(SHA_AT, own)?;
        frame.store(SPA_AT, self.tpa)?;
        frame.store(THA_AT, self.sha)?;
        frame.store(TPA_AT, self.spa)
    }
}

const SHA_AT: usize = ETHER_BYTES + 8;
const SPA_AT: usize = SHA_AT + 6;
const THA_AT: usize = SPA_AT + 4;
const TPA_AT: usize = THA_AT + 6;

/// Hardware type Ethernet, protocol IPv4, lengths 6 and 4, operation: as they lie in memory.
const REQUEST: u64 = u64::from_ne_bytes([0, 1, 8, 0, 6, 4, 0, 1]);
const REPLY: u64 = u64::from_ne_bytes([0, 1, 8, 0, 6, 4, 0, 2]);
/// All but the operation.
const TYPES: u64 = u64::from_ne_bytes([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);
