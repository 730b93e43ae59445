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

/// What a whole message says; the same in two segments, wherever the first ends, and byte by byte. So every wrong message of these tests is
/// told in pieces too.
fn read(bytes: &[u8], context: &Context) -> Result<Message, Notification> {
    let whole = read_whole(bytes, context);
    assert!(whole.is_ok() || bytes.len() <= CUTS_MAX);
    let mut next = Vec::new();
    end_of_rib(&mut next, Family::V6);
    for at in (1..bytes.len()).take(CUTS_MAX) {
        let (first, second) = bytes.split_at(at);
        let told = read_pieces(&[first, second, &next], context);
        assert_told(&told, &whole, bytes, at);
    }
    let stream = [bytes, &next].concat();
    let told = read_pieces(&stream.chunks(1).collect::<Vec<_>>(), context);
    assert_told(&told, &whole, bytes, 1);
    whole
}

/// As [`read`] in one piece alone, for tests of very many or very long messages.
fn read_whole(bytes: &[u8], context: &Context) -> Result<Message, Notification> {
    let frame = Frame::of(bytes)?.expect("the bytes are one message");
    decode(frame, context)
}

/// What is read of a stream that comes in these segments, up to what ends the session.
fn read_pieces(pieces: &[&[u8]], context: &Context) -> Vec<Result<Message, Notification>> {
    let mut reader = Reader::new();
    let mut told = Vec::new();
    for mut piece in pieces.iter().copied() {
        loop {
            let read = match reader.take(&mut piece) {
                Ok(None) => break,
                Ok(Some(frame)) => decode(frame, context),
                Err(notification) => Err(notification),
            };
            told.push(read);
            if told.last().is_some_and(Result::is_err) {
                return told;
            }
        }
    }
    told
}

/// That a message came out as it does in one piece, and after one that the session survives the next one too.
fn assert_told(
    told: &[Result<Message, Notification>],
    whole: &Result<Message, Notification>,
    bytes: &[u8],
    at: usize,
) {
    let what = || format!("{bytes:02x?} in pieces of {at}");
    assert_eq!(told.first(), Some(whole), "{}", what());
    assert_eq!(told.len(), if whole.is_ok() { 2 } else { 1 }, "{}", what());
    if let Some(next) = told.get(1) {
        assert!(matches!(next, Ok(Message::Update(_))), "{}", what());
    }
}

/// So many bytes of a message are tried as the end of a segment: all of one that is wrong, and the beginning of a long one that is right.
const CUTS_MAX: usize = 128;

fn read_update(bytes: &[u8], context: &Context) -> Update {
    update_of(read(bytes, context))
}

fn update_of(read: Result<Message, Notification>) -> Update {
    match read {
        Ok(Message::Update(update)) => update,
        other => panic!("{other:?}"),
    }
}
