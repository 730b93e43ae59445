//! Layer 2 tables: who is answered for, until when, and what has been seen.

use bytemuck::{Pod, Zeroable};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP address in 16 bytes of network order; IPv4 as `::ffff:a.b.c.d`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct Addr {
    bytes: [u8; 16],
}

impl Addr {
    /// From the four bytes of an IPv4 address in network order.
    #[inline(always)]
    pub const fn v4(b: [u8; 4]) -> Self {
        let [a, b, c, d] = b;
        Self::v6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d])
    }

    /// From the sixteen bytes of an IPv6 address in network order.
    #[inline(always)]
    pub const fn v6(bytes: [u8; 16]) -> Self {
        Self { bytes }
    }

    /// From an IPv4 address as a word that lies in memory in network order.
    #[inline(always)]
    pub fn v4_word(word: u32) -> Self {
        bytemuck::cast([0, 0, u32::from_ne_bytes([0, 0, 0xff, 0xff]), word])
    }

    /// From an IPv6 address as two words that lie in memory in network order.
    #[inline(always)]
    pub fn v6_words(words: [u64; 2]) -> Self {
        bytemuck::cast(words)
    }

    /// The bytes, in network order.
    #[inline(always)]
    pub const fn bytes(&self) -> [u8; 16] {
        self.bytes
    }

    /// The sixteen bytes as two words that lie in memory as they do on a wire.
    #[inline(always)]
    pub fn words(&self) -> [u64; 2] {
        bytemuck::cast(self.bytes)
    }

    /// Of an IPv4 address its four bytes as a word that lies in memory as it does on a wire.
    #[inline(always)]
    pub fn v4_part(&self) -> u32 {
        let [.., part]: [u32; 4] = bytemuck::cast(self.bytes);
        part
    }

    /// The bit of the address filter that this address sets: word index and mask.
    #[inline(always)]
    pub fn filter_bit(&self) -> (u32, u64) {
        let [hi, lo]: [u64; 2] = bytemuck::cast(self.bytes);
        // Fibonacci hashing: one multiplication, the top 16 bits are the index of the bit.
        let bit = (hi ^ lo.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
        ((bit >> 6) as u32, 1 << (bit & 63))
    }
}

impl From<IpAddr> for Addr {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => Self::v4(v4.octets()),
            IpAddr::V6(v6) => Self::v6(v6.octets()),
        }
    }
}

impl From<Addr> for IpAddr {
    fn from(addr: Addr) -> Self {
        match addr.bytes {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => {
                Ipv4Addr::new(a, b, c, d).into()
            }
            octets => Ipv6Addr::from(octets).into(),
        }
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

/// A hardware address, in network order.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// The address every station listens to.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// From the lower 48 bits of a number.
    #[inline(always)]
    pub const fn from_number(number: u64) -> Self {
        let [_, _, a, b, c, d, e, f] = number.to_be_bytes();
        Self([a, b, c, d, e, f])
    }

    /// As a number of 48 bits.
    #[inline(always)]
    pub const fn number(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// Whether the group bit is set (broadcast included).
    #[inline(always)]
    pub const fn is_multicast(&self) -> bool {
        self.0[0] & 1 == 1
    }

    /// Whether every byte is zero.
    #[inline(always)]
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 6]
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Key of `VIPS`: an address on a link. Equal addresses on two links are two entries.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Pod, Zeroable)]
pub struct VipKey {
    addr: Addr,
    ifindex: u32,
}

impl VipKey {
    /// The key of `addr` on the link with `ifindex`.
    #[inline(always)]
    pub const fn new(addr: Addr, ifindex: u32) -> Self {
        Self { addr, ifindex }
    }

    /// The address.
    #[inline(always)]
    pub const fn addr(&self) -> Addr {
        self.addr
    }

    /// The link.
    #[inline(always)]
    pub const fn ifindex(&self) -> u32 {
        self.ifindex
    }
}

/// What the program does for a VIP.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Mode {
    /// Neighbour requests are answered, unless fenced or past the deadline.
    Answer = 1,
    /// Silent; data is still taken (a planned move is under way).
    Draining = 2,
    /// Another node's: requests are dropped, so that no other part of this kernel answers them.
    Known = 3,
    /// Nobody's in layer 2: neighbour frames are left alone, and only routes bring packets here.
    Passive = 4,
}

