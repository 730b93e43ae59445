//! Labs that the operator installed, whose workloads the lab itself runs.

use super::{TestLab, options_of, turn};
use std::thread;
use std::time::{Duration, Instant};
use xtask::lab::{Lab, Options};

impl TestLab {
    /// The sample manifests on an API server where the operator installed us from a MetalLB resource; `prepare` sees the nodes before their first
    /// speaker.
    #[track_caller]
    pub fn operated(prepare: impl FnOnce(&Lab)) -> Self {
        let turn = turn();
        let binaries =
            xtask::lab::command::build_cluster().expect("a cluster's binaries are built");
        let options = Options {
            cluster: Some(binaries),
            is_operated: true,
            ..options_of(std::process::id())
        };
        let mut lab = Lab::without_speakers(options).expect("the operator makes a controller");
        prepare(&lab);
        lab.start_speakers().expect("the operator makes speakers");
        let lab = Self {
            lab: Some(lab),
            _turn: turn,
        };
        lab.settle();
        lab
    }

    /// Waits until something is so in a lab that an operator installed, while the cluster's own parts go on with their work.
    #[track_caller]
    pub fn until_attended(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let until = Instant::now() + ATTENDED_MAX;
        while !is_so(self) {
            self.attend().expect("the cluster's parts do their work");
            assert!(
                Instant::now() < until,
                "not within {} s: {what}\n{}",
                ATTENDED_MAX.as_secs(),
                self.speakers_say()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }
}

const ATTENDED_MAX: Duration = Duration::from_secs(180); // three speakers, one after the other, each up to a minute for its end
