//! What a peer gets wrong has the same end however TCP cuts it: one message of each end, whole, in two segments and byte by byte. Each row
//! of RFC 7606 and of the rules for OPEN is read in pieces in the tests of `wire`.

use super::*;

/// What becomes of a session by a message, and by a valid UPDATE behind it.
#[derive(PartialEq, Eq, Debug)]
enum End {
    /// It stays up: prefixes announced, withdrawn, and messages forgiven.
    Up([u64; 3]),
    /// It is answered with this NOTIFICATION.
    Told(u8, u8, Vec<u8>),
    /// It ends without an answer.
    Silent,
}

fn message_of(code: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xff; 16];
    let count = u16::try_from(19 + body.len()).expect("it is short");
    bytes.extend(count.to_be_bytes());
    bytes.push(code);
    bytes.extend(body);
    bytes
}

/// Of one prefix with these attributes.
fn update(attributes: &[&[u8]]) -> Vec<u8> {
    let attributes = attributes.concat();
    let count = u8::try_from(attributes.len()).expect("they are short");
    message_of(
        2,
        &[&[0, 0, 0, count], &*attributes, &[24, 203, 0, 113]].concat(),
    )
}

fn open_of(body: &[u8]) -> Vec<u8> {
    message_of(1, body)
}

/// The end of a session in a state, of which the peer says this in these segments.
fn end(state: State, segments: &[&[u8]]) -> End {
    let mut one = One::at(settings(), state);
    one.did();
    let mut did = Vec::new();
    for segment in segments {
        did.extend(one.input(Input::Received(Side::Dialled, segment.to_vec())));
    }
    let status = one.status();
    let notified = did
        .iter()
        .any(|did| matches!(did, Did::Notified(Side::Dialled, _, _)));
    let closed = did.contains(&Did::Closed(Side::Dialled));
    assert_eq!(status.state == State::Established, !closed, "{did:?}");
    match (closed, notified) {
        (true, true) => {
            let (_, said) = status.last_sent.expect("it was sent");
            End::Told(said.code, said.subcode, said.data)
        }
        (true, false) => End::Silent,
        (false, _) => {
            let counters = status.counters;
            let of_v4 = [counters.announced[0], counters.withdrawn[0]];
            End::Up([of_v4[0], of_v4[1], counters.forgiven])
        }
    }
}

/// In which state, what is said, and the end.
fn hostile() -> Vec<(State, Vec<u8>, End)> {
    let told = |code, subcode| End::Told(code, subcode, Vec::new());
    let up = |bytes, end| (State::Established, bytes, End::Up(end));
    let ends = |bytes, end| (State::Established, bytes, end);
    let greets = |body: &[u8], end| (State::OpenSent, open_of(body), end);
    let mut marker = message_of(4, &[]);
    marker[15] = 0xfe;
    let twice: &[u8] = &[0x80, 15, 3, 0, 2, 1];
    let short_refresh = message_of(5, &[0, 1, 0]);
    vec![
        up(update(&[ORIGIN, AS_PATH, NEXT_HOP]), [2, 0, 0]),
        up(update(&[&[0x40, 1, 1, 3], AS_PATH, NEXT_HOP]), [1, 1, 1]),
        up(update(&[ORIGIN, &[0x40, 2, 2, 2, 0], NEXT_HOP]), [1, 1, 1]),
        up(update(&[ORIGIN, AS_PATH]), [1, 1, 1]),
        up(
            update(&[ORIGIN, AS_PATH, NEXT_HOP, &[0x40, 6, 1, 0]]),
            [2, 0, 1],
        ),
        up(
            update(&[ORIGIN, AS_PATH, NEXT_HOP, &[0xc0, 8, 255]]),
            [1, 1, 1],
        ),
        ends(
            update(&[twice, twice, ORIGIN, AS_PATH, NEXT_HOP]),
            told(3, 1),
        ),
        ends(
            update(&[ORIGIN, AS_PATH, NEXT_HOP, &[0x40, 99, 1, 7]]),
            End::Told(3, 2, vec![0x40, 99, 1, 7]),
        ),
        ends(
            update(&[&[0x80, 15, 2, 0, 2], ORIGIN, AS_PATH, NEXT_HOP]),
            End::Told(3, 9, vec![0x80, 15, 2, 0, 2]),
        ),
        ends(message_of(2, &[0, 0, 0, 0, 33, 1, 2, 3, 4, 5]), told(3, 10)),
        ends(marker, told(1, 1)),
        ends(message_of(4, &[0]), End::Told(1, 2, vec![0, 20])),
        ends(message_of(6, &[]), End::Told(1, 3, vec![6])),
        ends(short_refresh.clone(), End::Told(7, 1, short_refresh)),
        ends(open_of(&OPEN), told(5, 3)),
        ends(message_of(3, &[6, 4]), End::Silent),
        (State::OpenSent, message_of(4, &[]), told(5, 1)),
        greets(
            &[5, 0xfb, 0xf5, 0, 90, 10, 0, 0, 2, 0],
            End::Told(2, 1, vec![0, 4]),
        ),
        greets(&[4, 0, 0, 0, 90, 10, 0, 0, 2, 0], told(2, 2)),
        // Our own AS, where another one was asked for.
        greets(&[4, 0xfb, 0xf4, 0, 90, 10, 0, 0, 2, 0], told(2, 2)),
        greets(&[4, 0xfb, 0xf5, 0, 90, 0, 0, 0, 0, 0], told(2, 3)),
        greets(&[4, 0xfb, 0xf5, 0, 90, 10, 0, 0, 2, 2, 9, 0], told(2, 4)),
        greets(&[4, 0xfb, 0xf5, 0, 1, 10, 0, 0, 2, 0], told(2, 6)),
        greets(&[4, 0xfb, 0xf5, 0, 90, 10, 0, 0, 2, 1], told(2, 0)),
    ]
}

#[test]
fn what_is_wrong_has_the_same_end_wherever_its_segments_end() {
    let next = update(&[ORIGIN, AS_PATH, NEXT_HOP]);
    for (state, bytes, expected) in hostile() {
        let stream = [&*bytes, &next].concat();
        let what = format!("{state:?} {bytes:02x?}");
        assert_eq!(end(state, &[&stream]), expected, "{what}");
        for at in 1..stream.len() {
            let (first, second) = stream.split_at(at);
            assert_eq!(end(state, &[first, second]), expected, "{what} cut at {at}");
        }
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(end(state, &single), expected, "{what} byte by byte");
    }
}

const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
const AS_PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xfb, 0xf5];
const NEXT_HOP: &[u8] = &[0x40, 3, 4, 192, 0, 2, 9];
/// Of AS 64501.
const OPEN: [u8; 10] = [4, 0xfb, 0xf5, 0, 90, 10, 0, 0, 2, 0];
