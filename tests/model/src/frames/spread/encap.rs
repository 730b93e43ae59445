//! Packets for a VIP that come from another segment in one of a member's, and those that cannot go there.

use super::*;
use speaker_ebpf::abi::{EndValue, FarKey, FarValue, Tunnelled};

pub(super) fn cases() -> Vec<Case> {
    let (v4, v6) = ends();
    vec![
        came("what came in a member's packet comes out", v4)
            .given(receiving)
            .taken_out(20),
        came("what came in a member's packet comes out, IPv6", v6)
            .given(receiving)
            .taken_out(40),
        came("what came from another segment is spread no further", v4)
            .given(|tables| {
                receiving(tables);
                one(tables);
            })
            .taken_out(20),
        came("in a packet of no member's it stays", v4)
            .given(|tables| {
                receiving(tables);
                tables.ends.remove(&Addr::from(sender(true)));
            })
            .tunnelled(Tunnelled::Stranger),
        came("to no address of this node's it stays, IPv6", v6)
            .given(|tables| {
                receiving(tables);
                tables.ends.remove(&Addr::from(receiver(false)));
            })
            .tunnelled(Tunnelled::Stranger),
        came("other packets in packets are nothing to us", v4).given(|tables| {
            receiving(tables);
            tables.ends.remove(&Addr::from(IpAddr::from(VIP4)));
        }),
        Case::new("without a route to its node a packet stays", syn(v4))
            .given(sending)
            .unspread(Steered::NoTarget)
            .tunnelled(Tunnelled::NoWay),
        Case::new("without a route to its node a packet stays, IPv6", syn(v6))
            .given(sending)
            .unspread(Steered::NoTarget)
            .tunnelled(Tunnelled::NoWay),
        Case::new(
            "a node elsewhere gets nothing by a row of the segment",
            syn(v4),
        )
        .given(|tables| {
            sending(tables);
            spread(tables, row(), GONE, GONE);
        })
        .unspread(Steered::NoTarget),
    ]
}

/// A packet that opens a connection, in one of the same family.
fn came(name: &'static str, ends: Ends) -> Case {
    let inner = syn(ends);
    let is_v4 = inner[12] == 8;
    let mut frame = inner[..14].to_vec();
    let length = (inner.len() - 14) as u16;
    match (sender(is_v4), receiver(is_v4)) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let [high, low] = (length + 20).to_be_bytes();
            // Nobody looks at the sum of a header that is thrown away.
            frame.extend([0x45, 0, high, low, 0, 0, 0x40, 0, 64, 4, 0, 0]);
            frame.extend(from.octets());
            frame.extend(to.octets());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let [high, low] = length.to_be_bytes();
            frame.extend([0x60, 0, 0, 0, high, low, 41, 64]);
            frame.extend(from.octets());
            frame.extend(to.octets());
        }
        (from, to) => panic!("from {from} to {to}"),
    }
    frame.extend(&inner[14..]);
    Case::new(name, frame)
}

impl Case {
    /// Without its outer header of so many bytes, and with eight hops left.
    fn taken_out(mut self, bytes: usize) -> Self {
        let (v4, v6) = ends();
        let ends = if bytes == 20 { v4 } else { v6 };
        self.bytes = with(ends, |frame| frame.hops = 8);
        self.tunnelled(Tunnelled::Unwrapped)
    }

    fn tunnelled(mut self, tunnelled: Tunnelled) -> Self {
        self.tunnelled = Some(tunnelled);
        self
    }
}

fn receiving(tables: &mut Tables) {
    for is_v4 in [true, false] {
        let [sender, receiver] = [sender(is_v4), receiver(is_v4)].map(Addr::from);
        tables.ends.insert(sender, EndValue::MEMBER);
        tables.ends.insert(receiver, EndValue::OWN);
    }
    for vip in [IpAddr::from(VIP4), IpAddr::from(VIP6)] {
        tables.ends.insert(vip.into(), EndValue::SERVED);
    }
}

/// Both VIPs go to a node that has no address on the link.
fn sending(tables: &mut Tables) {
    spread(tables, row().beyond(true), GONE, GONE);
    for (family, is_v4) in [(4, true), (6, false)] {
        let node = GONE.into();
        let [from, to] = [receiver(is_v4), sender(is_v4)].map(Addr::from);
        let key = FarKey { node, family };
        tables.far.insert(key, FarValue { from, to });
    }
}

fn sender(is_v4: bool) -> IpAddr {
    if is_v4 {
        Ipv4Addr::new(198, 51, 100, 12).into()
    } else {
        Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x12).into()
    }
}

fn receiver(is_v4: bool) -> IpAddr {
    if is_v4 {
        Ipv4Addr::new(192, 0, 2, 11).into()
    } else {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x11).into()
    }
}
