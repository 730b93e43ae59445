//! What a peer is told in which order, what that costs, and a peer that does as it is told.

use super::*;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn both() -> BTreeSet<Family> {
    BTreeSet::from(Family::ALL)
}

fn v4(number: u32) -> Prefix {
    Prefix::of(IpAddr::V4(Ipv4Addr::from_bits(0xc000_0200 + number)), 32)
}

fn v6(number: u32) -> Prefix {
    Prefix::of(IpAddr::V6(Ipv6Addr::from_bits(number.into())), 128)
}

fn with(med: u32) -> Arc<Attributes> {
    Arc::new(Attributes {
        med: Some(med),
        ..Attributes::default()
    })
}

fn table(routes: impl IntoIterator<Item = (Prefix, u32)>) -> Arc<Routes> {
    let routes = routes.into_iter();
    Arc::new(routes.map(|(prefix, med)| (prefix, with(med))).collect())
}

/// One message with at most so many prefixes.
fn say(sent: &mut Sent, count_max: usize) -> Option<(Step, Vec<Prefix>)> {
    let step = sent.step()?;
    let prefixes: Vec<Prefix> = sent.prefixes().take(count_max).collect();
    assert!(!prefixes.is_empty());
    sent.told(prefixes.len());
    Some((step, prefixes))
}

fn say_all(sent: &mut Sent) -> Vec<(Step, Vec<Prefix>)> {
    std::iter::from_fn(|| say(sent, usize::MAX)).collect()
}

#[test]
fn a_peer_at_rest_keeps_no_room_for_what_it_was_told() {
    let mut sent = Sent::new(both());
    sent.want(&table((0..3_000).map(|number| (v4(number), 7))));
    assert_eq!(say_all(&mut sent).len(), 1);
    assert_eq!(sent.batch.capacity(), 0, "after announcements");
    sent.want(&table([]));
    assert_eq!(say_all(&mut sent).len(), 1);
    assert_eq!(sent.batch.capacity(), 0, "after withdrawals");
}

#[test]
fn a_peer_is_told_withdrawals_first_and_then_what_is_new_by_attributes() {
    let mut sent = Sent::new(both());
    sent.want(&table([(v4(1), 7), (v4(2), 8), (v4(3), 7)]));
    let said = say_all(&mut sent);
    assert_eq!(
        said,
        [
            (Step::Announce(with(7)), vec![v4(1), v4(3)]),
            (Step::Announce(with(8)), vec![v4(2)]),
        ]
    );
    assert_eq!(sent.counts(), [3, 0]);

    sent.want(&table([(v4(0), 7), (v4(2), 8), (v4(3), 9)]));
    let said = say_all(&mut sent);
    assert_eq!(
        said,
        [
            (Step::Withdraw, vec![v4(1)]),
            (Step::Announce(with(7)), vec![v4(0)]),
            (Step::Announce(with(9)), vec![v4(3)]),
        ]
    );
    assert_eq!(sent.counts(), [3, 0]);
}

#[test]
fn rfc4271_9_2_1_1_a_withdrawal_does_not_wait_for_announcements_that_were_begun() {
    let mut sent = Sent::new(both());
    sent.want(&table((0..10_000).map(|n| (v4(n), 7))));
    assert_eq!(say(&mut sent, 800).map(|(_, told)| told.len()), Some(800));
    sent.want(&table((1..10_000).map(|n| (v4(n), 7))));
    assert_eq!(say(&mut sent, 800), Some((Step::Withdraw, vec![v4(0)])));
    let rest = say(&mut sent, 1).expect("there is more to say");
    assert_eq!(rest.1, [v4(800)], "what was told is not told again");
}

#[test]
fn what_was_not_told_is_not_withdrawn() {
    let mut sent = Sent::new(both());
    sent.want(&table([(v4(1), 7), (v4(2), 7)]));
    assert!(say(&mut sent, 1).is_some());
    sent.want(&table([]));
    assert_eq!(say_all(&mut sent), [(Step::Withdraw, vec![v4(1)])]);
    assert_eq!(sent.counts(), [0, 0]);
}

#[test]
fn a_peer_is_told_nothing_of_a_family_that_it_does_not_have() {
    let mut sent = Sent::new(BTreeSet::from([Family::V6]));
    sent.want(&table([(v4(1), 7), (v6(1), 7)]));
    sent.again(Family::V4);
    assert_eq!(say_all(&mut sent), [(Step::Announce(with(7)), vec![v6(1)])]);
    assert_eq!((sent.told_of(v4(1)), sent.counts()), (None, [0, 1]));
    sent.want(&table([]));
    assert_eq!(say_all(&mut sent), [(Step::Withdraw, vec![v6(1)])]);
}

