//! Table contents and the order of writes, for any plan.

use super::*;
use crate::link::{Link, LinkName};
use proptest::prelude::*;
use speaker_proto::{Epoch, GroupKey, Time, Vip};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The modes of addresses on links, both by number.
type Wish = BTreeMap<(u32, u32), (Mode, u64)>;

fn vip(number: u32) -> Vip {
    let ip = match number % 2 {
        0 => IpAddr::from(Ipv4Addr::from(0xc000_0200 + number)),
        _ => IpAddr::from(Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(number))),
    };
    Vip(ip)
}

fn name(number: u32) -> LinkName {
    format!("eth{number}").into()
}

pub(super) fn local(links: impl IntoIterator<Item = u32>) -> Local {
    let mut local = Local::new("n1".parse().unwrap());
    let link = |number: u32| Link {
        ifindex: number + 1,
        mac: Mac([2, 0, 0, 0, 0, u8::try_from(number).unwrap()]),
        is_up: true,
        has_carrier: true,
        has_arp: true,
        has_ndp: true,
        below: None,
    };
    local.links = links.into_iter().map(|n| (name(n), link(n))).collect();
    local
}

fn plan(wish: &Wish) -> Plan {
    let entry = |(mode, epoch): (Mode, u64), number| L2Entry {
        is_near: false,
        is_routed: mode == Mode::Passive,
        mode,
        epoch: Epoch(epoch),
        group: GroupKey(vip(number).0),
    };
    // The third taking of each is a move.
    let moves = wish.iter().filter(|(_, (_, epoch))| *epoch == 2);
    let moves = moves.map(|((number, link), _)| ((vip(*number), name(*link)), MOVE));
    Plan {
        is_complete: true,
        moves: moves.collect(),
        l2: wish
            .iter()
            .map(|((number, link), w)| ((vip(*number), name(*link)), entry(*w, *number)))
            .collect(),
        ..Plan::default()
    }
}

const MOVE: L2Move = L2Move {
    fresh: Some(Mac([2, 0, 0, 0, 0, 9])),
    old: None,
    since: Time::ms(1),
    until: Time::ms(2),
};

fn after(have: &Tables, want: &Wish) -> Tables {
    let links = want.keys().map(|(_, link)| *link).collect::<BTreeSet<_>>();
    let mut memory = Memory::default();
    wanted(
        &plan(want),
        &local(links),
        &BTreeSet::new(),
        have,
        &mut memory,
    )
    .tables
}

/// The tables of nobody's plan.
fn of_members(macs: &BTreeSet<Mac>, have: &Tables) -> Tables {
    let plan = Plan::default();
    wanted(&plan, &local([]), macs, have, &mut Memory::default()).tables
}

fn answers(tables: &Tables) -> BTreeSet<VipKey> {
    let answering = |e: &Entry| e.mode() == Some(Mode::Answer);
    let entries = tables.vips.iter();
    entries
        .filter(|(_, e)| answering(e))
        .map(|(key, _)| *key)
        .collect()
}

/// Every entry has its link, its filter bit and its counters, and no slot is used twice.
fn assert_sound(tables: &Tables) {
    let slots: BTreeSet<u32> = tables.vips.values().map(Entry::slot).collect();
    assert_eq!(slots.len(), tables.vips.len(), "a slot is used twice");
    for (key, entry) in &tables.vips {
        let (word, bit) = key.addr().filter_bit();
        assert!(
            !entry.is_moving() || tables.moves.contains_key(key),
            "no row of its move: {key:?}"
        );
        assert!(
            tables.slots.contains(&entry.slot()),
            "no counters: {entry:?}"
        );
        assert!(
            tables.links.contains_key(&key.ifindex()),
            "no link: {key:?}"
        );
        assert_ne!(
            tables.filter.get(&word).copied().unwrap_or(0) & bit,
            0,
            "no filter bit: {key:?}"
        );
    }
}

fn wishes() -> impl Strategy<Value = Wish> {
    let mode = prop_oneof![
        Just(Mode::Answer),
        Just(Mode::Draining),
        Just(Mode::Known),
        Just(Mode::Passive)
    ];
    proptest::collection::btree_map((0_u32..12, 0_u32..3), (mode, 0_u64..3), 0..30)
}

