//! BGP messages as bytes (RFC 4271 §4): from a stream of a peer's bytes to [`Message`](super::Message)s, and from what is to be said to bytes.
//!
//! What is received is judged while it is read: a message comes out as a value, or as the NOTIFICATION with which the session has to end.
//! Errors in an UPDATE that a session survives (RFC 7606) are counted in the value. Nothing of a received route is kept, so reading one
//! allocates nothing.
//!
//! What is sent is appended to a buffer of the caller's, one whole message at a time, none above [`MESSAGE_BYTES_MAX`].
//!
//! Nothing here knows what a session negotiated beyond what it is told ([`Context`], [`Path`]), or when anything is said.
//! Extended messages (RFC 8654) and additional paths (RFC 7911) are never offered, so neither is read.

mod attribute;
mod bytes;
mod capability;
mod encode;
mod frame;
mod multiprotocol;
mod notification;
mod open;
mod pack;
mod rule;
mod update;

pub use encode::{Refresh, end_of_rib, keepalive, notification, open, route_refresh};
pub use frame::{Frame, Kind, Reader};
pub use pack::{NextHop, Path, announce, withdraw};

use super::message::{Message, Notification};
use super::route::Family;
use std::collections::BTreeSet;

/// The bytes of a message at most, header included (RFC 4271 §4).
pub const MESSAGE_BYTES_MAX: usize = 4096;
/// The bytes of a message's header, and of a message at least (RFC 4271 §4.1).
pub const HEADER_BYTES: usize = 19;

/// What a session agreed on, as far as received bytes mean something else by it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Context {
    /// Both sides sent capability 65: AS numbers in AS_PATH and AGGREGATOR have four bytes (RFC 6793 §4.1).
    pub has_four_byte_as: bool,
    /// The peer is in another AS: attributes that have a meaning within one AS only are passed over.
    pub is_ebgp: bool,
    /// Families that both sides want. Routes of others are not counted.
    pub families: BTreeSet<Family>,
}

/// Reads one message.
///
/// # Errors
/// The NOTIFICATION to send before the session is closed.
pub fn decode(frame: Frame<'_>, context: &Context) -> Result<Message, Notification> {
    let body = frame.body();
    match frame.kind() {
        Kind::Open => open::decode(body).map(Message::Open),
        Kind::Update => update::decode(body, context).map(Message::Update),
        Kind::Notification => notification::decode(body).map(Message::Notification),
        Kind::Keepalive => Ok(Message::Keepalive),
        Kind::RouteRefresh => refresh(frame),
    }
}

/// RFC 7313 §5: a message of the wrong length is returned whole, and a subtype that is not known is ignored. Marks of the beginning
/// and end of a refresh answer a request, and this side makes none.
fn refresh(frame: Frame<'_>) -> Result<Message, Notification> {
    let malformed = || Notification {
        data: frame.bytes().to_vec(),
        ..Notification::new(7, 1)
    };
    let (&[afi_high, afi_low, subtype, safi], filters) =
        frame.body().split_first_chunk().ok_or_else(malformed)?;
    let is_mark = matches!(subtype, 1 | 2);
    if is_mark && !filters.is_empty() {
        return Err(malformed());
    }
    let afi = u16::from_be_bytes([afi_high, afi_low]);
    let family = multiprotocol::family(afi, safi).filter(|_| subtype == 0);
    Ok(Message::RouteRefresh(family))
}

#[cfg(test)]
mod tests;
