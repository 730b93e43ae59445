//! Neighbour discovery over Ethernet: checking solicitations and advertisements, and writing the answer (RFC 4861, RFC 4862
//! for duplicate address detection, RFC 7527 for its nonce).
//!
//! It knows neither tables nor who we are, apart from the hardware address that an answer carries. Extension headers never
//! get here: RFC 6980 forbids fragments, and nobody has a use for the others.

use super::ip::{ICMPV6, IPV6_END, Ipv6, Sum, v6_addr};
use super::{Ether, Frame};
use crate::abi::{Addr, MacAddr};

/// ICMPv6 type of a neighbour solicitation.
pub const SOLICITATION: u8 = 135;

/// ICMPv6 type of a neighbour advertisement.
pub const ADVERTISEMENT: u8 = 136;

/// A solicitation or an advertisement up to its target; options follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbour {
    /// Ethernet header.
    pub ether: Ether,
    ip: Ipv6,
    /// Type, code, checksum (two bytes), flags (four bytes), as a number.
    icmp: u64,
    /// As it lies in memory.
    target: [u64; 2],
}

/// Bytes up to the first option.
pub const HEAD_BYTES: u32 = TARGET_AT as u32 + 16;

/// Words of eight bytes that options may fill: a link-layer address, a nonce and two more. Longer lists are passed.
pub const OPTION_WORDS_MAX: u32 = 4;

/// A solicitation that passed every check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Solicitation {
    /// Who asks; `::` in duplicate address detection.
    pub client: Addr,
    /// Where the answer goes.
    pub client_mac: MacAddr,
    is_dad: bool,
    is_multicast: bool,
    option_words: u32,
}

impl Solicitation {
    /// Whether the sender can be told of a takeover later: it has an address.
    #[inline(always)]
    pub fn is_client_addressable(&self) -> bool {
        !self.is_dad
    }
}

impl Neighbour {
    /// From a frame of [`HEAD_BYTES`] or more.
    #[inline(always)]
    pub fn read<F: Frame>(frame: &F) -> Option<Self> {
        Some(Self {
            ether: Ether::read(frame)?,
            ip: Ipv6::read(frame)?,
            icmp: u64::from_be(frame.load(IPV6_END)?),
            target: frame.load(TARGET_AT)?,
        })
    }

    /// What it asks for, or speaks of; `None` if that is no address to ask for.
    #[inline(always)]
    pub fn target(&self) -> Option<Addr> {
        v6_addr(self.target)
    }

    /// Whether it is a solicitation (else an advertisement, if the caller looked at the type before).
    #[inline(always)]
    pub fn is_solicitation(&self) -> bool {
        self.icmp >> 56 == SOLICITATION as u64
    }

    /// The solicitation, if it is as RFC 4861 §7.1.1 wants it and its options can be checked.
    #[inline(always)]
    pub fn solicitation<F: Frame>(&self, frame: &mut F) -> Option<Solicitation> {
        let options = self.options(frame, SOURCE_LINK_ADDRESS)?;
        let is_dad = self.ip.src == UNSPECIFIED;
        let is_multicast = self.ip.dst == solicited_node(self.target);
        // RFC 4861 §4.3: to the target's solicited-node group or to the target itself; §7.1.1: only to the former, and
        // without the option, while the sender has no address yet.
        let is_addressed = is_multicast || (self.ip.dst == self.target && !is_dad);
        if !is_addressed || (is_dad && options.has_link) {
            return None;
        }
        if is_group(self.ip.src) || self.ip.src == self.target {
            return None;
        }
        let client_mac = self.link_address(&options);
        if client_mac.is_zero() || client_mac.is_multicast() {
            return None;
        }
        Some(Solicitation {
            client: Addr::v6_words(self.ip.src),
            client_mac,
            is_dad,
            is_multicast,
            option_words: options.words,
        })
    }

    /// The hardware address that this advertisement claims its target for, if it is as RFC 4861 §7.1.2 wants it; the
    /// frame's source where it has no such option.
    #[inline(always)]
    pub fn claimed_mac<F: Frame>(&self, frame: &mut F) -> Option<MacAddr> {
        let options = self.options(frame, TARGET_LINK_ADDRESS)?;
        if is_group(self.ip.dst) && self.icmp & SOLICITED != 0 {
            return None;
        }
        let mac = self.link_address(&options);
        (!mac.is_zero() && !mac.is_multicast()).then_some(mac)
    }

    /// Turns the frame into the answer to `asked` from `own`. `false`: it could not be made long enough, and is as it was.
    #[inline(always)]
    pub fn answer<F: Frame>(&self, frame: &mut F, asked: &Solicitation, own: MacAddr) -> bool {
        // RFC 4861 §7.2.4: the option may be left out only when the solicitation was unicast; so it is where the
        // solicitation has no room for it.
        let has_option = asked.is_multicast || asked.option_words > 0;
        let payload_bytes = if has_option { 32 } else { 24 };
        let frame_bytes = IPV6_END as u32 + payload_bytes as u32;
        if frame.len() < frame_bytes {
            let missing = frame_bytes - frame.len();
            if !frame.grow(missing) || !frame.pull(frame_bytes) {
                return false;
            }
        }
        let mut answer = self.advertised(asked, own, payload_bytes);
        let mut sum = answer.sum();
        if has_option {
            let option = TARGET_LINK_OPTION | own.number();
            sum = sum.word(option.to_be());
            if frame.store(HEAD_BYTES as usize, option.to_be()).is_none() {
                return false;
            }
        }
        answer.icmp |= u64::from(sum.checksum().to_be()) << 32;
        // What the answer has no use for becomes trailing zeroes.
        for i in 1..OPTION_WORDS_MAX {
            if i >= asked.option_words || frame.store(option_at(i), 0u64).is_none() {
                break;
            }
        }
        answer.write(frame).is_some()
    }

