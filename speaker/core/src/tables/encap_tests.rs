//! Rows for other segments: who is reached, who may send, and what has no room.

use super::super::{TableChange, Tables, changes, wanted};
use super::*;
use crate::diff::Change;
use crate::link::LinkName;
use crate::local::Local;
use crate::plan::{L2Entry, Plan, Steering};
use crate::steering::{Ends, Far, Share, Spread};
use speaker_ebpf::abi::Mode;
use speaker_ebpf::abi::steer::OWN_NODE;
use speaker_proto::{Epoch, GroupKey, Time, Vip};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

const VIP: &str = "192.0.2.10";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

/// This node is `a`; `far` is heard and on no link.
fn overlay() -> Overlay {
    let ends = Ends {
        from: ip("192.0.2.1"),
        to: ip("198.51.100.1"),
    };
    let far = Far {
        v4: Some(ends),
        v6: None,
        is_fit: true,
    };
    Overlay {
        nodes: BTreeMap::from([(name("far"), far)]),
        own: BTreeSet::from([ends.from]),
        members: BTreeSet::from([ends.to]),
        vips: BTreeSet::from([ip(VIP)]),
    }
}

fn local() -> Local {
    Local {
        node: name("a"),
        ..super::super::tests::local([0])
    }
}

fn plan(is_beyond: bool) -> Plan {
    let place = (Vip(ip(VIP)), LinkName::from("eth0"));
    let entry = L2Entry {
        is_near: false,
        is_routed: false,
        mode: Mode::Answer,
        epoch: Epoch(1),
        group: GroupKey(ip(VIP)),
    };
    let weights = [name("a"), name("far")].map(|node| (node, 1));
    let spread = Spread {
        share: Share {
            weights: Arc::new(weights.into()),
            is_by_client: false,
            is_beyond,
        },
        before: Arc::default(),
        until: Time::ms(5),
        followed: 0,
    };
    Plan {
        is_complete: true,
        l2: [(place.clone(), entry)].into_iter().collect(),
        steering: Some(Steering {
            rows: BTreeMap::from([(place, spread)]),
            overlay: Arc::new(overlay()),
            ..Steering::default()
        }),
        ..Plan::default()
    }
}

fn written(plan: &Plan) -> (Tables, Vec<TableChange>) {
    let mut memory = super::super::Memory::default();
    let none = BTreeSet::new();
    let wanted = wanted(plan, &local(), &none, &Tables::default(), &mut memory);
    let changes = changes(&Tables::default(), &wanted.tables);
    (wanted.tables, changes)
}

#[test]
fn a_node_on_another_segment_has_its_slots_and_a_row() {
    let (tables, _) = written(&plan(true));
    let content = &tables.steering;
    assert!(content.targets.is_empty());
    let (key, far) = content.far.first_key_value().unwrap();
    assert_eq!(key.family, 4);
    assert_eq!(IpAddr::from(far.to), ip("198.51.100.1"));
    let slots = content.maglev.values().next().unwrap().iter();
    let named: BTreeSet<u32> = slots.map(|slot| slot.current.into()).collect();
    assert_eq!(named, BTreeSet::from([OWN_NODE.into(), key.node]));
    assert!(content.rows.values().all(|row| row.is_beyond()));
}

#[test]
fn a_node_receives_also_where_it_sends_nothing() {
    let (tables, _) = written(&plan(false));
    let content = &tables.steering;
    assert!(content.far.is_empty());
    let ends = &content.ends;
    let is = |text: &str, kind| ends[&Addr::from(ip(text))].is(kind);
    assert!(is("192.0.2.1", EndValue::OWN));
    assert!(is("198.51.100.1", EndValue::MEMBER));
    assert!(is(VIP, EndValue::SERVED));
    assert_eq!(ends.len(), 3);
}

#[test]
fn a_node_has_its_row_before_any_table_names_it() {
    let (_, changes) = written(&plan(true));
    let at = |is: fn(&TableChange) -> bool| changes.iter().position(is).unwrap();
    let far = at(|change| matches!(change, TableChange::Far(Change::Put(..))));
    let table = at(|change| matches!(change, TableChange::Maglev(Change::Put(..))));
    let row = at(|change| matches!(change, TableChange::Steer(Change::Put(..))));
    let vip = at(|change| matches!(change, TableChange::Vip(Change::Put(..))));
    assert!(far < table && table < row && row < vip);
}

#[test]
fn what_has_no_room_is_counted() {
    let vips = (0..ENDS_MAX).map(|last| IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + last)));
    let crowded = Overlay {
        vips: vips.collect(),
        ..overlay()
    };
    let mut rows = BTreeMap::new();
    assert_eq!(ends(&crowded, &mut rows), 2);
    assert_eq!(rows.len(), ENDS_MAX as usize);
    assert!(rows[&Addr::from(ip("192.0.2.1"))].is(EndValue::OWN));
}
