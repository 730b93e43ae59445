//! Packets: counted if they are for a VIP, passed in any case, never changed.

use super::*;
use speaker_ebpf::model::wire::{NdpWire, packet};

const TCP: u8 = 6;
const HOP_BY_HOP: u8 = 0;
const FRAGMENT: u8 = 44;
const ICMPV6: u8 = 58;

pub(super) fn cases() -> Vec<Case> {
    let (vip4, vip6) = (IpAddr::from(VIP4), IpAddr::from(VIP6));
    let (other4, other6) = (IpAddr::from(CLIENT4), IpAddr::from(CLIENT6));
    let mut cases = headers();
    cases.extend([
        Case::new("a packet for a VIP is counted", to(vip4, TCP, &[0; 20])).traffic(),
        Case::new(
            "a packet for a VIP is counted, IPv6",
            to(vip6, TCP, &[0; 20]),
        )
        .traffic(),
        Case::new(
            "a large packet is counted with all its bytes",
            to(vip4, TCP, &[0; 3000]),
        )
        .traffic(),
        Case::new("draining VIPs take packets", to(vip4, TCP, &[0; 20]))
            .given(draining)
            .traffic(),
        Case::new("another node's VIP takes packets", to(vip6, TCP, &[0; 20]))
            .given(known)
            .traffic(),
        Case::new("lapsed VIPs take packets", to(vip4, TCP, &[0; 20]))
            .given(lapsed)
            .traffic(),
        Case::new(
            "packets are counted long after the agent",
            to(vip4, TCP, &[0; 20]),
        )
        .given(orphaned)
        .traffic(),
        Case::new("another address is not counted", to(other4, TCP, &[0; 20])),
        Case::new(
            "another address is not counted, IPv6",
            to(other6, TCP, &[0; 20]),
        ),
        Case::new(
            "a bit in the filter is not yet a VIP",
            to(vip4, TCP, &[0; 20]),
        )
        .given(not_in_the_table),
        Case::new(
            "a VIP of another link is not counted",
            to(vip6, TCP, &[0; 20]),
        )
        .given(on_another_link),
        Case::new(
            "a slot outside the tables is reported",
            to(vip4, TCP, &[0; 20]),
        )
        .given(|tables| {
            let key = VipKey::new(Addr::from(vip4), LINK);
            tables.put_vip(key, Entry::new(Mode::Answer, 7, 65_536));
        })
        .global(Global::BadEntry),
        Case::new(
            "a packet for another station is not counted",
            packet(STRANGER, CLIENT, vip4, TCP, &[0; 20]),
        )
        .only(Hook::Tc),
        Case::new("an address mapped from the other family is not the VIP", {
            to(IpAddr::from(VIP4.to_ipv6_mapped()), TCP, &[0; 20])
        }),
    ]);
    cases
}

/// Headers that end where the packet does, that end early, and that have others behind them.
fn headers() -> Vec<Case> {
    let (vip4, vip6) = (IpAddr::from(VIP4), IpAddr::from(VIP6));
    vec![
        Case::new("a header alone is enough", to(vip4, TCP, &[])).traffic(),
        Case::new("a header alone is enough, IPv6", to(vip6, 59, &[])).traffic(),
        Case::new(
            "a header that ends early is not counted",
            to(vip4, TCP, &[])[..33].to_vec(),
        ),
        Case::new(
            "a header that ends early is not counted, IPv6",
            to(vip6, TCP, &[])[..53].to_vec(),
        ),
        Case::new("a fragment is counted", fragment4()).traffic(),
        Case::new(
            "a fragment is counted, IPv6",
            to(vip6, FRAGMENT, &[ICMPV6; 32]),
        )
        .traffic(),
        Case::new("an echo request is counted", to(vip6, ICMPV6, &[128; 16])).traffic(),
        Case::new(
            "a solicitation behind an extension header is just a packet",
            behind(HOP_BY_HOP, &[ICMPV6, 0, 1, 4, 0, 0, 0, 0]),
        )
        .traffic(),
        Case::new(
            "a solicitation in a fragment is just a packet",
            behind(FRAGMENT, &[ICMPV6, 0, 0, 1, 0, 0, 0, 9]),
        )
        .traffic(),
    ]
}

fn to(dst: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    packet(OWN, CLIENT, dst, protocol, payload)
}

fn fragment4() -> Vec<u8> {
    let mut bytes = packet(OWN, CLIENT, IpAddr::from(VIP4), TCP, &[0; 64]);
    bytes[20..22].copy_from_slice(&[0x20, 0xb9]);
    bytes
}

/// A unicast solicitation with a header between it and its IPv6 header.
fn behind(header: u8, bytes: &[u8]) -> Vec<u8> {
    let probe = NdpWire::probe((CLIENT, CLIENT6), (OWN, VIP6)).bytes();
    let payload = [bytes, &probe[54..]].concat();
    packet(OWN, CLIENT, IpAddr::from(VIP6), header, &payload)
}
