//! L5.2 and L5.3: two that claim one VIP.

use super::super::*;
use super::world::*;
use crate::Span;

/// Gossip between nodes 0 and 1 is cut, the segment is whole, and both answer.
fn both_answer() -> World {
    let mut world = World::new(2, CALM, 1);
    world.wish(&[(key(1), wish(Some(0), &[1]))]);
    world.until_answered(0, 1, 3_000);
    world.cut.extend([(0, 1), (1, 0)]);
    world.wish_at(1, &[(key(1), wish(Some(1), &[1]))]);
    world.run(1_000);
    assert_eq!(world.answering(1), [0, 1]);
    world
}

fn claim(world: &mut World, at: usize, by: usize) {
    let group = key(1);
    let (by, mac) = (id(by), mac(by));
    world.put(at, Input::Claimed { group, by, mac });
}

#[test]
fn l5_2_in_a_partition_the_first_claim_leaves_one() {
    let mut world = both_answer();
    claim(&mut world, 1, 0);
    claim(&mut world, 0, 1);
    world.run(20);
    assert_eq!(world.answering(1), [0]);
    assert_eq!(world.hold(1, 1), Hold::Contested);
    assert_eq!(world.claims, [(0, key(1))]);
    assert_eq!(world.unfenced.last(), Some(&(0, key(1))));
    world.run(10_000);
    assert_eq!(world.answering(1), [0], "as long as the winner answers");
}

#[test]
fn l5_2_the_loser_takes_it_again_when_the_winner_falls_silent() {
    let mut world = both_answer();
    claim(&mut world, 1, 0);
    world.run(1_000);
    assert_eq!(world.answering(1), [0]);
    world.power_off(0);
    let ms = world.until_answered(1, 1, 1_500);
    assert!(ms >= 400, "{ms}");
    assert_eq!(world.taken().last(), Some(&(1, Ground::Contest)));
}

#[test]
fn l5_2_when_gossip_is_back_the_later_taking_goes_on() {
    let mut world = both_answer();
    world.cut.clear();
    world.until_answered(1, 1, 200);
    world.run(5_000);
    assert_eq!(world.answering(1), [1]);
}

#[test]
fn l5_2_a_loser_asks_the_winner_when_gossip_is_back() {
    let mut world = both_answer();
    claim(&mut world, 1, 0);
    world.run(500);
    assert_eq!(world.hold(1, 1), Hold::Contested);
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.cut.clear();
    world.doubles.clear();
    world.until_answered(1, 1, 1_500);
    assert_eq!(world.taken().last(), Some(&(1, Ground::Yielded)));
    assert_eq!(world.doubles, []);
}

#[test]
fn l5_2_after_three_contests_in_a_minute_three_misses_are_not_enough() {
    let mut world = both_answer();
    for contest in 1..=3 {
        claim(&mut world, 1, 0);
        world.run(20);
        assert_eq!(world.hold(1, 1), Hold::Contested, "{contest}");
        // The winner's answers are lost for a while.
        world.weather.loss = 1_000;
        let again = (0..20).find(|_| {
            world.run(100);
            world.answering(1).contains(&1)
        });
        assert_eq!(again.is_some(), contest < 3, "{contest}");
        world.weather.loss = 0;
    }
    world.run(60_000);
    assert_eq!(world.answering(1), [0]);
}

#[test]
fn l5_3_a_claim_that_its_member_denies_is_spoofed() {
    let mut world = World::new(2, CALM, 1);
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.until_answered(1, 1, 3_000);
    world.unfenced.clear();
    let mut lengths = Vec::new();
    for _ in 0..7 {
        claim(&mut world, 1, 0);
        world.run(20);
        lengths.extend(world.disarmed.pop().map(|(_, _, length)| length));
    }
    let doubled = [10, 20, 40, 80, 160, 300, 300].map(Span::s);
    assert_eq!(lengths, doubled);
    assert_eq!(world.unfenced.len(), 7);
    assert_eq!(world.answering(1), [1]);
    let group = key(1);
    let spoofed = Event::Spoofed { group, mac: mac(0) };
    assert!(world.events.contains(&(1, spoofed)));
}

#[test]
fn l5_3_a_member_that_the_first_question_does_not_reach_is_asked_again() {
    let mut world = World::new(2, CALM, 1);
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.until_answered(1, 1, 3_000);
    world.unfenced.clear();
    world.cut.insert((1, 0));
    claim(&mut world, 1, 0);
    world.run(70);
    assert_eq!(world.unfenced, []);
    world.cut.clear();
    world.run(50);
    assert_eq!(world.unfenced, [(1, key(1))]);
    let spoofer = world.disarmed.iter().map(|(at, mac, _)| (*at, *mac));
    assert_eq!(spoofer.collect::<Vec<_>>(), [(1, mac(0))]);
}

#[test]
fn l5_3_a_late_claim_of_who_gave_it_away_is_no_spoof() {
    let mut world = World::new(2, CALM, 1);
    world.wish(&[(key(1), wish(Some(0), &[1]))]);
    world.until_answered(0, 1, 3_000);
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.until_answered(1, 1, 1_000);
    world.unfenced.clear();
    claim(&mut world, 1, 0);
    world.run(20);
    assert_eq!(world.unfenced, [(1, key(1))], "at once");
    assert_eq!(world.disarmed, []);
}

#[test]
fn l5_3_a_claim_that_nobody_answers_for_silences_for_300_ms() {
    let mut world = World::new(2, CALM, 1);
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.until_answered(1, 1, 3_000);
    world.unfenced.clear();
    world.cut.insert((0, 1));
    claim(&mut world, 1, 0);
    world.run(150);
    // More claims lengthen nothing.
    claim(&mut world, 1, 0);
    world.run(145);
    assert_eq!(world.unfenced, []);
    world.run(10);
    assert_eq!(world.unfenced, [(1, key(1))]);
}

#[test]
fn l5_2_a_fence_of_nobody_goes_down_after_300_ms_however_often_it_goes_up() {
    let mut world = World::new(2, CALM, 1);
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.until_answered(1, 1, 3_000);
    world.unfenced.clear();
    for _ in 0..12 {
        world.put(1, Input::Fenced { group: key(1) });
        world.run(90);
    }
    assert_eq!(world.unfenced.len(), 3);
}

#[test]
fn l5_2_a_fence_that_the_last_process_left_is_no_reason_to_answer() {
    let mut world = World::new(2, CALM, 1);
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.until_answered(1, 1, 3_000);
    world.crash(1);
    world.unfenced.clear();
    world.start(1);
    world.run(290);
    assert_eq!(world.unfenced, [], "another may have taken it meanwhile");
    world.run(2_000);
    assert_eq!(world.unfenced, [(1, key(1))]);
    assert_eq!(world.answering(1), [1]);
}

#[test]
fn l5_2_a_fence_left_from_before_does_not_outlive_a_taking() {
    let mut world = World::new(2, CALM, 1);
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.until_answered(1, 1, 3_000);
    world.put(1, Input::Fenced { group: key(1) });
    world.wish(&[(key(1), wish(None, &[1]))]);
    world.run(20);
    world.unfenced.clear();
    world.wish(&[(key(1), wish(Some(1), &[1]))]);
    world.until_answered(1, 1, 1_000);
    assert_eq!(world.unfenced, [(1, key(1))]);
}
