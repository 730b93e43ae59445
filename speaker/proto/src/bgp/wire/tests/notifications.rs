//! NOTIFICATION and the text in it.

use super::*;

fn there_and_back(sent: &Notification) -> Notification {
    let mut out = Vec::new();
    notification(&mut out, sent);
    match read(&out, &context()) {
        Ok(Message::Notification(received)) => received,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_notification_comes_back_as_it_was() {
    for sent in [
        Notification::new(4, 0),
        Notification::shutdown("bye"),
        Notification::reset("").hard(),
    ] {
        assert_eq!(there_and_back(&sent), sent);
    }
}

#[test]
fn data_beyond_the_end_of_a_message_is_not_sent() {
    let sent = Notification {
        data: vec![1; 4076],
        ..Notification::new(3, 2)
    };
    assert_eq!(there_and_back(&sent).data.len(), 4075);
}

#[test]
fn rfc9003_2_a_text_comes_with_its_length() {
    let shutdown = Notification::shutdown("node drain");
    assert_eq!((shutdown.code, shutdown.subcode), (6, 2));
    assert_eq!(shutdown.data, b"\x0anode drain");
    assert_eq!(shutdown.text().as_deref(), Some("node drain"));
    let reset = Notification::reset("again");
    assert_eq!((reset.code, reset.subcode), (6, 4));
    assert_eq!(reset.text().as_deref(), Some("again"));
}

#[test]
fn rfc8203_2_no_more_than_128_bytes_of_text_are_sent_and_no_character_is_cut() {
    let text = "ä".repeat(100);
    assert_eq!(Notification::shutdown(&text).data.len(), 129);
    let shifted = format!("a{text}");
    assert_eq!(Notification::shutdown(&shifted).data.len(), 128);
    assert_eq!(Notification::shutdown(&shifted).data[0], 127);
}

/// What a shutdown with this data says.
fn text(data: &[u8]) -> Option<String> {
    let received = Notification {
        data: data.to_vec(),
        ..Notification::new(6, 2)
    };
    there_and_back(&received).text()
}

#[test]
fn rfc9003_2_a_text_cannot_forge_a_log() {
    assert_eq!(text(b"\x04a\nb\x1b").as_deref(), Some("a\\nb\\u{1b}"));
    assert_eq!(text(b"\x03a\xffb").as_deref(), Some("0x61ff62"));
    let long = [&[255][..], &[b'x'; 255]].concat();
    assert_eq!(text(&long).map(|text| text.len()), Some(255));
}

#[test]
fn rfc9003_2_a_length_that_does_not_fit_is_no_error() {
    assert_eq!(text(b"\x09abc").as_deref(), Some("abc"));
    assert_eq!(text(b"\x02abc").as_deref(), Some("ab"));
    assert_eq!((text(b"\x00"), text(b"")), (None, None));
}

#[test]
fn only_a_shutdown_or_reset_has_a_text() {
    let other = Notification {
        data: b"\x03abc".to_vec(),
        ..Notification::new(6, 3)
    };
    assert_eq!(other.text(), None);
}

#[test]
fn rfc8538_3_1_a_hard_reset_holds_what_it_is_for() {
    let inner = Notification::shutdown("node drain");
    let hard = inner.clone().hard();
    assert_eq!((hard.code, hard.subcode), (6, 9));
    assert_eq!(hard.data, b"\x06\x02\x0anode drain");
    assert_eq!(there_and_back(&hard).inner(), Some(inner.clone()));
    assert_eq!(
        (inner.inner(), Notification::new(6, 9).inner()),
        (None, None)
    );
}
