//! TCP connections to BGP peers.
//!
//! [`Dial`] makes one with everything set that a session wants, in the order in which the kernel wants it; [`Key`] is a password of
//! TCP-MD5 (RFC 2385); [`next_hops`] are the addresses that routes of a connection are announced with; [`Md5Counts`] is what the kernel
//! says of segments with a wrong signature; [`Routers`] hears and speaks to the routers of a link, and [`neighbours`] are those that the kernel knows there.
//! [`Listener`] is where peers may dial. Where another process has a connection with the peer, of which [`Strangers`] knows, [`Dial`] makes none. Nothing here knows of messages, sessions or when
//! to dial.

mod counts;
mod dial;
mod key;
mod listen;
mod neighbours;
mod next_hops;
mod options;
mod routers;
mod stranger;

pub(crate) use counts::Md5Counts;
pub(crate) use dial::{Dial, DialError, Reach};
pub(crate) use key::Key;
pub(crate) use listen::{Listener, PeerKeys, Post};
pub(crate) use neighbours::neighbours;
pub(crate) use next_hops::{is_on_link, next_hops};
pub(crate) use options::change_key;
pub(crate) use routers::Routers;
pub(crate) use stranger::Strangers;

#[cfg(test)]
mod netns_tests;
