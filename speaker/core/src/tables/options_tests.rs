//! Tables of options, for any plan: sound at every write, as few writes as there are differences, and bounded.

use super::super::{Memory, TableChange, Tables, changes, wanted};
use super::*;
use crate::link::LinkName;
use crate::local::Local;
use crate::plan::L2Entry;
use proptest::prelude::*;
use speaker_ebpf::abi::Mode;
use speaker_proto::{Epoch, GroupKey};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

fn vip(number: u32) -> Vip {
    Vip(Ipv4Addr::from(0xc000_0200 + number).into())
}

fn key(number: u32) -> VipKey {
    VipKey::new(vip(number).0.into(), 1)
}

fn local() -> Local {
    Local {
        node: "n0".parse().unwrap(),
        ..super::super::tests::local([0])
    }
}

fn set(nets: &[&str]) -> Sources {
    Arc::new(nets.iter().map(|net| net.parse().unwrap()).collect())
}

fn tcp(port: u16) -> (Protocol, u16) {
    (Protocol::Tcp, port)
}

fn options(closed: Closed, ports: &[(u16, &[&str])]) -> VipOptions {
    let ports = ports.iter();
    VipOptions {
        closed,
        is_echo: false,
        ports: ports.map(|(port, nets)| (tcp(*port), set(nets))).collect(),
        disagrees: None,
    }
}

fn plan(rows: &[(u32, VipOptions)], mode: Mode) -> Plan {
    let entry = |number: &u32| L2Entry {
        is_near: false,
        is_routed: false,
        mode,
        epoch: Epoch(1),
        group: GroupKey(vip(*number).0),
    };
    let place = |number: &u32| (vip(*number), LinkName::from("eth0"));
    Plan {
        is_complete: true,
        l2: rows.iter().map(|(n, _)| (place(n), entry(n))).collect(),
        options: rows.iter().map(|(n, o)| (vip(*n), o.clone())).collect(),
        ..Plan::default()
    }
}

#[derive(Default)]
struct World {
    tables: Tables,
    problems: Vec<String>,
}

impl World {
    fn follow(&mut self, plan: &Plan) -> Vec<TableChange> {
        let (none, have) = (BTreeSet::new(), &self.tables);
        let wanted = wanted(plan, &local(), &none, have, &mut Memory::default());
        self.problems = wanted.problems.iter().map(ToString::to_string).collect();
        let changes = changes(&self.tables, &wanted.tables);
        for change in &changes {
            self.tables.apply(change);
            // Large tables are looked at once: looking costs as much as they are large.
            if changes.len() < 100 {
                self.assert_sound();
            }
        }
        self.assert_sound();
        assert_eq!(self.tables, wanted.tables);
        changes
    }

    /// What has options has its row, and a port the prefixes of its set.
    fn assert_sound(&self) {
        let content = &self.tables.options;
        for (key, entry) in &self.tables.vips {
            assert!(!entry.is_opted() || content.rows.contains_key(key));
        }
        let sets: BTreeSet<u32> = content.sources.keys().map(|(_, key)| key.set).collect();
        for service in content.services.values() {
            assert!(service.sources == 0 || sets.contains(&service.sources));
        }
    }

    fn service(&self, number: u32, port: u16) -> Option<u32> {
        let services = &self.tables.options.services;
        let service = services.get(&service(vip(number), tcp(port)));
        service.map(|service| service.sources)
    }
}

#[test]
fn a_vip_without_options_has_no_row_and_its_entry_says_so() {
    let mut world = World::default();
    world.follow(&plan(
        &[(1, options(Closed::Pass, &[(80, &[])]))],
        Mode::Answer,
    ));
    assert_eq!(world.tables.options, Content::default());
    assert!(world.tables.vips[&key(1)].is_ordinary());
}

#[test]
fn a_holder_knows_every_port_of_a_vip_whose_others_are_closed() {
    let mut world = World::default();
    let plan = plan(
        &[(1, options(Closed::Reject, &[(80, &[]), (443, &[])]))],
        Mode::Draining,
    );
    world.follow(&plan);
    assert_eq!(world.service(1, 80), Some(0));
    assert_eq!(world.service(1, 443), Some(0));
    assert_eq!(world.service(1, 22), None);
    assert!(world.tables.vips[&key(1)].is_opted());
    assert_eq!(world.follow(&plan), [], "the same again writes nothing");
}

#[test]
fn who_does_not_hold_a_vip_has_none_of_its_options() {
    let mut world = World::default();
    world.follow(&plan(
        &[(1, options(Closed::Reject, &[(80, &[])]))],
        Mode::Known,
    ));
    assert_eq!(world.tables.options, Content::default());
}

