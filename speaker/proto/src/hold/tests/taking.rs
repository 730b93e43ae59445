//! L3.1 and L3.3: when a node takes a VIP.

use super::super::*;
use super::world::*;

fn answered_by(node: usize, nodes: usize) -> World {
    let mut world = World::new(nodes, CALM, 1);
    world.wish(&[(key(1), wish(Some(node), &[1]))]);
    world.until_answered(node, 1, 3_000);
    world
}

#[test]
fn l3_1a_a_holder_yields_to_who_is_elected_and_nobody_answers_beside_it() {
    let mut world = answered_by(1, 3);
    world.wish(&[(key(1), wish(Some(2), &[1]))]);
    let ms = world.until_answered(2, 1, 1_000);
    assert!(ms < 50, "{ms}");
    assert_eq!(world.hold(1, 1), Hold::Draining);
    assert_eq!(world.taken().last(), Some(&(2, Ground::Yielded)));
    world.run(DRAIN_WINDOW.ns() / 1_000_000 + 500);
    assert_eq!(world.hold(1, 1), Hold::Free);
    assert_eq!(world.answering(1), [2]);
    assert_eq!(world.doubles, []);
}

#[test]
fn l3_1a_a_group_of_both_families_moves_as_one() {
    let mut world = World::new(3, CALM, 1);
    world.wish(&[(key(1), wish(Some(0), &[1, 2, 3]))]);
    world.until_answered(0, 3, 3_000);
    world.wish(&[(key(1), wish(Some(1), &[1, 2, 3]))]);
    world.until_answered(1, 1, 50);
    assert_eq!((world.answering(2), world.answering(3)), (vec![1], vec![1]));
    assert_eq!(world.doubles, []);
}

#[test]
fn l3_1b_a_dead_holder_is_followed_when_its_kernel_is_silent() {
    let mut world = answered_by(1, 3);
    world.crash(1);
    world.wish(&[(key(1), wish(Some(2), &[1]))]);
    let ms = world.until_answered(2, 1, 2_000);
    assert!((550..750).contains(&ms), "{ms}");
    assert_eq!(world.taken().last(), Some(&(2, Ground::Dead)));
    assert_eq!(world.doubles, []);
}

#[test]
fn l3_1b_one_that_prepared_and_died_is_waited_for_like_a_holder() {
    let mut world = World::new(3, CALM, 1);
    world.run(2_000);
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.run(60);
    assert_eq!(world.hold(1, 1), Hold::Preparing);
    world.crash(1);
    world.wish(&[(key(1), wish(Some(2), &[1]))]);
    let ms = world.until_answered(2, 1, 2_000);
    assert!(ms >= 500, "{ms}");
    assert_eq!(world.taken().last(), Some(&(2, Ground::Dead)));
}

#[test]
fn l3_1b_whoever_was_given_it_and_died_is_waited_for_too() {
    let mut world = answered_by(0, 3);
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.until_answered(1, 1, 1_000);
    world.crash(1);
    world.wish(&[(key(1), wish(Some(0), &[1]))]);
    let ms = world.until_answered(0, 1, 2_000);
    assert!((550..750).contains(&ms), "{ms}");
    assert_eq!(world.doubles, []);
}

#[test]
fn l3_1c_what_nobody_holds_is_taken_after_two_probes() {
    let mut world = World::new(3, CALM, 1);
    world.run(2_000);
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    let ms = world.until_answered(1, 1, 1_000);
    assert!((100..150).contains(&ms), "{ms}");
    assert_eq!(world.taken(), [(1, Ground::Unheld)]);
}

#[test]
fn l3_1c_nothing_is_taken_before_the_members_are_known() {
    let mut world = World::new(3, CALM, 1);
    world.crash(2);
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.run(1_490);
    assert_eq!(world.answering(1), [0; 0]);
    world.until_answered(1, 1, 500);
}

#[test]
fn l3_1c_a_node_alone_takes_what_is_its_own() {
    let mut world = answered_by(0, 1);
    world.run(5_000);
    assert_eq!(world.answering(1), [0]);
}

#[test]
fn l3_1c_of_two_that_prepare_the_one_with_precedence_goes_on() {
    let mut world = World::new(3, CALM, 1);
    world.run(2_000);
    for node in 0..3 {
        world.wish_at(node, &[(key(1), wish(Some(node), &[1]))]);
    }
    world.until_answered(0, 1, 1_000);
    world.run(5_000);
    assert_eq!(world.answering(1), [0]);
    assert_eq!(world.doubles, []);
}