#[test]
fn rfc2918_4_a_family_is_told_again_and_only_that() {
    let mut sent = Sent::new(both());
    sent.want(&table([(v4(1), 7), (v6(1), 7)]));
    say_all(&mut sent);
    sent.again(Family::V6);
    assert!(!sent.is_done());
    assert_eq!(say_all(&mut sent), [(Step::Announce(with(7)), vec![v6(1)])]);
    assert_eq!(sent.counts(), [1, 1]);
    assert!(sent.is_done());
}

#[test]
fn telling_again_ends_though_what_is_wanted_changes_all_the_time() {
    let mut sent = Sent::new(both());
    let all = 3 * BATCH as u32;
    sent.want(&table((0..all).map(|n| (v4(n), 7))));
    say_all(&mut sent);
    sent.again(Family::V4);
    let mut turns = 0;
    while !sent.again.is_empty() {
        turns += 1;
        sent.want(&table((0..all).map(|n| (v4(n), 7)).chain([(v6(turns), 7)])));
        for _ in 0..6 {
            say(&mut sent, 1000);
        }
        assert!(turns < 10, "each change begins anew");
    }
}

#[test]
fn a_peer_at_rest_costs_no_copy_and_one_on_the_way_a_batch() {
    let mut sent = Sent::new(both());
    let wanted = table((0..20_000).map(|n| (v4(n), n % 3)));
    sent.want(&wanted);
    while say(&mut sent, 800).is_some() {
        assert!(sent.over.len() < BATCH && sent.batch.len() <= BATCH);
    }
    assert!(sent.over.is_empty() && sent.batch.is_empty());
    assert!(Arc::ptr_eq(&sent.base, &wanted));
}

#[test]
fn a_way_that_is_left_before_its_end_costs_the_lesser_part() {
    for (messages, kept) in [(2, 1_024), (36, 20_000 - 36 * 512)] {
        let mut sent = Sent::new(both());
        sent.want(&table((0..20_000).map(|n| (v4(n), 7))));
        for _ in 0..messages {
            say(&mut sent, 512);
        }
        sent.want(&table([]));
        assert_eq!(sent.over.len(), kept, "after {messages} messages");
    }
}

#[derive(Clone, Debug)]
enum Event {
    Want(BTreeMap<u8, u8>),
    Again(bool),
    Say(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        prop::collection::btree_map(0..24_u8, 0..3_u8, 0..20).prop_map(Event::Want),
        any::<bool>().prop_map(Event::Again),
        (1..5_usize).prop_map(Event::Say),
        (1..5_usize).prop_map(Event::Say),
    ]
}

/// Prefixes of both families, by number.
fn prefix(number: u8) -> Prefix {
    let make = if number.is_multiple_of(2) { v4 } else { v6 };
    make(number.into())
}

proptest! {
    /// A peer that does as it is told knows what is kept as told, at every moment, and in the end what is wanted.
    #[test]
    fn what_is_kept_as_told_is_what_the_peer_knows(
        families in prop::sample::subsequence(Family::ALL.to_vec(), 0..=2),
        events in prop::collection::vec(event(), 1..60),
    ) {
        let families = BTreeSet::from_iter(families);
        let mut sent = Sent::new(families.clone());
        let mut peer = Routes::new();
        let mut wanted = Arc::default();
        for event in events.into_iter().chain([Event::Say(usize::MAX)]) {
            match event {
                Event::Want(routes) => {
                    let routes = routes.into_iter();
                    wanted = table(routes.map(|(number, med)| (prefix(number), med.into())));
                    sent.want(&wanted);
                }
                Event::Again(is_v4) => sent.again(if is_v4 { Family::V4 } else { Family::V6 }),
                Event::Say(messages) => for _ in 0..messages.min(100) {
                    let Some((step, prefixes)) = say(&mut sent, 3) else {
                        break;
                    };
                    for prefix in prefixes {
                        match &step {
                            Step::Withdraw => {
                                prop_assert!(peer.remove(&prefix).is_some(), "{prefix} was not told");
                            }
                            Step::Announce(attributes) => {
                                peer.insert(prefix, Arc::clone(attributes));
                            }
                        }
                    }
                },
            }
            for prefix in (0..24).map(prefix) {
                prop_assert_eq!(sent.told_of(prefix), peer.get(&prefix), "{}", prefix);
            }
            let count = |family| peer.keys().filter(|prefix| prefix.family() == family).count() as u32;
            prop_assert_eq!(sent.counts(), Family::ALL.map(count));
        }
        prop_assert!(sent.is_done());
        let wanted: Routes = wanted.iter()
            .filter(|(prefix, _)| families.contains(&prefix.family()))
            .map(|(prefix, attributes)| (*prefix, Arc::clone(attributes)))
            .collect();
        prop_assert_eq!(peer, wanted);
    }
}
