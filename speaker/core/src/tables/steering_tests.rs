//! Tables of steering, for any plan: sound at every write, and as few writes as there are differences.

use super::super::{TableChange, Tables, changes, wanted};
use super::*;
use crate::diff::Change;
use crate::plan::L2Entry;
use crate::steering::{Neighbourhood, Share};
use proptest::prelude::*;
use speaker_ebpf::abi::Mode;
use speaker_ebpf::abi::steer::MAGLEV_SLOTS;
use speaker_proto::{Epoch, GroupKey, Time, Vip};
use std::net::Ipv4Addr;

fn name(number: u32) -> NodeName {
    format!("n{number}").parse().unwrap()
}

fn vip(number: u32) -> Vip {
    Vip(Ipv4Addr::from(0xc000_0200 + number).into())
}

fn key(number: u32) -> VipKey {
    VipKey::new(vip(number).0.into(), 1)
}

fn local() -> Local {
    Local {
        node: name(0),
        ..super::super::tests::local([0])
    }
}

fn weights(nodes: &[u32]) -> Arc<Weights> {
    Arc::new(nodes.iter().map(|node| (name(*node), 1)).collect())
}

fn spread(nodes: &[u32], before: &[&[u32]]) -> Spread {
    let before = before.iter().map(|nodes| match nodes {
        [] => Before::Stack,
        [..] => Before::Nodes(weights(nodes)),
    });
    Spread {
        share: Share {
            weights: weights(nodes),
            is_by_client: false,
            is_beyond: false,
        },
        before: Arc::new(before.collect()),
        until: Time::ms(5),
        followed: 0,
    }
}

/// VIPs in mode answer, and those that are spread; nodes 1 to 4 are neighbours.
fn plan(rows: &[(u32, Spread)]) -> Plan {
    plan_with(rows, &[1, 2, 3, 4], Mode::Answer)
}

fn plan_with(rows: &[(u32, Spread)], neighbours: &[u32], mode: Mode) -> Plan {
    let entry = |number: &u32| L2Entry {
        is_near: false,
        is_routed: false,
        mode,
        epoch: Epoch(1),
        group: GroupKey(vip(*number).0),
    };
    let place = |number: &u32| (vip(*number), LinkName::from("eth0"));
    let mac = |node: &u32| Mac([2, 0, 0, 0, 0, u8::try_from(*node).unwrap()]);
    let nodes = neighbours.iter();
    let hood = Neighbourhood {
        nodes: nodes
            .map(|node| (("eth0".into(), name(*node)), mac(node)))
            .collect(),
        bars: BTreeMap::new(),
    };
    Plan {
        is_complete: true,
        l2: rows.iter().map(|(n, _)| (place(n), entry(n))).collect(),
        steering: Some(Steering {
            rows: rows.iter().map(|(n, s)| (place(n), s.clone())).collect(),
            unspread: BTreeMap::new(),
            neighbourhood: Arc::new(hood),
            overlay: Arc::default(),
        }),
        ..Plan::default()
    }
}

/// Tables that follow plans as the deciding thread makes them.
#[derive(Default)]
struct World {
    tables: Tables,
    memory: Memory,
    problems: Vec<String>,
    /// The nodes that each table names.
    named: BTreeMap<Maglev, BTreeSet<u16>>,
}

impl World {
    fn follow(&mut self, plan: &Plan) -> Vec<TableChange> {
        let wanted = wanted(
            plan,
            &local(),
            &BTreeSet::new(),
            &self.tables,
            &mut self.memory,
        );
        self.problems = wanted.problems.iter().map(ToString::to_string).collect();
        let changes = changes(&self.tables, &wanted.tables);
        for change in &changes {
            if let TableChange::Steer(Change::Put(number, _)) = change {
                let is_free = named(&self.tables).all(|(_, row, _)| row != *number);
                assert!(is_free, "row {number} is in use");
            }
            self.tables.apply(change);
            if let TableChange::Maglev(Change::Put(_, table)) = change {
                assert_eq!(table.len(), MAGLEV_SLOTS as usize);
                let nodes = table.iter().flat_map(|b| [b.current, b.earlier()]);
                self.named.insert(Arc::clone(table), nodes.collect());
            }
            self.assert_sound();
        }
        assert_eq!(self.tables, wanted.tables);
        changes
    }

    /// What is spread has its row, a row its table, a table the address of each node that it names.
    fn assert_sound(&self) {
        let content = &self.tables.steering;
        for (key, entry) in &self.tables.vips {
            assert!(
                !entry.is_steered() || content.rows.contains_key(&entry.row()),
                "{key:?}"
            );
        }
        for (key, _, row) in named(&self.tables) {
            for node in &self.named[&content.maglev[&row.table()]] {
                let target = TargetKey {
                    ifindex: key.ifindex(),
                    node: u32::from(*node),
                };
                let is_there = *node == OWN_NODE || content.targets.contains_key(&target);
                assert!(is_there, "no address of {node}");
            }
        }
    }

