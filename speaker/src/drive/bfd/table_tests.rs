//! Which packet is whose, and who is due, without sockets.

use super::*;
use speaker_proto::Span;
use speaker_proto::bfd::{Diagnostic, State};
use std::num::NonZeroU8;

const NOW: Time = Time::ms(1000);
const LINK: u32 = 7;

fn key(last: u8) -> SessionKey {
    SessionKey {
        peer: [192, 0, 2, last].into(),
        local: None,
        interface: None,
        vrf: None,
        is_multihop: false,
    }
}

fn id(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn heard(last: u8) -> Heard {
    Heard {
        length: 24,
        from: [192, 0, 2, last].into(),
        to: [192, 0, 2, 100].into(),
        ifindex: LINK,
        ttl: 255,
    }
}

fn packet(yours: Option<NonZeroU32>) -> Packet {
    Packet {
        state: State::Down,
        diagnostic: Diagnostic::NONE,
        is_poll: false,
        is_final: false,
        is_independent: false,
        is_demand: false,
        multiplier: NonZeroU8::MIN,
        mine: id(99),
        yours,
        transmit: Span::s(1),
        receive: Span::s(1),
        echo: Span::ms(0),
    }
}

fn table(keys: &[SessionKey]) -> Table<()> {
    let mut table = Table::new();
    for (number, key) in (1..).zip(keys) {
        let session = Session::new(NOW, id(number), Settings::default(), 1);
        table.insert(NOW, key.clone(), session, ());
    }
    table
}

fn whose(table: &Table<()>, heard: Heard, yours: Option<NonZeroU32>) -> Result<u32, Discard> {
    let whose = table.whose(&heard, &key(1).range(), &packet(yours));
    whose.map(NonZeroU32::get)
}

#[test]
fn rfc5880_6_3_a_discriminator_alone_says_whose_a_packet_is() {
    let table = table(&[key(1), key(2)]);
    assert_eq!(whose(&table, heard(1), Some(id(2))), Ok(2));
    assert_eq!(whose(&table, heard(9), Some(id(2))), Ok(2));
    let unknown = whose(&table, heard(1), Some(id(3)));
    assert_eq!(unknown, Err(Discard::UnknownSession));
}

#[test]
fn rfc5881_3_a_first_packet_is_known_by_where_it_comes_from() {
    let mut with_local = key(1);
    with_local.local = Some([192, 0, 2, 100].into());
    let mut with_link = key(1);
    with_link.interface = Some("eth0".into());
    let mut elsewhere = key(1);
    elsewhere.is_multihop = true;
    let mut of_vrf = key(1);
    of_vrf.vrf = Some("red".into());
    let mut table = table(&[key(1), with_local, with_link, elsewhere, of_vrf]);
    assert_eq!(
        whose(&table, heard(1), None),
        Ok(2),
        "its link is not known"
    );
    for entry in table.entries() {
        entry.ifindex = entry.key.interface.as_ref().map(|_| LINK);
    }
    assert_eq!(whose(&table, heard(1), None), Ok(3));
    let other_link = Heard {
        ifindex: 8,
        ..heard(1)
    };
    assert_eq!(whose(&table, other_link, None), Ok(2));
    let other_address = Heard {
        to: [192, 0, 2, 101].into(),
        ..other_link
    };
    assert_eq!(whose(&table, other_address, None), Ok(1));
    assert_eq!(whose(&table, heard(2), None), Err(Discard::UnknownPeer));
}

#[test]
fn rfc5881_5_what_may_have_come_over_a_router_is_not_taken() {
    let mut table = table(&[key(1)]);
    for yours in [None, Some(id(1))] {
        let far = Heard {
            ttl: 254,
            ..heard(1)
        };
        assert_eq!(whose(&table, far, yours), Err(Discard::Ttl));
    }
    let settings = Settings {
        ttl_min: 254,
        ..Settings::default()
    };
    table.input(NOW, id(1), Input::Settings(settings));
    for (ttl, expected) in [(254, Ok(1)), (253, Err(Discard::Ttl))] {
        assert_eq!(whose(&table, Heard { ttl, ..heard(1) }, None), expected);
    }
}

#[test]
fn sessions_are_due_in_order_and_each_only_once() {
    let mut table = table(&[key(1), key(2)]);
    assert_eq!(table.deadline(), Some(NOW));
    let due: Vec<u32> = std::iter::from_fn(|| table.expire(NOW))
        .map(NonZeroU32::get)
        .collect();
    assert_eq!(due, [1, 2]);
    assert!(table.deadline().unwrap() >= NOW + Span::ms(750));
}

#[test]
fn a_session_that_leaves_is_none_for_first_packets_and_gives_way_to_a_new_one() {
    let mut table = table(&[key(1), key(2)]);
    let wanted = BTreeMap::from([(key(2), Settings::default())]);
    table.leave(NOW, &wanted);
    assert_eq!(whose(&table, heard(1), None), Err(Discard::UnknownPeer));
    assert_eq!(whose(&table, heard(1), Some(id(1))), Ok(1));
    assert_eq!(table.wanted().count(), 1);
    table.forget_leaving(&key(1));
    table.forget_leaving(&key(2));
    assert_eq!(table.ids(), [id(2)]);
    let due: Vec<_> = std::iter::from_fn(|| table.expire(NOW)).collect();
    assert_eq!(due, [id(2)], "nothing is left in the order");
}
