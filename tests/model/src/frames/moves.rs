//! Packets for a VIP that moves (L6.2): to whom they go, byte for byte.

use super::*;
use speaker_ebpf::model::flow::FlowWire;
use std::net::SocketAddr;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = giving();
    cases.extend(taking());
    cases.extend(fragments());
    cases.extend(errors());
    cases.extend(headers());
    cases.extend(staying());
    cases
}

fn giving() -> Vec<Case> {
    let (v4, v6) = ends();
    vec![
        Case::new("a connection that opens goes to the taker", syn(v4))
            .given(giver)
            .sent_on(Passage::Forwarded, MEMBER)
            .remembering(1),
        Case::new("a connection that opens goes to the taker, IPv6", syn(v6))
            .given(giver)
            .sent_on(Passage::Forwarded, MEMBER)
            .remembering(1),
        Case::new("an old connection stays with the giver", segment(v4))
            .given(giver)
            .stays(Passage::Kept),
        Case::new("an old connection stays with the giver, IPv6", segment(v6))
            .given(giver)
            .stays(Passage::Kept),
        Case::new("a datagram goes to the taker", datagram(v4))
            .given(giver)
            .sent_on(Passage::Forwarded, MEMBER),
        Case::new("a datagram goes to the taker, IPv6", datagram(v6))
            .given(giver)
            .sent_on(Passage::Forwarded, MEMBER),
        Case::new(
            "a connection with options goes to the taker",
            with(v4, |frame| frame.options = vec![1; 40]),
        )
        .given(giver)
        .sent_on(Passage::Forwarded, MEMBER)
        .remembering(1),
    ]
}

fn taking() -> Vec<Case> {
    let (v4, v6) = ends();
    vec![
        Case::new("a connection that opens stays with the taker", syn(v4))
            .given(taker)
            .stays(Passage::Kept)
            .remembering(1),
        Case::new(
            "a connection that opens stays with the taker, IPv6",
            syn(v6),
        )
        .given(taker)
        .stays(Passage::Kept)
        .remembering(1),
        Case::new("an old connection goes back", segment(v4))
            .given(taker)
            .sent_on(Passage::Returned, MEMBER),
        Case::new("an old connection goes back, IPv6", segment(v6))
            .given(taker)
            .sent_on(Passage::Returned, MEMBER),
        Case::new("a datagram stays with the taker", datagram(v4))
            .given(taker)
            .stays(Passage::Kept),
        Case::new(
            "what the giver sends stays",
            FlowWire::segment(OWN, (MEMBER, v4.0.1), v4.1).bytes(),
        )
        .given(taker)
        .stays(Passage::FromMember)
        .remembering(1),
        Case::new(
            "what another member sends stays",
            FlowWire::segment(OWN, (DISARMED, v6.0.1), v6.1).bytes(),
        )
        .given(taker)
        .stays(Passage::FromMember),
    ]
}

fn fragments() -> Vec<Case> {
    let (v4, v6) = ends();
    let first = |frame: &mut FlowWire| {
        frame.flags = 0x10;
        frame.fragment = Some((0x4711, 0, true));
    };
    let later = |frame: &mut FlowWire| frame.fragment = Some((0x4711, 9, false));
    vec![
        Case::new(
            "a first fragment of an old segment goes back",
            with(v4, first),
        )
        .given(taker)
        .sent_on(Passage::Returned, MEMBER)
        .remembering(1),
        Case::new(
            "a first fragment of an old segment goes back, IPv6",
            with(v6, first),
        )
        .given(taker)
        .sent_on(Passage::Returned, MEMBER)
        .remembering(1),
        Case::new("a later fragment alone stays", with(v4, later))
            .given(taker)
            .stays(Passage::Kept),
        Case::new("a later fragment alone stays, IPv6", with(v6, later))
            .given(taker)
            .stays(Passage::Kept),
        Case::new(
            "a later fragment of a datagram goes to the taker",
            with(v6, |frame| {
                frame.protocol = 17;
                later(frame);
            }),
        )
        .given(giver)
        .sent_on(Passage::Forwarded, MEMBER),
    ]
}

