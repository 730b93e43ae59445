//! Any text as manifests, all the way to addresses: what the fuzz target and the replay of its corpus have in common.

use speaker_core::allocator::{self, Assignments, text};
use speaker_core::manifest::{self, DEFAULT_NAMESPACE};
use speaker_core::{Kind, World};

/// Reads a text as manifests, puts what they say into a world, and gives its services addresses. What is given must
/// be stable and must survive being written and read.
pub fn exercise(input: &str) {
    let mut world = World::default();
    for object in manifest::read("fuzz", input, DEFAULT_NAMESPACE).objects {
        world.put(object);
    }
    for kind in Kind::ALL {
        world.synced(kind);
    }
    world.assignments = Some(Assignments::new().into());
    let held = allocator::allocate(&world, &Assignments::new(), None).assignments;
    let again = allocator::allocate(&world, &held, None).assignments;
    assert_eq!(held, again, "a second pass changes nothing");
    assert_eq!(
        text::parse("fuzz", &text::render(&held)),
        Ok(held),
        "what is written is what is read"
    );
    for pool in world.pools.values() {
        for range in &pool.ranges {
            assert!(range.blocks().count() <= 256, "{range} has few blocks");
        }
    }
    world.config_problems();
    world.config_notes();
    if let Ok(assignments) = text::parse("fuzz", input) {
        assert_eq!(
            text::parse("fuzz", &text::render(&assignments)),
            Ok(assignments)
        );
    }
}
