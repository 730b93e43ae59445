//! Fences against a real kernel: what raises one, and what does and does not lower it.

use super::kernel_tests::Node;
use super::*;
use speaker_core::diff::Change;
use speaker_core::tables::{TableChange, Tables, disarm};
use speaker_ebpf::abi::{Entry, MacKey, MemberValue, Mode, VipKey};
use speaker_proto::Mac;
use std::net::IpAddr;

const MEMBER: Mac = Mac([2, 0, 0, 0, 0, 0xbb]);
const SLOT: u32 = 7;

/// A node that answers for its VIP, and a member at the other end of its link.
fn node() -> Node {
    let node = Node::new();
    node.net
        .there
        .run(&format!("ip link set eth0 address {MEMBER}"));
    node
}

/// Tables in which the VIP is answered for and the member is known.
fn serve(node: &Node, dataplane: &Dataplane) -> KernelTables {
    node.serve(dataplane);
    let mut tables = dataplane.tables().unwrap();
    let armed = MemberValue {
        disarmed_until_ns: 0,
    };
    let key = MacKey::new(speaker_ebpf::abi::MacAddr(MEMBER.0));
    let member = TableChange::Member(Change::Put(key, armed));
    tables.apply(&member).unwrap();
    assert!(node.is_answered());
    tables
}

/// The member claims the VIP once.
fn claim(node: &Node) {
    let there = &node.net.there;
    there.run("ip addr add 192.0.2.10/24 dev eth0");
    let done = there.start("arping -c 1 -U -I eth0 192.0.2.10").wait();
    assert!(done.is_ok());
    there.run("ip addr del 192.0.2.10/24 dev eth0");
}

fn fenced(tables: &KernelTables) -> Option<u64> {
    tables.fenced([SLOT]).unwrap().get(&SLOT).copied()
}

fn unfence(tables: &mut KernelTables, generation: u64) {
    tables
        .unfence(&BTreeMap::from([(SLOT, generation)]))
        .unwrap();
}

#[test]
fn l5_2_a_fence_is_lowered_only_as_far_as_its_claims_were_settled() {
    let node = node();
    node.process(AttachMode::Tc, |dataplane, _| {
        let mut tables = serve(&node, dataplane);
        assert_eq!(fenced(&tables), None);
        claim(&node);
        assert_eq!(fenced(&tables), Some(1));
        assert!(!node.is_answered());
        claim(&node);
        unfence(&mut tables, 1);
        assert_eq!(fenced(&tables), Some(2), "a claim in between");
        assert!(!node.is_answered());
        unfence(&mut tables, 3);
        assert_eq!(fenced(&tables), Some(2), "a claim that never was");
        unfence(&mut tables, 2);
        assert_eq!(fenced(&tables), None);
        assert!(node.is_answered());
        unfence(&mut tables, 1);
        assert_eq!(fenced(&tables), None, "settled long ago");
    });
}

#[test]
fn l4_an_entry_that_is_rewritten_keeps_its_fence() {
    let node = node();
    node.process(AttachMode::Tc, |dataplane, _| {
        let mut tables = serve(&node, dataplane);
        claim(&node);
        let key = VipKey::new("192.0.2.10".parse::<IpAddr>().unwrap().into(), node.ifindex);
        for (mode, epoch) in [(Mode::Known, 0), (Mode::Draining, 2), (Mode::Answer, 3)] {
            let entry = Entry::new(mode, epoch, SLOT);
            let change = TableChange::Vip(Change::Put(key, entry));
            tables.apply(&change).unwrap();
        }
        assert_eq!(fenced(&tables), Some(1));
        assert!(!node.is_answered());
        unfence(&mut tables, 1);
        assert!(node.is_answered());
    });
}

#[test]
fn l5_2_a_fence_whose_record_was_lost_is_found() {
    let node = node();
    node.process(AttachMode::Tc, |dataplane, _| {
        let tables = serve(&node, dataplane);
        // Nobody reads the ring.
        claim(&node);
        let mut looks = speaker_core::fence::Looks::default();
        let view: Tables = tables.read().unwrap();
        let mut look = || {
            let looked = looks.next(&view);
            let fenced = tables.fenced(looked.values().copied()).unwrap();
            looks.seen(&looked, &fenced)
        };
        assert_eq!(look(), [], "its claim may still be on the way");
        let found = look();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].slot, found[0].generation, found[0].claimant),
            (SLOT, 1, None)
        );
    });
}

#[test]
fn l5_3_a_member_that_is_disarmed_raises_no_fence_until_its_time_is_over() {
    let node = node();
    node.process(AttachMode::Tc, |dataplane, _| {
        let mut tables = serve(&node, dataplane);
        let have = tables.read().unwrap();
        tables
            .apply(&disarm(&have, MEMBER, u64::MAX).unwrap())
            .unwrap();
        claim(&node);
        assert_eq!(fenced(&tables), None);
        assert!(node.is_answered());
        let passed = MemberValue {
            disarmed_until_ns: 1,
        };
        let key = MacKey::new(speaker_ebpf::abi::MacAddr(MEMBER.0));
        let change = TableChange::Member(Change::Put(key, passed));
        tables.apply(&change).unwrap();
        claim(&node);
        assert_eq!(fenced(&tables), Some(1));
    });
}
