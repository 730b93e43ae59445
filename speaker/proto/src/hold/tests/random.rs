//! Random histories: whatever happens, no two kernels answer for one VIP, and when all is calm each is answered.

use super::world::*;
use crate::{GroupKey, hold::Wish};
use proptest::prelude::*;

const NODES: usize = 4;

/// Ways to put three VIPs together.
const GROUPINGS: [&[&[u8]]; 4] = [
    &[&[1], &[2], &[3]],
    &[&[1], &[2, 3]],
    &[&[1, 2], &[3]],
    &[&[1, 2, 3]],
];

#[derive(Clone, Debug)]
enum Step {
    /// One node's view elects another owner for a VIP's group.
    Elect(usize, usize, Option<usize>),
    /// All views do.
    ElectAll(usize, Option<usize>),
    /// One node's view puts VIPs together in another way.
    Regroup(usize, usize),
    Crash(usize),
    PowerOff(usize),
    Start(usize),
    Restart(usize, u64),
    Pause(usize, u64),
    Stale(usize, bool),
    /// Datagrams from one node to another are lost from now on.
    Cut(usize, usize),
    /// None is any more.
    Heal,
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0..NODES;
    let owner = prop_oneof![8 => (0..NODES).prop_map(Some), 1 => Just(None)];
    prop_oneof![
        8 => (node.clone(), 0..3_usize, owner.clone()).prop_map(|(n, v, o)| Step::Elect(n, v, o)),
        4 => (0..3_usize, owner).prop_map(|(v, o)| Step::ElectAll(v, o)),
        2 => (node.clone(), 0..GROUPINGS.len()).prop_map(|(n, g)| Step::Regroup(n, g)),
        1 => node.clone().prop_map(Step::Crash),
        1 => node.clone().prop_map(Step::PowerOff),
        3 => node.clone().prop_map(Step::Start),
        2 => (node.clone(), 1..900_u64).prop_map(|(n, ms)| Step::Restart(n, ms)),
        2 => (node.clone(), 1..1_500_u64).prop_map(|(n, ms)| Step::Pause(n, ms)),
        1 => (node, any::<bool>()).prop_map(|(n, is)| Step::Stale(n, is)),
    ]
}

fn fault() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => step(),
        2 => (0..NODES, 0..NODES).prop_map(|(a, b)| Step::Cut(a, b)),
        1 => Just(Step::Heal),
    ]
}

fn history(step: impl Strategy<Value = Step>) -> impl Strategy<Value = Vec<(u64, Step)>> {
    let wait = prop_oneof![5 => 0..20_u64, 3 => 0..300_u64, 1 => 0..3_000_u64];
    prop::collection::vec((wait, step), 1..40)
}

fn weather() -> impl Strategy<Value = Weather> {
    let part = (0..250_u64, 0..50_u64, 1..30_u64, 1..30_u64, 1..40_u64);
    part.prop_map(|(loss, late, delay_ms, turn_ms, apply_ms)| Weather {
        loss,
        late,
        delay_ms,
        turn_ms,
        apply_ms,
    })
}

/// What each node's view says.
#[derive(Clone, Debug)]
struct View {
    grouping: usize,
    owners: [Option<usize>; 3],
}

impl View {
    fn wishes(&self) -> Vec<(GroupKey, Wish)> {
        let groups = GROUPINGS[self.grouping].iter();
        let groups = groups.map(|vips| {
            let owner = self.owners[usize::from(vips[0]) - 1];
            (key(vips[0]), wish(owner, vips))
        });
        groups.collect()
    }
}

fn go(world: &mut World, views: &mut [View], step: &Step) {
    match step {
        Step::Elect(node, vip, owner) => {
            views[*node].owners[*vip] = *owner;
            world.wish_at(*node, &views[*node].wishes());
        }
        Step::ElectAll(vip, owner) => {
            for (node, view) in views.iter_mut().enumerate() {
                view.owners[*vip] = *owner;
                world.wish_at(node, &view.wishes());
            }
        }
        Step::Regroup(node, grouping) => {
            views[*node].grouping = *grouping;
            world.wish_at(*node, &views[*node].wishes());
        }
        Step::Crash(node) => world.crash(*node),
        Step::PowerOff(node) => world.power_off(*node),
        Step::Start(node) => world.start(*node),
        Step::Restart(node, ms) => {
            world.crash(*node);
            world.run(*ms);
            world.start(*node);
        }
        Step::Pause(node, ms) => world.pause(*node, *ms),
        Step::Stale(node, is_stale) => world.stale(*node, *is_stale),
        Step::Cut(from, to) => {
            world.cut.insert((*from, *to));
        }
        Step::Heal => world.cut.clear(),
    }
}

fn begin(weather: Weather, seed: u64) -> (World, Vec<View>) {
    let mut world = World::new(NODES, weather, seed);
    let view = View {
        grouping: 1,
        owners: [Some(0), Some(1), Some(2)],
    };
    world.wish(&view.wishes());
    (world, vec![view; NODES])
}

/// Nothing is lost any more, all nodes run, and one view says that each VIP has an owner.
fn calm_down(world: &mut World, views: &[View]) -> View {
    (world.weather.loss, world.weather.late) = (0, 0);
    world.cut.clear();
    for node in 0..NODES {
        world.start(node);
        world.stale(node, false);
    }
    let mut last = views[0].clone();
    last.owners = last.owners.map(|owner| owner.or(Some(3)));
    world.wish(&last.wishes());
    last
}

fn each_is_answered(world: &World) -> Result<(), TestCaseError> {
    for vip in 1..=3 {
        let answering = world.answering(vip);
        prop_assert_eq!(answering.len(), 1, "{}: {:#?}", vip, world.states());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn l3_1_no_history_without_cuts_gives_two_answers_or_none_for_long(
        weather in weather(),
        seed in any::<u64>(),
        history in history(step()),
    ) {
        let (mut world, mut views) = begin(weather, seed);
        for (wait, step) in &history {
            world.run(*wait);
            go(&mut world, &mut views, step);
            prop_assert_eq!(&world.doubles, &[]);
        }
        calm_down(&mut world, &views);
        world.run(12_000);
        prop_assert_eq!(&world.doubles, &[]);
        each_is_answered(&world)?;
    }

    #[test]
    fn l5_5_whatever_was_cut_one_answers_when_it_is_whole_again(
        weather in weather(),
        seed in any::<u64>(),
        history in history(fault()),
    ) {
        let (mut world, mut views) = begin(weather, seed);
        for (wait, step) in &history {
            world.run(*wait);
            go(&mut world, &mut views, step);
        }
        calm_down(&mut world, &views);
        world.run(2_000);
        world.doubles.clear();
        world.run(10_000);
        prop_assert_eq!(&world.doubles, &[]);
        each_is_answered(&world)?;
    }
}

fn cases() -> u32 {
    match std::env::var("CASES") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => 24,
    }
}
