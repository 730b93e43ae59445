//! Datagrams, fragments, errors and odd headers: what they belong to, and so to which node they go.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = datagrams();
    cases.extend(fragments());
    cases.extend(errors());
    cases.extend(headers());
    cases
}

fn datagrams() -> Vec<Case> {
    let (v4, v6) = ends();
    let of = |ends, protocol| {
        with(ends, |frame| {
            frame.protocol = protocol;
        })
    };
    let known = |node: u16| {
        move |tables: &mut Tables| {
            two(tables);
            note(tables, Memory::Datagrams, 17, ports(), node, SECOND / 2);
        }
    };
    vec![
        Case::new("a datagram is remembered", of(v4, 17))
            .given(two)
            .spread_to(NEW)
            .noting([0, 1, 0]),
        Case::new("a datagram is remembered, IPv6", of(v6, 17))
            .given(one)
            .spread_to(NEW)
            .noting([0, 1, 0]),
        Case::new("SCTP has ports", of(v4, 132))
            .given(one)
            .spread_to(NEW)
            .noting([0, 1, 0]),
        Case::new("UDP-Lite has ports, IPv6", of(v6, 136))
            .given(one)
            .spread_to(NEW)
            .noting([0, 1, 0]),
        Case::new("a datagram of a known flow stays", of(v4, 17))
            .given(known(OLD))
            .spread_to(OLD)
            .noting([0, 2, 0]),
        Case::new("unless its node is gone", of(v4, 17))
            .given(known(GONE))
            .spread_to(NEW)
            .noting([0, 2, 0]),
        Case::new("an echo request goes by its addresses", echo(v4, 1, 8))
            .given(two)
            .spread_to(NEW),
        Case::new(
            "an echo request goes by its addresses, IPv6",
            echo(v6, 58, 128),
        )
        .given(two)
        .spread_to(NEW),
        Case::new("so does what is not known", of(v4, 50))
            .given(two)
            .spread_to(NEW),
    ]
}

fn fragments() -> Vec<Case> {
    let (v4, v6) = ends();
    let first = |frame: &mut FlowWire| {
        frame.protocol = 17;
        frame.fragment = Some((IDENT, 0, true));
    };
    let later = |frame: &mut FlowWire| {
        frame.protocol = 17;
        frame.fragment = Some((IDENT, 9, false));
    };
    let after = |age: u64| {
        move |tables: &mut Tables| {
            one(tables);
            for ident in idents() {
                note(tables, Memory::Fragments, 17, ident, OLD, age);
            }
        }
    };
    vec![
        Case::new("a first fragment is remembered", with(v4, first))
            .given(one)
            .spread_to(NEW)
            .noting([0, 1, 1]),
        Case::new("a first fragment is remembered, IPv6", with(v6, first))
            .given(one)
            .spread_to(NEW)
            .noting([0, 1, 1]),
        Case::new("a first fragment of a segment is remembered", {
            with(v4, |frame| frame.fragment = Some((IDENT, 0, true)))
        })
        .given(one)
        .spread_to(NEW)
        .noting([0, 0, 1]),
        Case::new("a later fragment follows", with(v4, later))
            .given(after(SECOND))
            .spread_to(OLD)
            .noting([0, 0, 4]),
        Case::new("a later fragment follows, IPv6", with(v6, later))
            .given(after(SECOND))
            .spread_to(OLD)
            .noting([0, 0, 4]),
        Case::new("a later fragment that is late is lost", with(v4, later))
            .given(after(3 * SECOND))
            .lost()
            .noting([0, 0, 4]),
        Case::new("a later fragment alone is lost", with(v4, later))
            .given(one)
            .lost(),
        Case::new("a later fragment alone is lost, IPv6", with(v6, later))
            .given(one)
            .lost(),
        Case::new("a fragment without ports goes by its addresses", {
            with(v6, |frame| {
                frame.protocol = 50;
                frame.fragment = Some((IDENT, 9, false));
            })
        })
        .given(one)
        .spread_to(NEW),
    ]
}

