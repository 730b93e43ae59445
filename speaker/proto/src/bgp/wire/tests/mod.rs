//! What is written is what is read, what a peer gets wrong is judged as the RFCs say, and no bytes make the reader panic.

mod announcements;
mod attributes;
mod damage;
mod framing;
mod notifications;
mod opens;
mod packing;

use super::*;
use crate::bgp::message::Update;
use crate::bgp::route::Prefix;

/// An IPv4 and IPv6 session with a peer in another AS, both of today.
fn context() -> Context {
    Context {
        has_four_byte_as: true,
        is_ebgp: true,
        families: BTreeSet::from(Family::ALL),
    }
}

fn prefix(text: &str) -> Prefix {
    let (ip, length) = text.split_once('/').expect("a prefix has a slash");
    Prefix::of(ip.parse().unwrap(), length.parse().unwrap())
}

/// What a whole message says.
fn read(bytes: &[u8], context: &Context) -> Result<Message, Notification> {
    let frame = Frame::of(bytes)?.expect("the bytes are one message");
    decode(frame, context)
}

fn read_update(bytes: &[u8], context: &Context) -> Update {
    match read(bytes, context) {
        Ok(Message::Update(update)) => update,
        other => panic!("{other:?}"),
    }
}