    fn table(&self, number: u32) -> &Maglev {
        &self.tables.steering.maglev[&self.row(number).table()]
    }

    fn row(&self, number: u32) -> &SteerValue {
        let row = self.tables.vips[&key(number)].row();
        &self.tables.steering.rows[&row]
    }

    fn number(&self, node: u32) -> u16 {
        self.memory.numbers()[&name(node)]
    }
}

fn is_table(change: &TableChange) -> bool {
    matches!(change, TableChange::Maglev(Change::Put(..)))
}

#[test]
fn nothing_is_written_where_nothing_is_spread() {
    let mut world = World::default();
    world.follow(&plan(&[]));
    assert_eq!(world.tables.steering, Content::default());
}

#[test]
fn vips_with_the_same_nodes_share_a_table() {
    let mut world = World::default();
    let same = || spread(&[0, 1, 2], &[]);
    world.follow(&plan(&[
        (1, same()),
        (2, same()),
        (3, spread(&[0, 3], &[])),
    ]));
    assert_eq!(world.row(1), world.row(2));
    assert_ne!(world.row(1).table(), world.row(3).table());
    assert_eq!(world.tables.steering.rows.len(), 2, "and a row");
    assert_eq!(world.tables.steering.maglev.len(), 2);
    assert!(world.tables.vips[&key(1)].is_steered());
}

#[test]
fn the_same_plan_again_writes_nothing() {
    let mut world = World::default();
    let plan = plan(&[(1, spread(&[0, 1], &[&[0]])), (2, spread(&[2], &[&[]]))]);
    world.follow(&plan);
    assert_eq!(world.follow(&plan), []);
}

#[test]
fn a_new_process_gives_the_same_numbers_and_writes_nothing() {
    let mut world = World::default();
    let plan = plan(&[(1, spread(&[0, 1, 2, 3], &[&[0, 1]]))]);
    world.follow(&plan);
    world.memory = Memory::default();
    assert_eq!(world.follow(&plan), []);
}

/// Also those from before the process began, in slots of any history; what was in doubt stays so, for what is remembered counts.
#[test]
fn a_new_process_goes_on_with_whose_connections_there_are() {
    for before in [
        &[&[0, 1, 2, 3][..]][..],
        &[&[0, 1], &[0, 1, 3]],
        &[&[0, 3], &[]],
        &[],
    ] {
        let mut world = World::default();
        world.follow(&plan(&[(1, spread(&[0, 1], before))]));
        let last = Arc::clone(world.table(1));
        for (now, is_open) in [(Time::ms(4), true), (Time::ms(5), false)] {
            let left = left(&world.tables, now);
            let mut again = spread(&[0, 1], &[]);
            again.before = Arc::clone(&left[&(vip(1), 1)]);
            let mut next = World::default();
            next.follow(&plan(&[(1, again)]));
            for (last, next) in last.iter().zip(next.table(1).iter()) {
                assert_eq!(next.current, last.current);
                assert_eq!(next.is_in_doubt(), last.is_in_doubt());
                let earlier = if is_open {
                    last.earlier()
                } else {
                    last.current
                };
                assert_eq!(next.earlier(), earlier);
            }
        }
    }
}

#[test]
fn until_it_is_known_who_is_there_everything_stays() {
    let mut world = World::default();
    world.follow(&plan(&[(1, spread(&[0, 1], &[]))]));
    world.memory = Memory::default();
    let unknown = Plan {
        steering: None,
        ..plan(&[(1, spread(&[0], &[]))])
    };
    assert_eq!(world.follow(&unknown), []);
}

#[test]
fn a_change_of_nodes_writes_a_new_table_and_then_the_row() {
    let mut world = World::default();
    world.follow(&plan(&[(1, spread(&[0, 1], &[]))]));
    let old = world.row(1).table();
    let changes = world.follow(&plan(&[(1, spread(&[0, 1, 2], &[&[0, 1]]))]));
    let new = world.row(1).table();
    assert_ne!(old, new, "a table in use was overwritten");
    let table = changes.iter().position(is_table).unwrap();
    let is_row = |change: &TableChange| matches!(change, TableChange::Steer(_));
    let row = changes.iter().position(is_row).unwrap();
    assert!(table < row);
    assert_eq!(world.tables.steering.maglev.len(), 1);
}