proptest! {
    #[test]
    fn any_prefix_of_the_changes_is_safe(old in wishes(), new in wishes()) {
        let have = after(&Tables::default(), &old);
        let want = after(&have, &new);
        let (before, wished) = (answers(&have), answers(&want));
        let mut now = have.clone();
        assert_sound(&now);
        for change in changes(&have, &want) {
            if let TableChange::ResetSlot(slot) = change {
                prop_assert!(now.vips.values().all(|e| e.slot() != slot), "reset while in use");
            }
            now.apply(&change);
            assert_sound(&now);
            let answering = answers(&now);
            prop_assert!(answering.is_subset(&before.union(&wished).copied().collect()));
            let has_started = answering.iter().any(|key| !before.contains(key));
            prop_assert!(!has_started || answering.is_subset(&wished), "starts before all stopped");
        }
        prop_assert_eq!(now, want);
    }

    #[test]
    fn l4_4_an_entry_keeps_its_slot(old in wishes(), new in wishes()) {
        let have = after(&Tables::default(), &old);
        let want = after(&have, &new);
        for (key, entry) in &want.vips {
            if let Some(before) = have.vips.get(key) {
                prop_assert_eq!(before.slot(), entry.slot());
            }
        }
    }

    #[test]
    fn l4_4_a_slot_is_reset_before_another_entry_uses_it(old in wishes(), new in wishes()) {
        let have = after(&Tables::default(), &old);
        let want = after(&have, &new);
        let mut fresh = BTreeSet::new();
        for change in changes(&have, &want) {
            match change {
                TableChange::ResetSlot(slot) => {
                    fresh.insert(slot);
                }
                TableChange::Vip(Change::Put(key, entry)) if !have.vips.contains_key(&key) => {
                    prop_assert!(fresh.contains(&entry.slot()));
                }
                _ => {}
            }
        }
    }

    #[test]
    fn l5_2_an_old_fence_is_lowered_before_its_entry_answers_again_and_at_no_other_time(
        old in wishes(), new in wishes()
    ) {
        let have = after(&Tables::default(), &old);
        let want = after(&have, &new);
        let (before, wished) = (answers(&have), answers(&want));
        let again = wished.difference(&before).filter(|key| have.vips.contains_key(key));
        let expected: BTreeSet<u32> = again.map(|key| want.vips[key].slot()).collect();
        let mut lowered = BTreeSet::new();
        for change in changes(&have, &want) {
            match change {
                TableChange::LowerFence(slot) => {
                    lowered.insert(slot);
                }
                TableChange::Vip(Change::Put(key, entry)) if wished.contains(&key) => {
                    let is_again = expected.contains(&entry.slot());
                    prop_assert!(!is_again || lowered.contains(&entry.slot()));
                }
                _ => {}
            }
        }
        prop_assert_eq!(lowered, expected);
    }

    #[test]
    fn what_is_true_already_changes_nothing(wish in wishes()) {
        let have = after(&Tables::default(), &wish);
        let again = after(&have, &wish);
        prop_assert_eq!(changes(&have, &again), vec![]);
    }
}

/// `count` addresses on one link.
fn many(count: u32, mode: Mode) -> Wish {
    (0..count).map(|number| ((number, 0), (mode, 1))).collect()
}

#[test]
fn l4_4_a_full_table_is_a_problem_and_the_rest_is_served() {
    let wanted = wanted(
        &plan(&many(SLOTS_MAX + 3, Mode::Answer)),
        &local([0]),
        &BTreeSet::new(),
        &Tables::default(),
        &mut Memory::default(),
    );
    assert_eq!(wanted.tables.vips.len(), SLOTS_MAX as usize);
    let [problem] = &wanted.problems[..] else {
        panic!("{:?}", wanted.problems);
    };
    assert_eq!(problem.field, "hg_vips");
    assert_eq!(
        problem.why,
        "full: it has room for 65536, 3 more are not served"
    );
}

