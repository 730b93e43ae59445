//! A frame as the hooks show it: loads and stores at offsets, nothing beyond its end.
//!
//! The modules below recognise and rewrite; whether a frame is answered is none of their business.

pub mod answer;
pub mod arp;
pub mod flow;
pub mod ip;
pub mod ndp;
pub mod plain;

use crate::abi::{FarValue, MacAddr};
use bytemuck::Pod;
use flow::Family;

/// One received Ethernet frame. Offsets count from the first byte of the Ethernet header.
pub trait Frame {
    /// The link it came in on.
    fn ifindex(&self) -> u32;

    /// Bytes from the Ethernet header on, also those not yet pulled.
    fn len(&self) -> u32;

    /// Whether there is not a single byte.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a VLAN tag was taken off into metadata: such a frame belongs to another device.
    fn is_tagged(&self) -> bool;

    /// Whether the host is the destination (own address, broadcast or multicast), as far as the hook knows.
    fn is_for_us(&self) -> bool;

    /// Makes the first `len` bytes loadable and writable. `false`: the frame is shorter, or memory is short.
    fn pull(&mut self, len: u32) -> bool;

    /// A copy of the value at `offset`; `None` past the end of what was pulled. Values are fields of headers: 1, 2, 4, 6, 8
    /// or 16 bytes.
    fn load<T: Pod>(&self, offset: usize) -> Option<T>;

    /// Overwrites the value at `offset`; `None` past the end of what was pulled. Sizes as for [`Frame::load`].
    fn store<T: Pod>(&mut self, offset: usize, value: T) -> Option<()>;

    /// Makes the frame `extra` bytes longer at its end. `false`: no room.
    fn grow(&mut self, extra: u32) -> bool;

    /// Bytes of payload in each of the packets that this one was put together from; 0 if it is one as it came.
    fn segment_bytes(&self) -> u32;

    /// How a packet of `bytes` bytes, without Ethernet, leaves for another node.
    fn way(&self, family: Family, far: &FarValue, bytes: u32) -> Way;

    /// Makes room between the Ethernet header and the packet, for the header of a packet of this family `around` it, or for headers
    /// of which it is the payload. `false`: no room; nothing was changed.
    fn open(&mut self, bytes: u32, around: Option<Family>) -> bool;

    /// Takes what [`Frame::open`] made room for out again, from a packet that came so. `false`: nothing was changed.
    fn close(&mut self, bytes: u32) -> bool;

    /// Cuts everything off behind the first `len` bytes, which there are. `false`: nothing was changed.
    fn cut(&mut self, len: u32) -> bool;

    /// Makes the frame this long, at its end, and loadable whole. `false`: no room.
    fn resize(&mut self, len: u32) -> bool;

    /// Whether the checksum of the transport, which is at `offset`, was never written: whoever sends the frame writes it there, as
    /// it was announced with the packet. The checksum is not what it was any more.
    fn owes_sum(&mut self, offset: usize) -> bool;
}

/// How a packet of ours leaves this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Out of this link; the kernel makes the Ethernet header.
    Out(u32),
    /// Not: it is bigger than this many bytes.
    TooBig(u32),
    /// Not: there is no route now, or none can be asked for here.
    None,
}

/// Source and destination of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ether {
    /// Destination.
    pub dst: MacAddr,
    /// Source.
    pub src: MacAddr,
}

impl Ether {
    /// From the head of a frame; `None` if it is shorter.
    #[inline(always)]
    pub fn read<F: Frame>(frame: &F) -> Option<Self> {
        Some(Self {
            dst: frame.load(0)?,
            src: frame.load(6)?,
        })
    }

    /// Over the head of a frame; `None` if it is shorter.
    #[inline(always)]
    pub fn write<F: Frame>(&self, frame: &mut F) -> Option<()> {
        frame.store(0, self.dst)?;
        frame.store(6, self.src)
    }
}

/// Where the Ethernet payload begins.
pub const ETHER_BYTES: usize = 14;

/// Where the EtherType is.
pub const ETHERTYPE_AT: usize = 12;

/// EtherTypes that are looked at; whatever else, tagged frames (0x8100, 0x88a8) among it, is passed.
pub mod ethertype {
    /// RFC 826.
    pub const ARP: [u8; 2] = [0x08, 0x06];
    /// RFC 894.
    pub const IPV4: [u8; 2] = [0x08, 0x00];
    /// RFC 2464.
    pub const IPV6: [u8; 2] = [0x86, 0xdd];
}
