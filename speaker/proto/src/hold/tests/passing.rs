//! L6.2: whose packets are whose while a group moves, and for how long.

use super::super::*;
use super::world::*;
use crate::Time;

/// Node 0 holds it and gives it to node 1, which has just taken it.
fn given(nodes: usize) -> World {
    let mut world = World::new(nodes, CALM, 1);
    world.wish(&[(key(1), wish(Some(0), &[1, 2]))]);
    world.until_answered(0, 1, 3_000);
    give(&mut world, 1);
    world
}

fn give(world: &mut World, to: usize) {
    world.wish(&[(key(1), wish(Some(to), &[1, 2]))]);
    world.until_answered(to, 1, 1_500);
}

/// To whom new connections go and from whom old ones came.
fn ends(world: &World, node: usize) -> Option<(Option<NodeId>, Option<NodeId>)> {
    let both = [1, 2].map(|n| world.passing(node, n).map(|p| (p.to, p.from)));
    assert_eq!(both[0], both[1], "the VIPs of a group move together");
    both[0]
}

fn settle(world: &mut World) {
    world.run(400);
}

#[test]
fn l6_2_new_connections_are_passed_on_when_the_new_holders_kernel_knows() {
    let mut world = given(3);
    assert_eq!(ends(&world, 1), Some((None, Some(id(0)))), "at once");
    world.run(150);
    assert_eq!(ends(&world, 0), Some((None, None)), "not yet");
    settle(&mut world);
    assert_eq!(ends(&world, 0), Some((Some(id(1)), None)));
    assert_eq!(ends(&world, 2), None, "no affair of others");
}

#[test]
fn l6_2_the_window_is_over_after_its_time_on_both_nodes() {
    let mut world = given(2);
    let window = DRAIN_WINDOW.ns() / 1_000_000;
    world.run(window - 100);
    assert!(ends(&world, 0).is_some() && ends(&world, 1).is_some());
    world.run(200);
    assert_eq!((ends(&world, 0), ends(&world, 1)), (None, None));
    assert_eq!(world.answering(1), [1]);
}

#[test]
fn l6_2_who_gave_it_passes_on_to_whoever_has_it_now() {
    let mut world = given(3);
    settle(&mut world);
    give(&mut world, 2);
    settle(&mut world);
    assert_eq!(ends(&world, 0), Some((Some(id(2)), None)));
    assert_eq!(ends(&world, 1), Some((Some(id(2)), Some(id(0)))));
    assert_eq!(ends(&world, 2), Some((None, Some(id(1)))));
}

#[test]
fn l6_2_what_comes_back_within_the_window_keeps_its_old_connections() {
    let mut world = given(2);
    settle(&mut world);
    let since = |world: &World, node| world.passing(node, 1).map(|passing| passing.since);
    let before: Vec<Option<Time>> = (0..2).map(|node| since(&world, node)).collect();
    give(&mut world, 0);
    settle(&mut world);
    assert_eq!(
        ends(&world, 0),
        Some((None, None)),
        "but what it gave is remembered"
    );
    assert_eq!(ends(&world, 1), Some((Some(id(0)), Some(id(0)))));
    let after: Vec<Option<Time>> = (0..2).map(|node| since(&world, node)).collect();
    assert_eq!(before, after, "what was remembered counts");
}

#[test]
fn nothing_is_passed_to_a_node_that_died() {
    let mut world = given(2);
    settle(&mut world);
    world.power_off(0);
    world.run(1_000);
    assert_eq!(ends(&world, 1), Some((None, None)));
}

#[test]
fn nothing_is_passed_on_by_who_gave_it_to_a_node_that_died() {
    let mut world = given(2);
    settle(&mut world);
    world.power_off(1);
    world.run(1_000);
    assert_eq!(ends(&world, 0), Some((None, None)));
}

#[test]
fn what_was_not_given_has_no_window() {
    let mut world = World::new(3, CALM, 1);
    world.wish(&[(key(1), wish(Some(0), &[1, 2]))]);
    world.until_answered(0, 1, 3_000);
    assert_eq!(ends(&world, 0), None);
    world.power_off(0);
    world.wish(&[(key(1), wish(Some(1), &[1, 2]))]);
    world.until_answered(1, 1, 2_000);
    assert_eq!(ends(&world, 1), None);
}

#[test]
fn a_deadline_that_passed_ends_every_window() {
    let mut world = given(2);
    settle(&mut world);
    world.put(0, Input::Lapsed);
    world.put(1, Input::Lapsed);
    world.run(1);
    assert_eq!((ends(&world, 0), ends(&world, 1)), (None, None));
}
