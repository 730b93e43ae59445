//! L1.4, L3.2, L6.1, L6.3 and L6.4: holders that keep, give, come back, or are followed.

use super::super::*;
use super::world::*;
use crate::Span;

fn answered_by(node: usize, nodes: usize) -> World {
    let mut world = World::new(nodes, CALM, 1);
    world.wish(&[(key(1), wish(Some(node), &[1]))]);
    world.until_answered(node, 1, 3_000);
    world
}

fn reports(world: &World, wanted: impl Fn(&Event) -> bool) -> Vec<usize> {
    let events = world.events.iter().filter(|(_, event)| wanted(event));
    events.map(|(node, _)| *node).collect()
}

#[test]
fn l1_4_a_group_is_moved_four_times_in_three_minutes_and_then_stays() {
    let mut world = answered_by(0, 2);
    for owner in [1, 0, 1, 0] {
        world.wish(&[(key(1), wish(Some(owner), &[1]))]);
        world.until_answered(owner, 1, 1_500);
        world.run(5_000);
    }
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.run(5_000);
    assert_eq!(world.answering(1), [0], "both nodes counted");
    let spent = reports(&world, |event| matches!(event, Event::MovesSpent { .. }));
    assert_eq!(spent, [0, 1], "each says so once");
    world.until_answered(1, 1, 180_000);
}

#[test]
fn l1_4_a_holder_that_is_no_candidate_gives_it_away_all_the_same() {
    let mut world = answered_by(0, 2);
    for round in 0..8 {
        let owner = (round + 1) % 2;
        let mut wish = wish(Some(owner), &[1]);
        wish.is_candidate = false;
        world.wish(&[(key(1), wish)]);
        world.until_answered(owner, 1, 1_500);
    }
}

#[test]
fn l3_2_a_holder_that_disagrees_keeps_it_and_both_say_so() {
    let mut world = answered_by(0, 2);
    world.wish_at(1, &[(key(1), wish(Some(1), &[1]))]);
    world.run(10_000);
    assert_eq!(world.answering(1), [0]);
    let disagree = reports(&world, |event| matches!(event, Event::Disagree { .. }));
    assert_eq!(disagree.len(), 2);
    assert_eq!(world.doubles, []);
}

#[test]
fn l3_2_views_that_differ_for_a_moment_are_no_disagreement() {
    let mut world = answered_by(0, 2);
    world.wish_at(1, &[(key(1), wish(Some(1), &[1]))]);
    world.run(300);
    world.wish_at(0, &[(key(1), wish(Some(1), &[1]))]);
    world.until_answered(1, 1, 1_000);
    let disagree = reports(&world, |event| matches!(event, Event::Disagree { .. }));
    assert_eq!(disagree, [0; 0]);
}

#[test]
fn l3_2_a_holder_that_hears_of_an_edit_a_moment_later_is_asked_again_soon() {
    let mut world = answered_by(0, 2);
    world.wish_at(1, &[(key(1), wish(Some(1), &[1]))]);
    world.run(20);
    world.wish_at(0, &[(key(1), wish(Some(1), &[1]))]);
    world.until_answered(1, 1, 250);
    assert_eq!(world.doubles, []);
}

#[test]
fn l3_2_a_holder_whose_view_is_stale_follows_a_fresh_one_and_does_not_ask_back() {
    let mut world = answered_by(0, 2);
    world.stale(0, true);
    world.wish_at(1, &[(key(1), wish(Some(1), &[1]))]);
    world.until_answered(1, 1, 1_500);
    world.run(10_000);
    assert_eq!(world.answering(1), [1]);
    assert_eq!(world.doubles, []);
}

#[test]
fn l6_1_a_yield_that_is_lost_is_repeated() {
    let mut world = answered_by(0, 2);
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    while world.hold(0, 1) == Hold::Holding {
        world.run(1);
    }
    // The question arrived; every answer is lost for a while.
    world.cut.insert((0, 1));
    world.run(45);
    assert_eq!(world.hold(0, 1), Hold::Draining);
    assert_eq!(world.answering(1), [0; 0]);
    world.cut.clear();
    world.until_answered(1, 1, 250);
    assert_eq!(world.doubles, []);
}

#[test]
fn l6_1_what_was_given_to_a_node_that_wants_it_no_more_is_taken_back() {
    let mut world = answered_by(0, 2);
    world.cut.insert((0, 1));
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.run(20);
    assert_eq!(world.hold(0, 1), Hold::Draining);
    world.wish(&[(key(1), wish(Some(0), &[1]))]);
    world.run(20);
    world.cut.clear();
    world.until_answered(0, 1, 250);
    assert_eq!(world.taken().last(), Some(&(0, Ground::Refused)));
    assert_eq!(world.doubles, []);
}

#[test]
fn l6_1_what_was_given_to_a_process_that_is_no_more_is_taken_back() {
    let mut world = answered_by(0, 2);
    world.cut.insert((0, 1));
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.run(20);
    world.crash(1);
    world.start(1);
    world.wish(&[(key(1), wish(Some(0), &[1]))]);
    world.cut.clear();
    world.until_answered(0, 1, 300);
    assert_eq!(world.doubles, []);
}

