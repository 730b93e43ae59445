//! What holds for any frame whatever, as one function: replayed over a committed corpus by the tests, called by the fuzzer.

use super::{
    ReplyKind, Tables, VecFrame, check_forward, encap, options, parse_reply, run_accounted,
};
use crate::abi::options::{Closed, SET_BITS};
use crate::abi::steer::CHUNK_SLOTS;
use crate::abi::{
    Addr, Bucket, Chunk, EndValue, Entry, FarKey, FarValue, LinkValue, MacAddr, MacKey,
    MemberValue, Mode, MoveValue, OptionValue, ServiceKey, ServiceValue, SourceKey, SteerValue,
    TargetKey, TargetValue, Tunnelled, VipKey,
};
use crate::logic::Verdict;
use core::net::IpAddr;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Runs one frame through the logic and asserts what must hold. The first two bytes choose the tables and how the frame is
/// handed over; the rest is the frame.
///
/// Panics if the logic reads or writes where it may not, changes a frame that it passes or drops, sends a reply that is not
/// well-formed or not from us, sends a packet on other than one hop further and to whom it may, or spreads one otherwise than as
/// [`super::account`] says. Where VIPs are spread the frame comes a second time, when it is remembered.
pub fn fuzz_frame(data: &[u8]) {
    let [choice, pulled, bytes @ ..] = data else {
        return;
    };
    let mut tables = tables(*choice);
    if *pulled % 4 == 1 {
        put_options(&mut tables);
    }
    let mut frame = VecFrame::new(LINK, bytes);
    frame.linear = frame.linear.min(usize::from(*pulled).max(14));
    frame.room = u32::from(*choice >> 4);
    frame.is_tagged = *choice == 0xff;
    if is_spread(*choice) {
        frame.room += u32::from(*pulled & 1) * 48;
        frame.route = (*pulled & 2 == 0).then_some((LINK + 1, u32::from(*pulled) * 8));
        frame.segment_bytes = u32::from(*pulled & 4) * 100;
    }
    let again = frame.clone();
    once(frame, &mut tables);
    if is_spread(*choice) {
        tables.now_ns += SECOND + 1;
        once(again, &mut tables);
    }
}

fn once(mut frame: VecFrame, tables: &mut Tables) {
    let before = frame.bytes.clone();
    let spoilt = tables.passing(Tunnelled::Lost);
    let is_by_option = options::deed(tables, &frame).is_some();
    match run_accounted(&mut frame, tables) {
        // As it should be: that was looked at.
        Verdict::Next
            if encap::taken_out(tables, frame.ifindex, &before)
                .is_some_and(|inner| inner.is_some()) => {}
        Verdict::Drop if tables.passing(Tunnelled::Lost) > spoilt => {}
        Verdict::Reply if frame.bytes[12] == 8 && frame.bytes[13] == 0 => {}
        Verdict::Reply if frame.bytes[12] == 0x86 && frame.bytes.get(54) == Some(&2) => {}
        Verdict::Depart(link) => assert_eq!(link, LINK + 1),
        Verdict::Next | Verdict::Mark | Verdict::Drop => {
            assert_eq!(
                frame.bytes, before,
                "a frame that is not answered was changed"
            );
        }
        // Held to the account already, byte for byte.
        Verdict::Reply if is_by_option => {}
        Verdict::Reply => answered(&before, &frame.bytes),
        Verdict::Forward => {
            let hop = check_forward(&before, &frame.bytes)
                .unwrap_or_else(|why| panic!("sent on wrongly: {why}"));
            assert_eq!((hop.from, hop.to), (OWN.0, MEMBER.0), "sent on elsewhere");
            assert_ne!(before[6..12], MEMBER.0, "sent on again");
        }
    }
}

fn answered(before: &[u8], after: &[u8]) {
    let reply = match parse_reply(after) {
        Ok(reply) => reply,
        Err(why) => panic!("a malformed reply: {why}"),
    };
    assert_eq!(MacAddr(reply.from), OWN, "a reply in another's name");
    assert!(
        reply.mac.is_none_or(|mac| mac == OWN.0),
        "a reply for another"
    );
    let vips = [VIP4, VIP6].map(IpAddr::from);
    assert!(vips.contains(&reply.vip), "a reply for {}", reply.vip);
    match reply.kind {
        ReplyKind::Arp { target } => {
            assert_eq!(
                reply.to, target,
                "a reply sent elsewhere than to whom it speaks"
            );
            assert_eq!(before.len(), after.len(), "an ARP reply of another length");
            assert_eq!(before[42..], after[42..], "padding was changed");
        }
        ReplyKind::Advertisement { .. } => {
            assert!(
                after.len() <= before.len().max(86),
                "an advertisement that is too long"
            );
        }
    }
}