/// Value of `VIPS`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct Entry {
    epoch: u64,
    deadline_ns: u64,
    slot: u32,
    mode: u8,
    flags: u8,
    row: u16,
}

impl Entry {
    /// An entry in `mode` under `slot`, taken in `epoch`; the node-wide deadline applies.
    #[inline(always)]
    pub const fn new(mode: Mode, epoch: u64, slot: u32) -> Self {
        Self {
            epoch,
            deadline_ns: 0,
            slot,
            mode: mode as u8,
            flags: 0,
            row: 0,
        }
    }

    /// The same entry, with or without a row in `MOVES`.
    #[inline(always)]
    pub const fn moving(self, is_moving: bool) -> Self {
        self.flag(MOVING, is_moving)
    }

    /// The same entry, spread as this row of `SPREAD` says; not spread with 0, which is none.
    #[inline(always)]
    pub const fn steered(self, row: u16) -> Self {
        Self {
            row,
            ..self.flag(STEERED, row != 0)
        }
    }

    /// The same entry, with or without sockets of this node that take its packets.
    #[inline(always)]
    pub const fn socketed(self, is_socketed: bool) -> Self {
        self.flag(SOCKETED, is_socketed)
    }

    /// The same entry, with or without routes by which routers send its packets here, whoever holds it in layer 2.
    #[inline(always)]
    pub const fn routed(self, is_routed: bool) -> Self {
        self.flag(ROUTED, is_routed)
    }

    /// The same entry, with or without a row in `OPTIONS`.
    #[inline(always)]
    pub const fn opted(self, is_opted: bool) -> Self {
        self.flag(OPTED, is_opted)
    }

    #[inline(always)]
    const fn flag(self, flag: u8, is_set: bool) -> Self {
        let flags = if is_set {
            self.flags | flag
        } else {
            self.flags & !flag
        };
        Self { flags, ..self }
    }

    /// The same entry with a deadline of its own (BOOTTIME nanoseconds); 0 means the node-wide one.
    #[inline(always)]
    pub const fn until(self, deadline_ns: u64) -> Self {
        Self {
            deadline_ns,
            ..self
        }
    }

    /// The mode; `None` if the byte is none of ours.
    #[inline(always)]
    pub const fn mode(&self) -> Option<Mode> {
        match self.mode {
            1 => Some(Mode::Answer),
            2 => Some(Mode::Draining),
            3 => Some(Mode::Known),
            4 => Some(Mode::Passive),
            _ => None,
        }
    }

    /// Whether `MOVES` says where its packets go.
    #[inline(always)]
    pub const fn is_moving(&self) -> bool {
        self.flags & MOVING != 0
    }

    /// Whether a row of `SPREAD` says which node its packets go to. Where a VIP moves as well, that goes first: both nodes of a move
    /// spread alike.
    #[inline(always)]
    pub const fn is_steered(&self) -> bool {
        self.flags & STEERED != 0
    }

    /// Whether sockets of this node take the packets that stay here: they are marked for it.
    #[inline(always)]
    pub const fn is_socketed(&self) -> bool {
        self.flags & SOCKETED != 0
    }

    /// Whether routers were told that its packets may come here: then neither deadline nor fence keeps this node from dealing with them, for
    /// those are about who answers on a link.
    #[inline(always)]
    pub const fn is_routed(&self) -> bool {
        self.flags & ROUTED != 0
    }

    /// Whether `OPTIONS` says what else is done with its packets.
    #[inline(always)]
    pub const fn is_opted(&self) -> bool {
        self.flags & OPTED != 0
    }

    /// Whether its packets are this node's stack's, all of them: neither [`Self::is_moving`] nor [`Self::is_steered`] nor [`Self::is_opted`].
    #[inline(always)]
    pub const fn is_ordinary(&self) -> bool {
        self.flags & (MOVING | STEERED | OPTED) == 0
    }

    /// Which taking of the VIP this is.
    #[inline(always)]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The entry's own deadline in BOOTTIME nanoseconds; 0 means the node-wide one.
    #[inline(always)]
    pub const fn deadline_ns(&self) -> u64 {
        self.deadline_ns
    }

    /// The row of `SPREAD`; 0 where there is none.
    #[inline(always)]
    pub const fn row(&self) -> u16 {
        self.row
    }