fn errors() -> Vec<Case> {
    let (v4, v6) = ends();
    let error = |ends: Ends, protocol| {
        let router = match ends.1.ip() {
            IpAddr::V4(_) => IpAddr::from(CLIENT4),
            IpAddr::V6(_) => IpAddr::from(CLIENT6),
        };
        let packet = FlowWire::segment(OWN, ends.0, ends.1);
        let packet = packet.with(|frame| frame.protocol = protocol);
        packet.error((CLIENT, router)).bytes()
    };
    vec![
        Case::new("an error goes where its connection is", error(v4, 6))
            .given(two)
            .spread_to(OLD),
        Case::new("an error goes where its connection is, IPv6", error(v6, 6))
            .given(two)
            .spread_to(OLD),
        Case::new("an error goes where its flow is", error(v4, 17))
            .given(|tables| {
                one(tables);
                note(tables, Memory::Datagrams, 17, ports(), OLD, 9 * SECOND);
            })
            .spread_to(OLD)
            .noting([0, 2, 0]),
        Case::new("an error goes where its flow would be, IPv6", error(v6, 17))
            .given(one)
            .spread_to(NEW),
        Case::new("an error goes by the addresses of what has no ports", {
            error(v4, 47)
        })
        .given(one)
        .spread_to(NEW),
        Case::new("an error that ends early stays", {
            error(v4, 6)[..60].to_vec()
        })
        .given(one)
        .unspread(Steered::Unclear),
    ]
}

fn headers() -> Vec<Case> {
    let (v4, v6) = ends();
    let behind = |first: u8, bytes: &'static [u8]| {
        with(v6, |frame| {
            frame.first_option = Some(first);
            frame.options = bytes.to_vec();
        })
    };
    vec![
        Case::new("a spread packet has its options skipped", {
            with(v4, |frame| frame.options = vec![1; 40])
        })
        .given(one)
        .spread_to(NEW),
        Case::new("a spread packet has its extension headers walked", {
            behind(
                0,
                &[
                    60, 0, 1, 4, 0, 0, 0, 0, 43, 0, 1, 4, 0, 0, 0, 0, 6, 1, 0, 0, 0, 0, 0, 0, 0, 0,
                    0, 0, 0, 0, 0, 0,
                ],
            )
        })
        .given(one)
        .spread_to(NEW),
        Case::new("five extension headers are too many", {
            behind(
                0,
                &[
                    60, 0, 1, 4, 0, 0, 0, 0, 60, 0, 1, 4, 0, 0, 0, 0, 60, 0, 1, 4, 0, 0, 0, 0, 60,
                    0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0,
                ],
            )
        })
        .given(one)
        .unspread(Steered::Unclear),
        Case::new("an extension header may be too long", {
            let mut long = behind(60, &[0; 48]);
            long[54..56].copy_from_slice(&[6, 5]);
            long
        })
        .given(one)
        .unspread(Steered::Unclear),
        Case::new("an extension header may end beyond the frame", {
            behind(60, &[6, 255, 0, 0, 0, 0, 0, 0])
        })
        .given(one)
        .unspread(Steered::Unclear),
        Case::new("a security header hides a packet", {
            behind(51, &[6, 0, 1, 4, 0, 0, 0, 0])
        })
        .given(one)
        .unspread(Steered::Unclear),
        Case::new("a header that is no IPv4 header", {
            let mut short = syn(v4);
            short[14] = 0x44;
            short
        })
        .given(one)
        .unspread(Steered::Unclear),
    ]
}

/// Numbers of fragments as they lie in packets: two bytes of IPv4, four of IPv6.
fn idents() -> [u32; 2] {
    let [high, low] = IDENT.to_be_bytes();
    [[high, low, 0, 0], [0, 0, high, low]].map(u32::from_ne_bytes)
}

fn echo(ends: Ends, protocol: u8, kind: u8) -> Vec<u8> {
    with(ends, |frame| {
        frame.protocol = protocol;
        frame.payload = Some([&[kind][..], &[0; 15]].concat());
    })
}