#[test]
fn a_known_entry_makes_room_for_one_that_answers() {
    let have = after(&Tables::default(), &many(SLOTS_MAX, Mode::Known));
    let mut wish = many(SLOTS_MAX, Mode::Known);
    wish.insert((SLOTS_MAX, 0), (Mode::Answer, 1));
    let want = after(&have, &wish);
    let key = VipKey::new(vip(SLOTS_MAX).0.into(), 1);
    assert!(want.vips.contains_key(&key));
    assert_eq!(want.vips.len(), SLOTS_MAX as usize);
}

/// What the last one lacks is that some packets are spread; what a known one lacks is only silence.
#[test]
fn a_known_entry_makes_room_for_one_that_routes_bring_packets_for_and_that_for_one_that_answers() {
    let mut wish = many(SLOTS_MAX, Mode::Known);
    wish.insert((SLOTS_MAX, 0), (Mode::Passive, 0));
    let want = after(&Tables::default(), &wish);
    let key = VipKey::new(vip(SLOTS_MAX).0.into(), 1);
    assert!(want.vips[&key].is_routed());
    let mut wish = many(SLOTS_MAX, Mode::Answer);
    wish.insert((SLOTS_MAX, 0), (Mode::Passive, 0));
    let want = after(&Tables::default(), &wish);
    assert!(!want.vips.contains_key(&key));
}

#[test]
fn slots_that_were_written_by_nobody_sane_are_not_kept() {
    let key = |number| VipKey::new(vip(number).0.into(), 1);
    let wish = many(3, Mode::Answer);
    let mut have = after(&Tables::default(), &wish);
    have.vips.insert(key(0), Entry::new(Mode::Answer, 1, 1));
    have.vips
        .insert(key(2), Entry::new(Mode::Answer, 1, SLOTS_MAX));
    let want = after(&have, &wish);
    assert_sound(&want);
    let mut now = have.clone();
    for change in changes(&have, &want) {
        now.apply(&change);
    }
    assert_eq!(now, want);
}

#[test]
fn l6_2_an_entry_that_moves_has_its_row_and_loses_both_when_that_is_over() {
    let key = VipKey::new(vip(0).0.into(), 1);
    let moving = after(
        &Tables::default(),
        &BTreeMap::from([((0, 0), (Mode::Draining, 2))]),
    );
    assert!(moving.vips[&key].is_moving());
    let row = MoveValue::new(
        Some(MacAddr([2, 0, 0, 0, 0, 9])),
        None,
        1_000_000,
        2_000_000,
    );
    assert_eq!(moving.moves, BTreeMap::from([(key, row)]));
    let over = after(&moving, &BTreeMap::from([((0, 0), (Mode::Known, 0))]));
    assert!(!over.vips[&key].is_moving());
    assert_eq!(over.moves, BTreeMap::new());
}

#[test]
fn a_member_that_is_disarmed_stays_so() {
    let macs = BTreeSet::from([Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])]);
    let key = MacKey::new(MacAddr([2, 0, 0, 0, 0, 1]));
    let disarmed = MemberValue {
        disarmed_until_ns: 9,
    };
    let have = Tables {
        members: BTreeMap::from([(key, disarmed)]),
        ..Tables::default()
    };
    let want = of_members(&macs, &have);
    assert_eq!(want.members[&key], disarmed);
    assert_eq!(want.members.len(), 2);
}

#[test]
fn l5_3_only_a_member_is_disarmed_and_never_for_a_shorter_time() {
    let member = Mac([2, 0, 0, 0, 0, 1]);
    let macs = BTreeSet::from([member]);
    let mut have = of_members(&macs, &Tables::default());
    assert_eq!(disarm(&have, Mac([2, 0, 0, 0, 0, 9]), 5), None);
    let change = disarm(&have, member, 5).unwrap();
    have.apply(&change);
    assert_eq!(disarm(&have, member, 5), None);
    assert_eq!(disarm(&have, member, 4), None);
    assert!(disarm(&have, member, 6).is_some());
    let want = of_members(&macs, &have);
    assert_eq!(changes(&have, &want), [], "the next plan keeps it");
}
