//! Any bytes as what a BGP peer sends: what the fuzz target and the replay of its corpus have in common.

use speaker_proto::bgp::wire::{self, Context, Frame, Reader};
use speaker_proto::bgp::{Family, Message, Notification, Open, Update};
use std::collections::BTreeSet;

/// What a peer said: its messages up to the end, or to the error with which the session ends.
pub type Said = Vec<Result<Message, Notification>>;

/// Sessions of all kinds that read differently.
pub fn contexts() -> [Context; 4] {
    [(true, true), (true, false), (false, true), (false, false)].map(
        |(has_four_byte_as, is_ebgp)| Context {
            has_four_byte_as,
            is_ebgp,
            families: BTreeSet::from(Family::ALL),
        },
    )
}

/// Reads a stream in segments of at most so many bytes.
pub fn read(stream: &[u8], segment: usize, context: &Context) -> Said {
    let mut reader = Reader::new();
    let mut said = Vec::new();
    for mut bytes in stream.chunks(segment.max(1)) {
        loop {
            let message = match reader.take(&mut bytes) {
                Ok(None) => break,
                Ok(Some(frame)) => wire::decode(frame, context),
                Err(told) => Err(told),
            };
            let is_end = message.is_err();
            said.push(message);
            if is_end {
                return said;
            }
        }
    }
    said
}

/// Reads a stream in each context, whole and byte by byte, which must come to the same, and holds what is read against what must be
/// true of it.
pub fn exercise(stream: &[u8]) {
    for context in contexts() {
        let said = read(stream, usize::MAX, &context);
        assert_eq!(read(stream, 1, &context), said);
        for message in &said {
            match message {
                Ok(Message::Open(open)) => there_and_back(open, &context),
                Ok(Message::Update(update)) => counted(update, stream.len()),
                Ok(Message::Notification(told)) => legible(told),
                Ok(Message::Keepalive | Message::RouteRefresh(_)) => (),
                Err(told) => sent(told, &context),
            }
        }
    }
}

/// What we would offer in their place is read as what they offered.
fn there_and_back(open: &Open, context: &Context) {
    let mut bytes = Vec::new();
    wire::open(&mut bytes, open);
    let mut expected = open.clone();
    expected.capabilities.others.clear();
    assert_eq!(only(&bytes, context), Ok(Message::Open(expected)));
}

/// Each prefix has at least one byte, and an End-of-RIB is about no prefix.
fn counted(update: &Update, bytes: usize) {
    let prefixes: u32 = update.announced.iter().chain(&update.withdrawn).sum();
    assert!(prefixes as usize <= bytes);
    assert!(update.end_of_rib.is_none() || prefixes == 0, "{update:?}");
}

/// What is told to the operator is one line.
fn legible(told: &Notification) {
    let inner = told.inner();
    for told in [Some(told), inner.as_ref()].into_iter().flatten() {
        let text = told.text().unwrap_or_default();
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
}

/// The error can be told to the peer.
fn sent(told: &Notification, context: &Context) {
    let mut bytes = Vec::new();
    wire::notification(&mut bytes, told);
    let Ok(Message::Notification(received)) = only(&bytes, context) else {
        panic!("{told:?}");
    };
    assert_eq!((received.code, received.subcode), (told.code, told.subcode));
    assert!(told.data.starts_with(&received.data));
}

fn only(bytes: &[u8], context: &Context) -> Result<Message, Notification> {
    let frame = Frame::of(bytes)?.expect("one message was written");
    wire::decode(frame, context)
}
