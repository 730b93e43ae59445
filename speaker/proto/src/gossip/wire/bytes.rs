//! Reading and writing of fixed-width big-endian fields, without a way to panic.

use super::Malformed;
use crate::member::{Boot, NodeId};
use std::net::IpAddr;

/// What is left to read of a body.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn bool(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::Value),
        }
    }

    /// A byte that counts what follows.
    pub(super) fn count(&mut self, max: usize) -> Result<usize, Malformed> {
        let count = usize::from(self.u8()?);
        (count <= max).then_some(count).ok_or(Malformed::Value)
    }

    /// Text behind a byte with its length.
    pub(super) fn text(&mut self) -> Result<&'a str, Malformed> {
        let len = usize::from(self.u8()?);
        std::str::from_utf8(self.take(len)?).map_err(|_| Malformed::Value)
    }

    pub(super) fn node(&mut self) -> Result<NodeId, Malformed> {
        self.u64().map(NodeId)
    }

    pub(super) fn boot(&mut self) -> Result<Boot, Malformed> {
        self.array().map(Boot)
    }

    pub(super) fn ip(&mut self) -> Result<IpAddr, Malformed> {
        match self.u8()? {
            4 => self.array::<4>().map(IpAddr::from),
            6 => self.array::<16>().map(IpAddr::from),
            _ => Err(Malformed::Value),
        }
    }
}

/// A body or blob that is being written.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// One that begins with this byte.
    pub(super) fn new(first: u8) -> Self {
        Self(vec![first])
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.u8(value.into());
    }

    /// How many follow, of `len` no more than `max`, which is below 256.
    pub(super) fn count(&mut self, len: usize, max: usize) {
        let count = u8::try_from(len.min(max)).expect("counts on the wire are below 256");
        self.u8(count);
    }

    /// Text behind its length; no more than 255 bytes of it.
    pub(super) fn text(&mut self, text: &str) {
        let mut end = text.len().min(255);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.count(end, 255);
        self.bytes(&text.as_bytes()[..end]);
    }

    pub(super) fn node(&mut self, node: NodeId) {
        self.u64(node.0);
    }

    pub(super) fn boot(&mut self, boot: Boot) {
        self.bytes(&boot.0);
    }

    pub(super) fn ip(&mut self, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) => {
                self.u8(4);
                self.bytes(&ip.octets());
            }
            IpAddr::V6(ip) => {
                self.u8(6);
                self.bytes(&ip.octets());
            }
        }
    }
}

/// A hash to compare what two members have. Datagrams are authentic, so that it need not resist anybody.
pub(in crate::gossip) fn hash(bytes: &[u8]) -> u64 {
    // FNV-1a, whose high bits are then mixed into the low ones.
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    crate::gossip::observers::mix(fnv)
}