/// A packet that is on its way through the program may still see the row that its VIP had.
#[test]
fn a_row_that_was_given_up_is_not_the_next_to_be_written() {
    let mut world = World::default();
    let mut before = None;
    for nodes in [&[0, 1][..], &[0, 2], &[0, 3], &[0, 4]] {
        world.follow(&plan(&[(1, spread(nodes, &[]))]));
        let row = world.tables.vips[&key(1)].row();
        assert_ne!(before.replace(row), Some(row));
        assert_eq!(world.tables.steering.rows.len(), 1);
    }
    assert_eq!(before, Some(4));
}

#[test]
fn more_rows_than_there_may_be_leave_a_vip_to_the_stack_until_they_are_given_up() {
    let mut world = World::default();
    let odd = |row: u16| SteerValue::new(0, u64::from(row) + 1);
    let all = (1..=ROWS_MAX as u16).map(|row| (row, odd(row)));
    world.tables.steering.rows = all.collect();
    let plan = plan(&[(1, spread(&[0, 1], &[]))]);
    world.follow(&plan);
    assert!(!world.tables.vips[&key(1)].is_steered());
    let full = "tables: Node n0: hg_spread: full: it has room for 16384, 1 more are not served";
    assert_eq!(world.problems, [full]);
    world.follow(&plan);
    assert!(world.tables.vips[&key(1)].is_steered());
    assert!(world.problems.is_empty());
}

#[test]
fn a_link_with_another_hardware_address_has_another_row() {
    let mut world = World::default();
    let plan = plan(&[(1, spread(&[0, 1], &[]))]);
    world.follow(&plan);
    let (row, own) = (world.tables.vips[&key(1)].row(), world.row(1).own());
    let mut local = local();
    let link = local.links.values_mut().next().unwrap();
    assert_eq!(own, MacAddr(link.mac.0));
    link.mac = Mac([2, 0, 0, 0, 0, 99]);
    let none = BTreeSet::new();
    let wanted = wanted(&plan, &local, &none, &world.tables, &mut world.memory);
    assert_ne!(wanted.tables.vips[&key(1)].row(), row);
    let rows: Vec<_> = wanted.tables.steering.rows.values().collect();
    assert_eq!(rows[0].own(), MacAddr([2, 0, 0, 0, 0, 99]));
}

#[test]
fn slots_that_change_hands_name_who_had_them() {
    let mut world = World::default();
    world.follow(&plan(&[(1, spread(&[0, 1], &[]))]));
    let old = Arc::clone(world.table(1));
    world.follow(&plan(&[(1, spread(&[0, 1, 2], &[&[0, 1]]))]));
    let (new, joined) = (Arc::clone(world.table(1)), world.number(2));
    let mut moved = 0;
    for (old, new) in old.iter().zip(new.iter()) {
        if new.current == old.current {
            assert_eq!(new.previous, new.current);
        } else {
            assert_eq!(new.previous, old.current);
            moved += usize::from(new.current == joined);
        }
    }
    let fair = MAGLEV_SLOTS as usize / 3;
    assert!(moved.abs_diff(fair) <= fair / 100, "{moved} slots");
}

#[test]
fn what_the_stack_had_stays_here() {
    let mut world = World::default();
    world.follow(&plan(&[(1, spread(&[0, 1], &[&[]]))]));
    for bucket in world.table(1).iter() {
        assert_eq!(bucket.previous, OWN_NODE);
    }
}

#[test]
fn a_node_that_is_gone_is_nobodys_previous() {
    let mut world = World::default();
    world.follow(&plan(&[(1, spread(&[0, 1, 2], &[]))]));
    let after = spread(&[0, 1], &[&[0, 1, 2]]);
    world.follow(&plan_with(&[(1, after)], &[1], Mode::Answer));
    let ours = [OWN_NODE, world.number(1)];
    for bucket in world.table(1).iter() {
        assert!(ours.contains(&bucket.earlier()), "{bucket:?}");
    }
}

/// It may come back within the window, and then has its slots again: what was opened meanwhile is remembered by then.
#[test]
fn slots_of_a_node_that_is_away_are_in_doubt_and_of_who_has_them_now() {
    let mut world = World::default();
    world.follow(&plan(&[(1, spread(&[0, 1, 2], &[]))]));
    let (before, away) = (Arc::clone(world.table(1)), world.number(2));
    let after = spread(&[0, 1], &[&[0, 1, 2]]);
    world.follow(&plan_with(&[(1, after)], &[1], Mode::Answer));
    for (before, now) in before.iter().zip(world.table(1).iter()) {
        let is_aways = before.current == away;
        let earlier = if is_aways {
            now.current
        } else {
            before.current
        };
        assert_eq!(now.earlier(), earlier);
        assert_eq!(now.is_in_doubt(), now.current != before.current);
    }
}

