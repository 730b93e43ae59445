//! Whatever happens to a directory, and however fast: in the end it is followed to what it holds.

use super::tests::{Bench, namespace};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

/// A small generator of numbers: the same seed gives the same storm.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn path(&mut self, bench: &Bench) -> PathBuf {
        let dir = ["", "x/", "x/y/"][self.roll(3) as usize];
        bench.path(&format!("{dir}f{}.yaml", self.roll(4)))
    }

    /// One to three objects out of few, so that they stand twice and move.
    fn text(&mut self) -> String {
        let objects = (0..=self.roll(3)).map(|_| {
            let (name, version) = (self.roll(6), self.roll(1000));
            namespace(&format!("n{name}, labels: {{v: v{version}}}"))
        });
        objects.collect()
    }
}

/// Does one thing; that it may be impossible just then is part of it.
fn act(bench: &Bench, dice: &mut Dice) {
    let path = dice.path(bench);
    let text = dice.text();
    match dice.roll(8) {
        0 | 1 => drop(fs::write(&path, text)),
        2 => {
            let draft = path.with_file_name(".draft");
            drop(fs::write(&draft, text).and_then(|()| fs::rename(&draft, &path)));
        }
        3 => drop(fs::rename(&path, dice.path(bench))),
        4 => drop(fs::remove_file(&path)),
        5 => drop(fs::create_dir_all(bench.path("x/y"))),
        6 if dice.roll(4) == 0 => drop(fs::remove_dir_all(bench.path("x"))),
        6 => drop(fs::hard_link(&path, dice.path(bench))),
        _ => drop(symlink(dice.path(bench), &path)),
    }
}

fn storm(seed: u64) {
    let mut bench = Bench::new(&[]);
    let mut dice = Dice(seed);
    for _ in 0..400 {
        act(&bench, &mut dice);
    }
    let mut fresh = Bench::follow(bench.dir());
    fresh.until("synced", |bench| bench.world.is_synced());
    let wanted = fresh.world.namespaces.clone();
    let problems = fresh.world.problems.clone();
    bench.until(&format!("what it holds (seed {seed})"), |bench| {
        bench.world.namespaces == wanted && bench.world.problems == problems
    });
}

#[test]
fn after_a_storm_a_directory_is_what_it_holds() {
    for seed in [1, 7, 42, 2026, 99_991] {
        storm(seed);
    }
}
