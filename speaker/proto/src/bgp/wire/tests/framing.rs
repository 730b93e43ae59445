//! A stream cut into messages.

use super::*;

/// The header of a message with no more to it.
fn header(count: u16, code: u8) -> Vec<u8> {
    let mut bytes = vec![0xff; 16];
    bytes.extend(count.to_be_bytes());
    bytes.push(code);
    bytes
}

fn stream() -> Vec<u8> {
    let mut out = Vec::new();
    keepalive(&mut out);
    end_of_rib(&mut out, Family::V6);
    notification(&mut out, &Notification::shutdown("maintenance"));
    keepalive(&mut out);
    // As long as a message may be.
    let long = Notification {
        data: vec![7; 5000],
        ..Notification::new(6, 4)
    };
    notification(&mut out, &long);
    route_refresh(&mut out, Family::V4, Refresh::Request);
    out
}

#[test]
fn a_stream_is_cut_into_messages_wherever_its_segments_end() {
    let stream = stream();
    let mut whole = Vec::new();
    let mut left = stream.as_slice();
    let mut reader = Reader::new();
    while let Some(frame) = reader.take(&mut left).unwrap() {
        whole.push(frame.bytes().to_vec());
    }
    assert_eq!(whole.concat(), stream);
    let lengths: Vec<_> = whole.iter().map(Vec::len).collect();
    assert_eq!(lengths, [19, 29, 33, 19, 4096, 23]);
    for size in [1, 2, 18, 19, 20, 100, 4095, 4097] {
        let mut reader = Reader::new();
        let mut messages = Vec::new();
        for mut segment in stream.chunks(size) {
            while let Some(frame) = reader.take(&mut segment).unwrap() {
                messages.push(frame.bytes().to_vec());
            }
            assert!(segment.is_empty());
        }
        assert_eq!(messages, whole, "in segments of {size}");
    }
}

/// What a reader says of these bytes, and that it says so again.
fn error(bytes: &[u8]) -> Notification {
    let mut reader = Reader::default();
    let said = reader.take(&mut &*bytes).unwrap_err();
    assert_eq!(reader.take(&mut stream().as_slice()), Err(said.clone()));
    assert_eq!(Frame::of(bytes), Err(said.clone()));
    assert_eq!(read(bytes, &context()), Err(said.clone()));
    said
}

#[test]
fn rfc4271_6_1_a_marker_that_is_not_all_ones_is_told() {
    for at in 0..16 {
        let mut bytes = header(19, 4);
        bytes[at] = 0xfe;
        assert_eq!(error(&bytes), Notification::new(1, 1));
    }
}

#[test]
fn rfc4271_6_1_a_length_that_no_message_of_the_type_has_is_told() {
    let lengths = [
        (0, 4),
        (18, 4),
        (20, 4),
        (4097, 2),
        (65535, 2),
        (28, 1),
        (22, 2),
        (20, 3),
    ];
    for (count, code) in lengths {
        let told = Notification {
            data: u16::to_be_bytes(count).to_vec(),
            ..Notification::new(1, 2)
        };
        assert_eq!(error(&header(count, code)), told, "{count}");
    }
}

#[test]
fn rfc4271_6_1_a_type_that_is_none_is_told() {
    for code in [0, 6, 128, 255] {
        let told = Notification {
            data: vec![code],
            ..Notification::new(1, 3)
        };
        assert_eq!(error(&header(19, code)), told);
    }
}

#[test]
fn a_frame_is_exactly_one_message() {
    let mut bytes = header(19, 4);
    assert_eq!(Frame::of(&bytes[..18]), Ok(None));
    let frame = Frame::of(&bytes).unwrap().unwrap();
    assert_eq!((frame.kind(), frame.body()), (Kind::Keepalive, &[][..]));
    assert_eq!(decode(frame, &context()), Ok(Message::Keepalive));
    bytes.push(0xff);
    assert_eq!(Frame::of(&bytes), Ok(None));
}

#[test]
fn rfc2918_3_a_request_names_its_family() {
    for family in Family::ALL {
        let mut out = Vec::new();
        route_refresh(&mut out, family, Refresh::Request);
        assert_eq!(
            read(&out, &context()),
            Ok(Message::RouteRefresh(Some(family)))
        );
        assert_eq!(out.len(), 23);
    }
}

fn refresh_of(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::message(&mut out, Kind::RouteRefresh, |out| out.extend(body));
    out
}

#[test]
fn rfc7313_5_marks_unknown_subtypes_and_unknown_families_ask_for_nothing() {
    let mut marks = Vec::new();
    route_refresh(&mut marks, Family::V6, Refresh::Begin);
    assert_eq!(marks, refresh_of(&[0, 2, 1, 1]));
    for body in [
        [0, 2, 1, 1],
        [0, 1, 2, 1],
        [0, 1, 3, 1],
        [0, 1, 0, 128],
        [0, 25, 0, 1],
    ] {
        assert_eq!(
            read(&refresh_of(&body), &context()),
            Ok(Message::RouteRefresh(None))
        );
    }
}

#[test]
fn rfc7313_5_a_refresh_of_wrong_length_is_returned_whole() {
    for body in [&[][..], &[0, 1, 0], &[0, 1, 1, 1, 0], &[0, 1, 2, 1, 0]] {
        let bytes = refresh_of(body);
        let told = Notification {
            data: bytes.clone(),
            ..Notification::new(7, 1)
        };
        assert_eq!(read(&bytes, &context()), Err(told));
    }
    // A request may have filters behind it (RFC 5291 §4), of which nothing is known here.
    let filtered = refresh_of(&[0, 1, 0, 1, 1, 64, 0, 0]);
    assert_eq!(
        read(&filtered, &context()),
        Ok(Message::RouteRefresh(Some(Family::V4)))
    );
}
