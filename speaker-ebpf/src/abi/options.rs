//! What a holder does with packets of a VIP by option: those to ports that no service has, pings, and those of sources that a service does
//! not serve.
//!
//! Sets of sources are known by numbers that come from their content: a set is never changed while a service names it.

use super::l2::Addr;
use bytemuck::{Pod, Zeroable};

/// Rows of VIPs with options, on all links.
pub const OPTED_MAX: u32 = 16_384;

/// Ports of services of VIPs with options.
pub const SERVICES_MAX: u32 = 65_536;

/// Prefixes of sources, of all sets.
pub const SOURCES_MAX: u32 = 65_536;

/// Nanoseconds of credit that one refusal or one answer to a ping costs: 1,000 of each a second per CPU, whatever the VIP.
pub const OPTION_INTERVAL_NS: u64 = 1_000_000;

/// Nanoseconds of credit that are saved up at most: 2,000 at once.
pub const OPTION_BURST_NS: u64 = 2_000 * OPTION_INTERVAL_NS;

/// What becomes of packets to a port that no service of the VIP has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Closed {
    /// As if there were no such option.
    #[default]
    Pass,
    /// Refused, as a host does that has no such port.
    Reject,
    /// Dropped.
    Drop,
}

/// Value of `OPTIONS`, by [`super::VipKey`].
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Pod, Zeroable)]
pub struct OptionValue {
    flags: u32,
}

impl OptionValue {
    /// With closed ports treated like this, pings answered or not, and sources looked at or not.
    #[inline(always)]
    pub const fn new(closed: Closed, is_echo: bool, is_filtered: bool) -> Self {
        let closed = match closed {
            Closed::Pass => 0,
            Closed::Reject => REJECT,
            Closed::Drop => DROP,
        };
        let echo = if is_echo { ECHO } else { 0 };
        let filtered = if is_filtered { FILTERED } else { 0 };
        Self {
            flags: closed | echo | filtered,
        }
    }

    /// What becomes of packets to closed ports.
    #[inline(always)]
    pub const fn closed(&self) -> Closed {
        if self.flags & DROP != 0 {
            Closed::Drop
        } else if self.flags & REJECT != 0 {
            Closed::Reject
        } else {
            Closed::Pass
        }
    }

    /// Whether the holder answers pings.
    #[inline(always)]
    pub const fn is_echo(&self) -> bool {
        self.flags & ECHO != 0
    }

    /// Whether some service has a set of sources.
    #[inline(always)]
    pub const fn is_filtered(&self) -> bool {
        self.flags & FILTERED != 0
    }
}

/// Flags of an [`OptionValue`].
const REJECT: u32 = 1;
const DROP: u32 = 2;
const ECHO: u32 = 4;
const FILTERED: u32 = 8;

/// Key of `SERVICES`: a port of a VIP, on all links.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Pod, Zeroable)]
pub struct ServiceKey {
    addr: Addr,
    port: [u8; 2],
    protocol: u8,
    pad: u8,
}

impl ServiceKey {
    /// The port (as it lies in the packet) of a protocol.
    #[inline(always)]
    pub const fn new(addr: Addr, protocol: u8, port: [u8; 2]) -> Self {
        Self {
            addr,
            port,
            protocol,
            pad: 0,
        }
    }
}

/// Value of `SERVICES`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Pod, Zeroable)]
pub struct ServiceValue {
    /// The number of the set of sources that are served; 0: all are.
    pub sources: u32,
}

/// Key of `SOURCES`, after the length of the prefix in bits, which counts the set as well.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Pod, Zeroable)]
pub struct SourceKey {
    /// The set's number.
    pub set: u32,
    /// The prefix.
    pub addr: Addr,
}

/// Bits of a [`SourceKey`] before its address.
pub const SET_BITS: u32 = 32;

/// What became of a packet by an option of its VIP.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u32)]
pub enum Opted {
    /// Refused: no service has that port.
    Rejected,
    /// Dropped: no service has that port.
    Closed,
    /// Dropped: the service does not serve its source.
    Refused,
    /// A ping was answered.
    Echoed,
    /// Dropped: a refusal or an answer would have been one too many.
    Limited,
}

impl Opted {
    /// In the order of the array.
    pub const ALL: [Self; 5] = [
        Self::Rejected,
        Self::Closed,
        Self::Refused,
        Self::Echoed,
        Self::Limited,
    ];
}

/// Value of `OPTED` on one CPU: a count, and the token bucket of what may be sent.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct OptedStats {
    /// How often.
    pub count: u64,
    /// Tokens left, in nanoseconds of credit.
    pub bucket_ns: u64,
    /// BOOTTIME nanoseconds of the last refill.
    pub bucket_at_ns: u64,
}

const _: () = {
    assert!(size_of::<OptionValue>() == 4);
    assert!(size_of::<ServiceKey>() == 20);
    assert!(size_of::<ServiceValue>() == 4);
    assert!(size_of::<SourceKey>() == 20);
    assert!(size_of::<OptedStats>() == 24);
};