#[test]
fn what_routes_bring_has_its_options() {
    let mut world = World::default();
    let rows = [(1, options(Closed::Reject, &[(80, &[])]))];
    let mut routed = plan(&rows, Mode::Passive);
    let entries = routed.l2.iter();
    let entries = entries.map(|(place, entry)| (place.clone(), entry.routed()));
    routed.l2 = entries.collect();
    world.follow(&routed);
    assert_eq!(world.tables.options.rows.len(), 1);
    assert!(world.service(1, 80).is_some());
}

#[test]
fn equal_sets_are_one_and_have_the_same_number_in_every_process() {
    let nets: &[&str] = &["198.51.100.0/24", "2001:db8::/32"];
    let rows = [
        (1, options(Closed::Pass, &[(80, nets), (81, &[])])),
        (2, options(Closed::Drop, &[(80, nets), (81, &[])])),
    ];
    let (mut world, mut other) = (World::default(), World::default());
    world.follow(&plan(&rows, Mode::Answer));
    other.follow(&plan(&rows[1..], Mode::Answer));
    let number = world.service(1, 80).unwrap();
    assert_ne!(number, 0);
    assert_eq!(world.service(2, 80), Some(number));
    assert_eq!(other.service(2, 80), Some(number));
    assert_eq!(world.service(1, 81), None, "open, and nothing is closed");
    assert_eq!(world.service(2, 81), Some(0));
    let bits: Vec<u32> = world
        .tables
        .options
        .sources
        .keys()
        .map(|(bits, _)| *bits)
        .collect();
    assert_eq!(bits, [SET_BITS + 32, SET_BITS + 96 + 24]);
}

#[test]
fn where_there_is_no_room_ports_stay_open_and_sources_are_the_proxys() {
    let ports: Vec<(u16, &[&str])> = (1..=u16::MAX).map(|port| (port, &[][..])).collect();
    let mut world = World::default();
    let mut second = options(Closed::Drop, &[(80, &["198.51.100.0/24"]), (81, &[])]);
    second.is_echo = true;
    world.follow(&plan(
        &[(1, options(Closed::Reject, &ports)), (2, second)],
        Mode::Answer,
    ));
    let row = world.tables.options.rows[&key(2)];
    assert_eq!(row, OptionValue::new(Closed::Pass, true, false));
    assert_eq!(world.service(2, 80), None);
    let [problem] = &world.problems[..] else {
        panic!("{:?}", world.problems);
    };
    assert!(problem.contains("hg_services"), "{problem}");
}

#[test]
fn a_set_that_does_not_fit_is_left_to_the_proxy() {
    let nets: Vec<String> = (0..SOURCES_MAX)
        .map(|net| format!("{}/32", Ipv4Addr::from(net)))
        .collect();
    let nets: Vec<&str> = nets.iter().map(String::as_str).collect();
    let rows = [
        (1, options(Closed::Drop, &[(80, &nets)])),
        (2, options(Closed::Drop, &[(80, &["198.51.100.0/24"])])),
    ];
    let mut world = World::default();
    world.follow(&plan(&rows, Mode::Answer));
    assert_ne!(world.service(1, 80), Some(0));
    assert_eq!(world.service(2, 80), Some(0), "open, and not closed");
    let row = world.tables.options.rows[&key(2)];
    assert_eq!(row, OptionValue::new(Closed::Drop, false, false));
    assert!(
        world.problems[0].contains("hg_sources"),
        "{:?}",
        world.problems
    );
}

/// Ports, and the sources that each is served to.
type OpenPorts = Vec<(u16, Vec<&'static str>)>;

fn any_plan() -> impl Strategy<Value = Plan> {
    let nets = prop::sample::subsequence(
        &["198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32"],
        0..3,
    );
    let port = (1..4_u16, nets);
    let row = (0..3_u8, any::<bool>(), prop::collection::vec(port, 0..3));
    let rows = prop::collection::btree_map(1..5_u32, row, 0..4);
    (rows, any::<bool>()).prop_map(|(rows, is_known)| {
        let row = |(number, (closed, is_echo, ports)): (u32, (u8, bool, OpenPorts))| {
            let closed = [Closed::Pass, Closed::Reject, Closed::Drop][usize::from(closed)];
            let ports: Vec<(u16, &[&str])> =
                ports.iter().map(|(p, nets)| (*p, &nets[..])).collect();
            let options = VipOptions {
                is_echo,
                ..options(closed, &ports)
            };
            (number, options)
        };
        let rows: Vec<_> = rows.into_iter().map(row).collect();
        plan(&rows, if is_known { Mode::Known } else { Mode::Answer })
    })
}

proptest! {
    #[test]
    fn any_plan_after_any_other_is_sound_at_every_write(
        plans in prop::collection::vec(any_plan(), 1..5),
    ) {
        let mut world = World::default();
        for plan in &plans {
            world.follow(plan);
            prop_assert!(world.follow(plan).is_empty());
        }
    }
}