    /// Index of fence and counters.
    #[inline(always)]
    pub const fn slot(&self) -> u32 {
        self.slot
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("mode", &self.mode())
            .field("epoch", &self.epoch)
            .field("deadline_ns", &self.deadline_ns)
            .field("slot", &self.slot)
            .field("is_moving", &self.is_moving())
            .field("is_steered", &self.is_steered())
            .field("row", &self.row)
            .field("is_socketed", &self.is_socketed())
            .field("is_opted", &self.is_opted())
            .field("is_routed", &self.is_routed())
            .finish()
    }
}

/// Flags of an [`Entry`].
const MOVING: u8 = 1;
const STEERED: u8 = 2;
const OPTED: u8 = 4;
const SOCKETED: u8 = 8;
const ROUTED: u8 = 16;

/// Value of `NODE`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Pod, Zeroable)]
pub struct NodeValue {
    /// BOOTTIME nanoseconds; from then on no entry without a deadline of its own is answered. 0: never armed.
    pub deadline_ns: u64,
}

/// Value of `LINKS`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Pod, Zeroable)]
pub struct LinkValue {
    mac: MacAddr,
    flags: u16,
}

impl LinkValue {
    /// A link that answers with `mac`.
    #[inline(always)]
    pub const fn new(mac: MacAddr) -> Self {
        Self { mac, flags: 0 }
    }

    /// The hardware address that answers carry.
    #[inline(always)]
    pub const fn mac(&self) -> MacAddr {
        self.mac
    }
}

/// Key of `MEMBERS`: a hardware address padded to eight bytes.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Pod, Zeroable)]
pub struct MacKey {
    mac: MacAddr,
    pad: [u8; 2],
}

impl MacKey {
    /// The key of `mac`.
    #[inline(always)]
    pub const fn new(mac: MacAddr) -> Self {
        Self { mac, pad: [0; 2] }
    }

    /// The hardware address.
    #[inline(always)]
    pub const fn mac(&self) -> MacAddr {
        self.mac
    }
}

/// Value of `MEMBERS`: a node of ours that may claim a VIP.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Pod, Zeroable)]
pub struct MemberValue {
    /// Until then (BOOTTIME nanoseconds) this address fences nothing: it was spoofed. 0: armed.
    pub disarmed_until_ns: u64,
}

/// Key of `ASKERS`: a client that asked for a VIP on a link.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Pod, Zeroable)]
pub struct AskerKey {
    /// The VIP that was asked for, and where.
    pub vip: VipKey,
    /// Who asked.
    pub client: Addr,
}

/// Value of `ASKERS`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Pod, Zeroable)]
pub struct AskerValue {
    /// BOOTTIME nanoseconds of the latest request.
    pub seen_ns: u64,
    /// The client's hardware address.
    pub mac: MacAddr,
    /// Always zero.
    pub pad: [u8; 2],
}

/// Who claimed one of our VIPs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum ClaimKind {
    /// A member; the slot's fence was raised if the entry was in mode answer.
    Member = 1,
    /// Hardware that is no member's.
    Foreign = 2,
    /// A member's address in one field only, or a disarmed member.
    Spoofed = 3,
}

impl ClaimKind {
    /// The kind in a record of the ring; `None` if the byte is none of ours.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Member),
            2 => Some(Self::Foreign),
            3 => Some(Self::Spoofed),
            _ => None,
        }
    }
}

/// A record of the `CLAIMS` ring.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct Claim {
    /// BOOTTIME nanoseconds.
    pub at_ns: u64,
    /// The slot's fence generation after this frame.
    pub fence_gen: u64,
    /// The VIP and the link.
    pub vip: VipKey,
    /// The slot.
    pub slot: u32,
    /// The hardware address field of the claim.
    pub mac: MacAddr,
    /// A [`ClaimKind`].
    pub kind: u8,
    /// Always zero.
    pub pad: u8,
}

const _: () = {
    assert!(size_of::<VipKey>() == 20);
    assert!(size_of::<Entry>() == 24);
    assert!(size_of::<LinkValue>() == 8);
    assert!(size_of::<MacKey>() == 8);
    assert!(size_of::<AskerKey>() == 36);
    assert!(size_of::<AskerValue>() == 16);
    assert!(size_of::<Claim>() == 48);
};
