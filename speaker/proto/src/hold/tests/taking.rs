//! L3.1: when a node takes a VIP.

use super::super::*;
use super::world::*;

#[test]
fn l3_1c_what_nobody_holds_is_taken_after_two_probes() {
    let mut world = World::new(3, CALM, 1);
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.until_answered(1, 1, 3_000);
    assert_eq!(world.taken(), [(1, Ground::Unheld)]);
    assert_eq!(world.doubles, []);
}

#[test]
fn l3_1a_a_holder_yields_to_who_is_elected() {
    let mut world = World::new(3, CALM, 1);
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.until_answered(1, 1, 3_000);
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
fn l3_1b_a_dead_holder_is_followed_when_its_kernel_is_silent() {
    let mut world = World::new(3, CALM, 1);
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.until_answered(1, 1, 3_000);
    world.crash(1);
    world.wish(&[(key(1), wish(Some(2), &[1]))]);
    let ms = world.until_answered(2, 1, 2_000);
    assert!((550..750).contains(&ms), "{ms}");
    assert_eq!(world.taken().last(), Some(&(2, Ground::Dead)));
    assert_eq!(world.doubles, []);
}
