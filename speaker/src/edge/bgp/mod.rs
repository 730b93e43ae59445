//! TCP connections to BGP peers.
//!
//! [`Dial`] makes one with everything set that a session wants, in the order in which the kernel wants it; [`Key`] is a password of
//! TCP-MD5 (RFC 2385); [`next_hops`] are the addresses that routes of a connection are announced with; [`Md5Counts`] is what the kernel
//! says of segments with a wrong signature. Nothing here knows of messages, sessions or when to dial. We dial only: no port is listened on.

mod counts;
mod dial;
mod key;
mod next_hops;
mod options;

pub(crate) use counts::Md5Counts;
pub(crate) use dial::{Dial, DialError, Reach};
pub(crate) use key::{Key, KeyError};
pub(crate) use next_hops::next_hops;
pub(crate) use options::change_key;

#[cfg(test)]
mod netns_tests;