#[test]
fn l6_1_a_node_that_dies_with_a_yield_under_way_leaves_it_to_the_next() {
    let mut world = answered_by(0, 3);
    world.cut.insert((0, 1));
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.run(20);
    world.power_off(1);
    world.wish(&[(key(1), wish(Some(2), &[1]))]);
    world.cut.clear();
    world.until_answered(2, 1, 1_500);
    assert_eq!(world.doubles, []);
}

#[test]
fn l6_1_a_yielder_that_dies_at_once_has_yielded() {
    for ms in 0..12 {
        let mut world = answered_by(0, 2);
        world.wish(&[(key(1), wish(Some(1), &[1]))]);
        world.run(ms);
        world.crash(0);
        world.until_answered(1, 1, 1_000);
        world.run(2_000);
        assert_eq!(world.doubles, [], "{ms}");
    }
}

#[test]
fn l6_1_a_part_that_is_given_while_another_is_kept_goes_back_at_once() {
    let mut world = World::new(3, CALM, 1);
    world.wish(&[(key(1), wish(Some(0), &[1])), (key(2), wish(Some(1), &[2]))]);
    world.until_answered(0, 1, 3_000);
    world.until_answered(1, 2, 3_000);
    world.wish_at(0, &[(key(1), wish(Some(2), &[1]))]);
    world.wish_at(2, &[(key(1), wish(Some(2), &[1, 2]))]);
    let mut dark = 0;
    for _ in 0..10_000 {
        world.run(1);
        dark += u64::from(world.answering(1).is_empty());
    }
    assert!(dark < 30, "{dark} ms");
    assert_eq!(world.doubles, []);
}

#[test]
fn l6_3_a_restart_within_the_deadline_moves_nothing() {
    let mut world = answered_by(1, 3);
    world.crash(1);
    world.run(200);
    assert_eq!(world.answering(1), [1]);
    world.start(1);
    for _ in 0..3_000 {
        world.run(1);
        assert_eq!(world.answering(1), [1]);
    }
    assert_eq!(world.taken().last(), Some(&(1, Ground::Adopted)));
}

#[test]
fn l6_3_what_was_adopted_is_let_go_when_another_took_it_meanwhile() {
    let mut world = answered_by(0, 3);
    // Nobody hears node 0, which goes on and hears nothing: the one case in which two answer.
    world.cut.extend([(0, 1), (0, 2), (1, 0), (2, 0)]);
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.run(1_000);
    assert_eq!(world.answering(1), [0, 1]);
    world.crash(0);
    world.start(0);
    world.cut.clear();
    world.until_answered(1, 1, 200);
}

#[test]
fn l5_1_a_lapsed_node_takes_again_by_the_rules() {
    let mut world = answered_by(1, 3);
    world.pause(1, 800);
    world.run(700);
    assert_eq!(world.answering(1), [0; 0]);
    world.until_answered(1, 1, 1_000);
    assert_eq!(world.taken(), [(1, Ground::Unheld), (1, Ground::Unheld)]);
    assert_eq!(world.doubles, []);
}

#[test]
fn l5_4_the_dead_holder_is_told_until_it_is_back() {
    let mut world = answered_by(0, 2);
    world.crash(0);
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.until_answered(1, 1, 2_000);
    world.run(2_000);
    let told = world.claims_to.len();
    assert!((9..=12).contains(&told), "{told}");
    let last = world
        .claims_to
        .last()
        .map(|(_, node, group, macs)| (*node, *group, macs.clone()));
    assert_eq!(last, Some((1, key(1), vec![mac(0)])));
    world.start(0);
    world.run(500);
    let told = world.claims_to.len();
    world.run(2_000);
    assert_eq!(world.claims_to.len(), told);
}

#[test]
fn l5_4_it_is_told_for_ten_minutes_at_most() {
    let mut world = answered_by(0, 2);
    world.crash(0);
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.until_answered(1, 1, 2_000);
    world.run(610_000);
    let (last, ..) = world.claims_to.last().unwrap();
    let age = world.now.since(*last);
    assert!(age >= Span::s(9), "{age:?}");
    assert!(world.claims_to.len() > 2_900);
}

#[test]
fn l6_7_a_holder_is_told_that_it_does_not_answer_and_given_a_moment_to_see_it() {
    let mut world = answered_by(0, 2);
    let mut asked = wish(Some(1), &[1]);
    asked.silent = [id(0)].into();
    world.wish_at(1, &[(key(1), asked)]);
    world.run(300);
    assert_eq!(world.unheard.first(), Some(&(0, key(1), id(1))));
    assert_eq!(world.answering(1), [0], "its own election decides");
    let mut own = wish(Some(1), &[1]);
    own.is_candidate = false;
    world.wish_at(0, &[(key(1), own)]);
    let ms = world.until_answered(1, 1, 1_000);
    assert!(ms <= 500, "{ms}");
    assert_eq!(world.doubles, []);
    let disagree = reports(&world, |event| matches!(event, Event::Disagree { .. }));
    assert_eq!(disagree, [0; 0]);
}

#[test]
fn l6_7_a_holder_whose_election_stands_keeps_what_it_is_told_not_to_answer_for() {
    let mut world = answered_by(0, 2);
    let mut asked = wish(Some(1), &[1]);
    asked.silent = [id(0)].into();
    world.wish_at(1, &[(key(1), asked)]);
    world.run(10_000);
    assert_eq!(world.answering(1), [0]);
}
