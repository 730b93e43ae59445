//! BFD's datagrams in and out (RFC 5881 for one hop, RFC 5883 for several).
//!
//! [`Ear`] hears one port of one family with what came beside the packet: to which address, over which link, with which TTL. [`Mouth`] sends
//! the packets of one session from a port of its own. Neither knows what a packet says, nor which session it belongs to.

mod ancillary;
mod ear;
mod mouth;

pub(crate) use ear::{Ear, Heard, Range};
pub(crate) use mouth::{Mouth, Path, ifindex};

/// Packets over one hop come here (RFC 5881 §4).
const PORT: u16 = 3784;
/// Packets over several hops (RFC 5883 §5).
const PORT_MULTIHOP: u16 = 4784;