fn errors() -> Vec<Case> {
    let (v4, v6) = ends();
    let error = |ends: Ends, router: IpAddr| {
        FlowWire::segment(OWN, ends.0, ends.1)
            .error((CLIENT, router))
            .bytes()
    };
    let (router4, router6) = (IpAddr::from(CLIENT4), IpAddr::from(CLIENT6));
    vec![
        Case::new(
            "an error about an old connection goes back",
            error(v4, router4),
        )
        .given(taker)
        .sent_on(Passage::Returned, MEMBER),
        Case::new(
            "an error about an old connection goes back, IPv6",
            error(v6, router6),
        )
        .given(taker)
        .sent_on(Passage::Returned, MEMBER),
        Case::new(
            "an error about an old connection stays with the giver",
            error(v4, router4),
        )
        .given(giver)
        .stays(Passage::Kept),
        Case::new(
            "an error that ends early is unclear",
            error(v4, router4)[..60].to_vec(),
        )
        .given(taker)
        .stays(Passage::Unclear),
    ]
}

fn headers() -> Vec<Case> {
    let (_, v6) = ends();
    vec![
        Case::new(
            "a connection behind options goes to the taker, IPv6",
            with(v6, |frame| {
                frame.first_option = Some(0);
                frame.options = vec![6, 0, 1, 4, 0, 0, 0, 0];
            }),
        )
        .given(giver)
        .sent_on(Passage::Forwarded, MEMBER)
        .remembering(1),
        Case::new(
            "an authentication header hides a connection",
            with(v6, |frame| {
                frame.first_option = Some(51);
                frame.options = vec![6, 0, 1, 4, 0, 0, 0, 0];
            }),
        )
        .given(giver)
        .stays(Passage::Unclear),
    ]
}

fn staying() -> Vec<Case> {
    let (v4, v6) = ends();
    let over = |tables: &mut Tables| {
        draining(tables);
        moves(
            tables,
            MoveValue::new(Some(MacAddr(MEMBER)), None, NOW - MINUTE, NOW - SECOND),
        );
    };
    let after_the_deadline = |tables: &mut Tables| {
        giver(tables);
        lapsed(tables);
    };
    vec![
        Case::new("the window is over", syn(v4))
            .given(over)
            .stays(Passage::TooLate),
        Case::new("the giver's deadline has passed", syn(v6))
            .given(after_the_deadline)
            .stays(Passage::TooLate),
        Case::new(
            "a packet on its last hop stays",
            with(v4, |frame| frame.hops = 1),
        )
        .given(giver)
        .stays(Passage::NoHops)
        .remembering(1),
        Case::new(
            "a packet on its last hop stays, IPv6",
            with(v6, |frame| frame.hops = 1),
        )
        .given(giver)
        .stays(Passage::NoHops)
        .remembering(1),
        Case::new(
            "a broadcast packet is left alone",
            with(v4, |frame| frame.to = EVERYBODY),
        )
        .given(giver)
        .traffic(),
        Case::new("an entry without a row of its move", syn(v4))
            .given(|tables| {
                giver(tables);
                tables.moves.clear();
            })
            .traffic(),
        Case::new(
            "a TCP header that ends early is unclear",
            syn(v4)[..46].to_vec(),
        )
        .given(giver)
        .stays(Passage::Unclear),
    ]
}

type Ends = (([u8; 6], SocketAddr), SocketAddr);

fn ends() -> (Ends, Ends) {
    let of = |client: IpAddr, vip: IpAddr| {
        (
            (CLIENT, SocketAddr::new(client, 40_000)),
            SocketAddr::new(vip, 443),
        )
    };
    let far4 = Ipv4Addr::new(198, 51, 100, 7);
    let far6 = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 7);
    (of(far4.into(), VIP4.into()), of(far6.into(), VIP6.into()))
}

fn syn(ends: Ends) -> Vec<u8> {
    with(ends, |_| {})
}

fn with(ends: Ends, change: impl FnOnce(&mut FlowWire)) -> Vec<u8> {
    FlowWire::syn(OWN, ends.0, ends.1).with(change).bytes()
}

fn segment(ends: Ends) -> Vec<u8> {
    FlowWire::segment(OWN, ends.0, ends.1).bytes()
}

fn datagram(ends: Ends) -> Vec<u8> {
    FlowWire::datagram(OWN, ends.0, ends.1).bytes()
}
