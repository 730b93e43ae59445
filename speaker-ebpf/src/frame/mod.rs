//! A frame as the hooks show it: loads and stores at offsets, nothing beyond its end.

use bytemuck::Pod;

/// One received Ethernet frame. Offsets count from the first byte of the Ethernet header.
pub trait Frame {
    /// The link it came in on.
    fn ifindex(&self) -> u32;

    /// Bytes from the Ethernet header on, also those not yet pulled.
    fn len(&self) -> u32;

    /// Whether a VLAN tag was taken off into metadata: such a frame belongs to another device.
    fn is_tagged(&self) -> bool;

    /// Whether the host is the destination (own address, broadcast or multicast), as far as the hook knows.
    fn is_for_us(&self) -> bool;

    /// Makes the first `len` bytes loadable and writable. `false`: the frame is shorter, or memory is short.
    fn pull(&mut self, len: u32) -> bool;

    /// A copy of the value at `offset`; `None` past the end of what was pulled.
    fn load<T: Pod>(&self, offset: usize) -> Option<T>;

    /// Overwrites the value at `offset`; `None` past the end of what was pulled.
    fn store<T: Pod>(&mut self, offset: usize, value: T) -> Option<()>;

    /// Makes the frame `extra` bytes longer at its end. `false`: no room.
    fn grow(&mut self, extra: u32) -> bool;
}