/// Whether the VIPs are spread.
const fn is_spread(choice: u8) -> bool {
    choice >> 6 == 1
}

/// Two VIPs on one link in the mode, and with the deadline, that `choice` has bits for. One of two ways to answer, and draining, are of
/// VIPs that move, unless it says that they are spread.
fn tables(choice: u8) -> Tables {
    let mode = match choice & 3 {
        0 | 1 => Mode::Answer,
        2 => Mode::Draining,
        _ if choice & 0x20 == 0 => Mode::Known,
        _ => Mode::Passive,
    };
    let mut tables = Tables {
        now_ns: NOW,
        node_deadline_ns: match (choice & 4 == 0, is_spread(choice)) {
            (true, false) => NOW + 1,
            (true, true) => NOW + 2 * SECOND,
            (false, _) => NOW,
        },
        ..Tables::default()
    };
    tables.links.insert(LINK, LinkValue::new(OWN));
    tables.members.insert(
        MacKey::new(MEMBER),
        MemberValue {
            disarmed_until_ns: if choice & 8 == 0 { 0 } else { NOW + 1 },
        },
    );
    for (slot, vip) in [VIP4, VIP6].into_iter().enumerate() {
        let key = VipKey::new(vip, LINK);
        let entry = Entry::new(mode, 7, slot as u32);
        tables.put_vip(key, entry.routed(mode == Mode::Passive));
        match choice & 3 {
            1 => tables.put_move(key, MoveValue::new(None, Some(MEMBER), NOW, NOW + 1)),
            2 => tables.put_move(key, MoveValue::new(Some(MEMBER), None, NOW, NOW + 1)),
            _ => {}
        }
        if is_spread(choice) {
            let until = if choice & 0x10 == 0 {
                NOW + SECOND
            } else {
                NOW
            };
            let row = SteerValue::new(0, until).by_client(choice & 0x20 != 0);
            let row = row.beyond(choice & 8 != 0);
            tables.put_steering(key, row);
        }
    }
    if is_spread(choice) {
        tables.maglev.clone_from(&MAGLEV);
        let key = TargetKey {
            ifindex: LINK,
            node: 1,
        };
        let mac = MEMBER;
        tables.targets.insert(key, TargetValue { mac, pad: [0; 2] });
        for (family, [from, to]) in [(4, NODES4), (6, NODES6)] {
            tables
                .far
                .insert(FarKey { node: 2, family }, FarValue { from, to });
        }
    }
    for [own, other] in [NODES4, NODES6] {
        tables.ends.insert(own, EndValue::OWN);
        tables.ends.insert(other, EndValue::MEMBER);
    }
    tables
        .ends
        .extend([VIP4, VIP6].map(|vip| (vip, EndValue::SERVED)));
    tables
}

/// Both VIPs refuse what is for no port, answer pings, and serve one port to some and one to all.
fn put_options(tables: &mut Tables) {
    for vip in [VIP4, VIP6] {
        let value = OptionValue::new(Closed::Reject, true, true);
        tables.put_options(VipKey::new(vip, LINK), value);
        for (protocol, sources) in [(6, 0), (17, 9)] {
            let key = ServiceKey::new(vip, protocol, [0, 80]);
            tables.services.insert(key, ServiceValue { sources });
        }
    }
    let addr = Addr::v4([192, 0, 2, 0]);
    let key = SourceKey { set: 9, addr };
    tables.sources.insert((SET_BITS + 96 + 25, key));
}

/// Slots of this node, of another, and of one that has no address on the link, in every order.
static MAGLEV: LazyLock<BTreeMap<u32, Chunk>> = LazyLock::new(|| {
    let mut tables = Tables::default();
    tables.put_table(0, |slot| {
        let [current, previous] =
            [slot % CHUNK_SLOTS, slot / CHUNK_SLOTS].map(|of| (of % 3) as u16);
        Bucket { current, previous }
    });
    tables.maglev
});

const LINK: u32 = 3;
const NOW: u64 = 1_000_000_000_000;
const SECOND: u64 = 1_000_000_000;
const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
const MEMBER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x22]);
/// Addresses of this node and of one on another segment.
const NODES4: [Addr; 2] = [Addr::v4([192, 0, 2, 11]), Addr::v4([198, 51, 100, 12])];
const NODES6: [Addr; 2] = [
    Addr::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11]),
    Addr::v6([0x20, 1, 0xd, 0xb8, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12]),
];
const VIP4: Addr = Addr::v4([192, 0, 2, 10]);
const VIP6: Addr = Addr::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10]);