#[test]
fn further_changes_are_followed_back() {
    let mut world = World::default();
    world.follow(&plan(&[(1, spread(&[0, 1], &[]))]));
    let first = Arc::clone(world.table(1));
    let again = spread(&[0, 1, 2, 3], &[&[0, 1, 2], &[0, 1]]);
    world.follow(&plan(&[(1, spread(&[0, 1, 2], &[&[0, 1]]))]));
    let second = Arc::clone(world.table(1));
    world.follow(&plan(&[(1, again)]));
    for ((first, second), third) in first.iter().zip(second.iter()).zip(world.table(1).iter()) {
        let [now, then, long_ago] = [third, second, first].map(|bucket| bucket.current);
        assert_eq!(third.earlier(), then);
        assert_eq!(third.is_in_doubt(), now != then || now != long_ago);
    }
}

/// Naming the node that had it in between would send to that one whatever was silent since, and naming nobody would forget its flows.
#[test]
fn a_slot_that_came_back_is_in_doubt_and_its_own_nodes() {
    let mut world = World::default();
    world.follow(&plan(&[(1, spread(&[0, 1, 2], &[]))]));
    let joined = world.number(2);
    let between = Arc::clone(world.table(1));
    world.follow(&plan(&[(1, spread(&[0, 1], &[&[0, 1], &[0, 1, 2]]))]));
    let mut came_back = 0;
    for (between, now) in between.iter().zip(world.table(1).iter()) {
        assert_eq!(now.earlier(), now.current);
        assert_eq!(now.is_in_doubt(), now.current != between.current);
        came_back += usize::from(between.current == joined);
    }
    assert!(came_back > 0);
}

#[test]
fn what_does_not_take_packets_has_no_row() {
    let mut world = World::default();
    let rows = [(1, spread(&[0, 1], &[]))];
    world.follow(&plan_with(&rows, &[1], Mode::Known));
    assert_eq!(world.tables.steering, Content::default());
    world.follow(&plan_with(&rows, &[1], Mode::Draining));
    assert_eq!(world.tables.steering.rows.len(), 1);
    world.follow(&plan_with(&rows, &[1], Mode::Known));
    assert_eq!(world.tables.steering, Content::default());
}

#[test]
fn what_routes_bring_has_a_row_whoever_holds_it() {
    for mode in [Mode::Known, Mode::Passive] {
        let mut world = World::default();
        let rows = [(1, spread(&[0, 1], &[]))];
        let mut routed = plan_with(&rows, &[1], mode);
        let entries = routed.l2.iter();
        let entries = entries.map(|(place, entry)| (place.clone(), entry.routed()));
        routed.l2 = entries.collect();
        world.follow(&routed);
        let entry = world.tables.vips[&key(1)];
        assert_eq!(entry.mode(), Some(mode));
        assert!(entry.is_routed() && entry.is_steered());
        assert_eq!(world.tables.steering.rows.len(), 1);
        world.follow(&plan_with(&rows, &[1], Mode::Known));
        assert_eq!(world.tables.steering, Content::default());
    }
}

#[test]
fn more_tables_than_there_is_room_for_are_a_problem_and_the_stacks() {
    let mut world = World::default();
    let sets = (0..TABLES_MAX + 2).map(|n| {
        let weights = Weights::from([(name(0), 1), (name(1), n + 2)]);
        let mut spread = spread(&[0], &[]);
        spread.share.weights = Arc::new(weights);
        (n, spread)
    });
    world.follow(&plan(&sets.collect::<Vec<_>>()));
    let content = &world.tables.steering;
    assert_eq!(content.maglev.len(), TABLES_MAX as usize);
    assert_eq!(content.rows.len(), TABLES_MAX as usize);
    assert!(!world.tables.vips[&key(TABLES_MAX)].is_steered());
    assert_eq!(
        world.problems,
        ["tables: Node n0: hg_maglev: full: it has room for 64, 2 more are not served"]
    );
}

fn sets() -> impl Strategy<Value = Vec<(u32, Vec<u32>, Vec<Vec<u32>>)>> {
    let nodes = || proptest::sample::subsequence(vec![0_u32, 1, 2, 3, 4], 1..5);
    let before = proptest::collection::vec(nodes(), 0..3);
    let row = (0_u32..4, nodes(), before);
    proptest::collection::vec(row, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn stopping_after_any_write_leaves_sound_tables(plans in proptest::collection::vec(sets(), 1..5)) {
        let mut world = World::default();
        for rows in plans {
            let rows: BTreeMap<u32, Spread> = rows
                .iter()
                .map(|(number, nodes, before)| {
                    let before: Vec<&[u32]> = before.iter().map(Vec::as_slice).collect();
                    (*number, spread(nodes, &before))
                })
                .collect();
            let rows: Vec<_> = rows.into_iter().collect();
            world.follow(&plan(&rows));
        }
    }
}