#[test]
fn l3_1c_cold_start_with_views_that_all_differ_gives_one_answer() {
    for seed in 1..20 {
        let mut world = World::new(5, CALM, seed);
        for node in 0..5 {
            world.wish_at(node, &[(key(1), wish(Some(node), &[1]))]);
        }
        world.run(5_000);
        assert_eq!(world.answering(1).len(), 1, "{seed}");
        assert_eq!(world.doubles, [], "{seed}");
    }
}

#[test]
fn l3_1c_views_that_group_vips_differently_do_not_both_hold_one() {
    let mut world = World::new(3, CALM, 1);
    world.run(2_000);
    world.wish_at(0, &[(key(1), wish(Some(0), &[1, 2]))]);
    world.wish_at(1, &[(key(2), wish(Some(1), &[2]))]);
    world.run(5_000);
    assert_eq!(world.answering(2).len(), 1);
    assert_eq!(world.doubles, []);
}

#[test]
fn l3_1c_a_member_that_cannot_be_heard_is_waited_for_and_then_probed() {
    let mut world = World::new(3, CALM, 1);
    world.run(2_000);
    // Node 2 is heard, but hears nothing of node 1, so that it never acknowledges.
    world.cut.insert((1, 2));
    world.run(100);
    world.wish_at(1, &[(key(1), wish(Some(1), &[1]))]);
    let ms = world.until_answered(1, 1, 1_000);
    assert!((400..460).contains(&ms), "{ms}");
}

#[test]
fn l3_3_a_stranger_is_reported_and_its_vip_is_not_taken() {
    let mut world = World::new(2, CALM, 1);
    let stranger = Mac([2, 9, 9, 9, 9, 9]);
    world.strangers.insert(vip(1), stranger);
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.run(12_000);
    assert_eq!(world.answering(1), [0; 0]);
    let group = key(1);
    let event = Event::Stranger {
        group,
        mac: stranger,
    };
    assert_eq!(world.events, [(1, event)], "once");
    assert_eq!(world.hold(1, 1), Hold::Occupied(stranger));
    world.strangers.clear();
    world.until_answered(1, 1, 5_200);
}

/// It waited for the stranger to stop, and so must who comes after it.
#[test]
fn l3_3_what_a_dead_member_only_prepared_is_not_taken_from_a_stranger() {
    let mut world = World::new(3, CALM, 1);
    let stranger = Mac([2, 9, 9, 9, 9, 9]);
    world.strangers.insert(vip(1), stranger);
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.run(3_000);
    assert_eq!(world.hold(1, 1), Hold::Occupied(stranger));
    world.crash(1);
    world.wish(&[(key(1), wish(Some(0), &[1]))]);
    world.run(3_000);
    assert_eq!(world.answering(1), [0; 0]);
    assert_eq!(world.hold(0, 1), Hold::Occupied(stranger));
    world.strangers.clear();
    world.until_answered(0, 1, 5_200);
}

#[test]
fn l3_3_a_pool_that_says_so_takes_it_from_a_stranger() {
    let mut world = World::new(2, CALM, 1);
    world.strangers.insert(vip(1), Mac([2, 9, 9, 9, 9, 9]));
    let mut forced = wish(Some(1), &[1]);
    forced.is_forced = true;
    world.wish(&[(key(1), forced)]);
    world.until_answered(1, 1, 3_000);
}

#[test]
fn a_vip_that_joins_a_held_group_is_taken_by_the_rules() {
    let mut world = World::new(2, CALM, 1);
    world.wish(&[(key(1), wish(Some(0), &[1])), (key(2), wish(Some(1), &[2]))]);
    world.until_answered(0, 1, 3_000);
    world.until_answered(1, 2, 3_000);
    world.wish(&[(key(1), wish(Some(0), &[1, 2]))]);
    world.until_answered(0, 2, 1_000);
    assert_eq!(world.answering(1), [0]);
    assert_eq!(world.doubles, []);
}

#[test]
fn held_groups_that_are_put_together_are_answered_without_a_gap() {
    let mut world = World::new(2, CALM, 1);
    world.wish(&[(key(1), wish(Some(0), &[1])), (key(2), wish(Some(0), &[2]))]);
    world.until_answered(0, 1, 3_000);
    world.until_answered(0, 2, 3_000);
    world.wish(&[(key(1), wish(Some(0), &[1, 2]))]);
    for _ in 0..300 {
        world.run(1);
        assert_eq!((world.answering(1), world.answering(2)), (vec![0], vec![0]));
    }
}

#[test]
fn a_group_that_nobody_may_answer_for_is_released() {
    let mut world = answered_by(1, 2);
    world.wish(&[(key(1), wish(None, &[1]))]);
    world.run(20);
    assert_eq!(world.answering(1), [0; 0]);
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.until_answered(1, 1, 300);
    world.wish(&[]);
    world.run(20);
    assert_eq!(world.answering(1), [0; 0]);
}
