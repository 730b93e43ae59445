//! A frame in a vector. What has not been pulled can be neither loaded nor written, as in a socket buffer.

use crate::abi::FarValue;
use crate::frame::flow::Family;
use crate::frame::{ETHER_BYTES, Frame, Way};
use bytemuck::Pod;
use std::vec::Vec;

/// A frame as a hook would show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VecFrame {
    /// The bytes, from the Ethernet header on.
    pub bytes: Vec<u8>,
    /// The link it came in on.
    pub ifindex: u32,
    /// Whether a VLAN tag was taken off.
    pub is_tagged: bool,
    /// Whether the host is the destination.
    pub is_for_us: bool,
    /// How many bytes can be loaded without a pull.
    pub linear: usize,
    /// How many bytes the frame can grow by.
    pub room: u32,
    /// As [`Frame::segment_bytes`].
    pub segment_bytes: u32,
    /// Where packets to other nodes leave: the link, and how big they may be there; `None`: there is no route.
    pub route: Option<(u32, u32)>,
    /// Whether the transport's checksum was never written.
    pub owes_sum: bool,
}

impl VecFrame {
    /// A frame for this host that came in on `ifindex`, all of it at hand.
    pub fn new(ifindex: u32, bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            ifindex,
            is_tagged: false,
            is_for_us: true,
            linear: bytes.len(),
            room: 64,
            segment_bytes: 0,
            route: None,
            owes_sum: false,
        }
    }

    /// The same frame with nothing but the Ethernet header at hand, as some drivers hand it over.
    pub fn scattered(self) -> Self {
        Self {
            linear: ETHER_BYTES,
            ..self
        }
    }

    fn range(&self, offset: usize, size: usize) -> Option<core::ops::Range<usize>> {
        let end = offset.checked_add(size)?;
        (end <= self.linear.min(self.bytes.len())).then_some(offset..end)
    }
}

impl Frame for VecFrame {
    fn ifindex(&self) -> u32 {
        self.ifindex
    }

    fn len(&self) -> u32 {
        self.bytes.len() as u32
    }

    fn is_tagged(&self) -> bool {
        self.is_tagged
    }

    fn is_for_us(&self) -> bool {
        self.is_for_us
    }

    fn pull(&mut self, len: u32) -> bool {
        let is_there = len as usize <= self.bytes.len();
        if is_there {
            self.linear = self.linear.max(len as usize);
        }
        is_there
    }

    fn load<T: Pod>(&self, offset: usize) -> Option<T> {
        assert_header_field::<T>();
        let range = self.range(offset, size_of::<T>())?;
        Some(bytemuck::pod_read_unaligned(&self.bytes[range]))
    }

    fn store<T: Pod>(&mut self, offset: usize, value: T) -> Option<()> {
        assert_header_field::<T>();
        let range = self.range(offset, size_of::<T>())?;
        self.bytes[range].copy_from_slice(bytemuck::bytes_of(&value));
        Some(())
    }

    fn grow(&mut self, extra: u32) -> bool {
        if extra > self.room {
            return false;
        }
        self.room -= extra;
        let len = self.bytes.len() + extra as usize;
        self.bytes.resize(len, 0);
        true
    }

    fn segment_bytes(&self) -> u32 {
        self.segment_bytes
    }

    fn way(&self, _: Family, _: &FarValue, bytes: u32) -> Way {
        match self.route {
            Some((_, most)) if bytes > most => Way::TooBig(most),
            Some((ifindex, _)) => Way::Out(ifindex),
            None => Way::None,
        }
    }

    fn open(&mut self, bytes: u32, _: Option<Family>) -> bool {
        if bytes > self.room {
            return false;
        }
        self.room -= bytes;
        let gap = core::iter::repeat_n(0, bytes as usize);
        self.bytes.splice(ETHER_BYTES..ETHER_BYTES, gap);
        self.linear += bytes as usize;
        true
    }

    fn close(&mut self, bytes: u32) -> bool {
        let end = ETHER_BYTES + bytes as usize;
        if end > self.linear.min(self.bytes.len()) {
            return false;
        }
        self.bytes.drain(ETHER_BYTES..end);
        self.linear -= bytes as usize;
        true
    }

    fn cut(&mut self, len: u32) -> bool {
        let is_there = len as usize <= self.bytes.len();
        if is_there {
            self.bytes.truncate(len as usize);
        }
        is_there
    }

    fn resize(&mut self, len: u32) -> bool {
        let extra = len.saturating_sub(self.len());
        if extra > self.room {
            return false;
        }
        self.room -= extra;
        self.bytes.resize(len as usize, 0);
        self.linear = self.bytes.len();
        true
    }

    fn owes_sum(&mut self, offset: usize) -> bool {
        let sum: Option<u16> = self.load(offset);
        if let Some(sum) = sum.filter(|_| !self.owes_sum) {
            self.store(offset, sum.wrapping_add(1));
        }
        self.owes_sum
    }
}

/// The kernel side loads and stores these sizes only.
fn assert_header_field<T>() {
    assert!(
        matches!(size_of::<T>(), 1 | 2 | 4 | 6 | 8 | 16),
        "no header field has {} bytes",
        size_of::<T>()
    );
}