    /// The advertisement up to its target, with a checksum of zero. Its source is the VIP itself: the router flag, which
    /// it never sets, is kept by hosts per source.
    #[inline(always)]
    fn advertised(&self, asked: &Solicitation, own: MacAddr, payload_bytes: u16) -> Self {
        let (dst, dst_mac, solicited) = if asked.is_dad {
            // RFC 4861 §7.2.4: to all nodes and unsolicited, for the asker has no address yet.
            (ALL_NODES, ALL_NODES_MAC, 0)
        } else {
            (self.ip.src, asked.client_mac, SOLICITED)
        };
        let overrides = if asked.is_multicast { OVERRIDE } else { 0 };
        Self {
            ether: Ether {
                dst: dst_mac,
                src: own,
            },
            ip: Ipv6 {
                version: 6,
                payload_bytes,
                next_header: ICMPV6,
                hop_limit: HOP_LIMIT,
                src: self.target,
                dst,
            },
            icmp: (ADVERTISEMENT as u64) << 56 | solicited | overrides,
            target: self.target,
        }
    }

    /// Over the head of a frame, whose target is the same.
    #[inline(always)]
    fn write<F: Frame>(&self, frame: &mut F) -> Option<()> {
        self.ether.write(frame)?;
        self.ip.write(frame)?;
        frame.store(IPV6_END, self.icmp.to_be())
    }

    /// What the option says, or else the frame's source.
    #[inline(always)]
    fn link_address(&self, options: &Options) -> MacAddr {
        if options.has_link {
            options.link
        } else {
            self.ether.src
        }
    }

    /// Checks what solicitations and advertisements have in common, and takes the first link-layer address of the
    /// `wanted` kind from the options.
    #[inline(always)]
    fn options<F: Frame>(&self, frame: &mut F, wanted: u8) -> Option<Options> {
        let payload_bytes = self.ip.payload_bytes;
        let option_bytes = payload_bytes.wrapping_sub(TARGET_END);
        // Every option is a multiple of eight bytes long, so the payload is one, too.
        let is_sound = self.ip.version == 6
            && self.ip.hop_limit == HOP_LIMIT
            && (self.icmp >> 48) as u8 == 0
            && !is_group(self.target)
            && payload_bytes >= TARGET_END
            && option_bytes & 7 == 0
            && !self.ether.src.is_multicast();
        let words = u32::from(option_bytes >> 3);
        if !is_sound || words > OPTION_WORDS_MAX || !frame.pull(HEAD_BYTES + words * 8) {
            return None;
        }
        let mut options = Options {
            has_link: false,
            link: MacAddr([0; 6]),
            words,
        };
        let mut sum = self.sum();
        let mut header_at = 0;
        for i in 0..OPTION_WORDS_MAX {
            if i >= words {
                break;
            }
            let word = frame.load(option_at(i))?;
            sum = sum.word(word);
            if i != header_at {
                continue;
            }
            let option = u64::from_be(word);
            let (kind, length) = ((option >> 56) as u8, (option >> 48) as u8);
            if length == 0 || (kind == wanted && length != 1) {
                return None;
            }
            if kind == wanted && !options.has_link {
                options.has_link = true;
                options.link = MacAddr::from_number(option);
            }
            header_at += u32::from(length);
        }
        (header_at == words && sum.folded() == 0xffff).then_some(options)
    }

    /// The checksum so far: pseudo-header and everything up to the target.
    #[inline(always)]
    fn sum(&self) -> Sum {
        Sum::default()
            .address(self.ip.src)
            .address(self.ip.dst)
            .icmpv6(self.ip.payload_bytes)
            .word(self.icmp.to_be())
            .address(self.target)
    }
}

/// What the options of a frame came to.
struct Options {
    has_link: bool,
    /// Zero where there is none: every path writes it, as verifiers want it of whatever is read.
    link: MacAddr,
    words: u32,
}

#[inline(always)]
const fn option_at(word: u32) -> usize {
    HEAD_BYTES as usize + word as usize * 8
}

#[inline(always)]
const fn is_group(ip: [u64; 2]) -> bool {
    u64::from_be(ip[0]) >> 56 == 0xff
}

/// The group that stations with the address `target` listen to (RFC 4291 §2.7.1).
#[inline(always)]
const fn solicited_node(target: [u64; 2]) -> [u64; 2] {
    let last = u64::from_be(target[1]) & 0xff_ffff;
    words(0xff02_0000_0000_0000, 0x0000_0001_ff00_0000 | last)
}

/// An address from its halves as numbers.
#[inline(always)]
const fn words(high: u64, low: u64) -> [u64; 2] {
    [high.to_be(), low.to_be()]
}

const TARGET_AT: usize = IPV6_END + 8;
const TARGET_END: u16 = 24;
const HOP_LIMIT: u8 = 255;
const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;
/// Its type and its length, one word; the address fills the rest.
const TARGET_LINK_OPTION: u64 = (TARGET_LINK_ADDRESS as u64) << 56 | 1 << 48;
/// Flags of an advertisement within its first word.
const SOLICITED: u64 = 0x4000_0000;
const OVERRIDE: u64 = 0x2000_0000;
const UNSPECIFIED: [u64; 2] = [0, 0];
const ALL_NODES: [u64; 2] = words(0xff02_0000_0000_0000, 1);
const ALL_NODES_MAC: MacAddr = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
