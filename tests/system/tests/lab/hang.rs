//! A speaker whose parts hang, one by one: who falls silent, when, and who must not.
//!
//! Threads are stopped with ptrace, so that the speaker itself has no means of hanging. The client asks for the VIP every
//! few milliseconds, and answers are judged by the kernel's time stamps of their frames against the deadline that is
//! stored in the pinned map (`docs/layer2.md`, L5.1).

use super::probe::{Prober, Replies};
use aya::maps::{Array, Map, MapData};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use system_tests::lab::TestLab;

#[test]
fn l5_1_a_hung_pulse_means_silence_at_the_deadline() {
    silent_by_the_deadline(&["pulse"]);
}

#[test]
fn l5_1_a_hung_deciding_loop_means_silence_at_the_deadline() {
    silent_by_the_deadline(&["decide"]);
}

#[test]
fn l5_1_hung_workers_mean_nothing_to_the_vips() {
    let scene = Scene::new();
    let hung = scene.hang(&["tokio", "feed", "log"]);
    let from = now_ns();
    thread::sleep(Duration::from_secs(2));
    let until = now_ns();
    let replies = scene.prober.stop();
    drop(hung);
    assert!(
        replies.longest_gap_ns(from, until) < 250 * MS,
        "{replies:?}"
    );
}

#[test]
fn l5_1_a_stopped_process_answers_again_only_after_taking() {
    let scene = Scene::new();
    let old = scene.epoch();
    kill(scene.pid, Signal::SIGSTOP).unwrap();
    thread::sleep(Duration::from_millis(50));
    let deadline = scene.deadline_ns();
    thread::sleep(Duration::from_secs(3));
    let continued = now_ns();
    kill(scene.pid, Signal::SIGCONT).unwrap();
    let last_old = scene.until_epoch_after(old);
    thread::sleep(Duration::from_millis(300));
    let replies = scene.prober.stop();
    replies.assert_silent(deadline + LATE_NS, continued);
    let first = replies.first_after(continued).expect("it answers again");
    assert!(
        first >= last_old,
        "answered {} ms before the VIP was taken again",
        last_old.saturating_sub(first) / MS
    );
}

/// Hangs threads of the holder: no answer past the deadline, and answers again with a new taking when they go on.
fn silent_by_the_deadline(threads: &[&str]) {
    let scene = Scene::new();
    let old = scene.epoch();
    let hung = scene.hang(threads);
    // Long enough for the other threads to have done whatever they might still do.
    thread::sleep(Duration::from_secs(2));
    let deadline = scene.deadline_ns();
    let let_go = now_ns();
    assert!(deadline < let_go, "renewed although {threads:?} hung");
    drop(hung);
    scene.until_epoch_after(old);
    thread::sleep(Duration::from_millis(300));
    let replies = scene.prober.stop();
    assert!(
        replies.first_after(0).is_some_and(|first| first < deadline),
        "it answered before"
    );
    replies.assert_silent(deadline + LATE_NS, let_go);
    assert!(replies.first_after(let_go).is_some(), "it answers again");
}

/// A lab whose client keeps asking for a VIP, and the process that answers.
struct Scene {
    /// Declared first: it ends before the lab does.
    prober: Prober,
    lab: TestLab,
    pid: Pid,
    pins: PathBuf,
    vip: Ipv4Addr,
}

impl Scene {
    fn new() -> Self {
        let lab = TestLab::sample();
        let vip = lab.frontends_of("default/web")[0].vip;
        let holder = lab.until_held(vip, |holder| holder.is_some()).unwrap();
        let IpAddr::V4(vip) = vip else {
            panic!("the first frontend is of IPv4")
        };
        let pid = Pid::from_raw(lab.speakers()[&holder].id().try_into().unwrap());
        let pins = lab.pins(&holder);
        // Another node takes the VIP while this one is silent; what it answers is not this one's.
        let node = lab.topology().nodes.iter().find(|node| node.name == holder);
        let macs = node.unwrap().netns.macs().unwrap();
        let prober = Prober::start(lab.client(), vip, macs.into_values());
        thread::sleep(Duration::from_millis(300));
        Self {
            prober,
            lab,
            pid,
            pins,
            vip,
        }
    }

    /// Stops every thread whose name starts with one of these.
    fn hang(&self, names: &[&str]) -> Hung {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid)).unwrap();
        let mut hung = Hung(Vec::new());
        for task in tasks {
            let path = task.unwrap().path();
            let name = fs::read_to_string(path.join("comm")).unwrap();
            if names.iter().any(|wanted| name.starts_with(wanted)) {
                let id = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
                hung.add(Pid::from_raw(id));
            }
        }
        assert!(!hung.0.is_empty(), "no thread is called {names:?}");
        hung
    }

    fn deadline_ns(&self) -> u64 {
        let data = MapData::from_pin(self.pins.join("hg_node_v1")).unwrap();
        let map: Array<MapData, u64> = Map::Array(data).try_into().unwrap();
        map.get(&0, 0).unwrap()
    }

    /// The epoch of the VIP's taking while it answers.
    fn answering_epoch(&self) -> Option<u64> {
        use speaker_ebpf::abi::{Entry, Mode, VipKey};
        let data = MapData::from_pin(self.pins.join("hg_vips_v1")).unwrap();
        let map: aya::maps::HashMap<MapData, [u8; 20], [u8; 24]> =
            Map::HashMap(data).try_into().unwrap();
        map.iter().map(Result::unwrap).find_map(|(key, entry)| {
            let key: VipKey = bytemuck::cast(key);
            let entry: Entry = bytemuck::pod_read_unaligned(&entry);
            let is_it =
                key.addr() == IpAddr::V4(self.vip).into() && entry.mode() == Some(Mode::Answer);
            is_it.then(|| entry.epoch())
        })
    }

    fn epoch(&self) -> u64 {
        self.answering_epoch().expect("the holder answers")
    }

    /// Waits until the VIP is taken with a later epoch; the last moment at which the old taking was seen in force.
    fn until_epoch_after(&self, old: u64) -> u64 {
        let mut last_old = 0;
        self.lab.eventually("the VIP is taken again", || {
            loop {
                let at = now_ns();
                match self.answering_epoch() {
                    Some(epoch) if epoch > old => return Ok(()),
                    Some(_) => last_old = at,
                    None => return Err("nobody has it"),
                }
            }
        });
        last_old
    }
}

/// Stopped threads, which go on when this is dropped.
struct Hung(Vec<Pid>);

impl Hung {
    fn add(&mut self, thread: Pid) {
        ptrace::seize(thread, ptrace::Options::empty()).unwrap();
        self.0.push(thread);
        ptrace::interrupt(thread).unwrap();
        waitpid(thread, Some(nix::sys::wait::WaitPidFlag::__WALL)).unwrap();
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        for thread in &self.0 {
            // One that ended meanwhile is as free as can be.
            let _ = ptrace::detach(*thread, None);
        }
    }
}

pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
}

const MS: u64 = 1_000_000;
/// A frame is stamped when the client receives it, a few softirqs after the program looked at the clock.
const LATE_NS: u64 = 30 * MS;

impl Replies {
    fn assert_silent(&self, from: u64, until: u64) {
        let within: Vec<u64> = self
            .0
            .iter()
            .copied()
            .filter(|at| (from..until).contains(at))
            .collect();
        assert!(
            within.is_empty(),
            "{} answers in between, the first {} ms in",
            within.len(),
            (within[0] - from) / MS
        );
    }

    fn first_after(&self, from: u64) -> Option<u64> {
        self.0.iter().copied().find(|at| *at >= from)
    }

    fn longest_gap_ns(&self, from: u64, until: u64) -> u64 {
        let inside = self
            .0
            .iter()
            .copied()
            .filter(|at| (from..until).contains(at));
        let points: Vec<u64> = std::iter::once(from).chain(inside).chain([until]).collect();
        points
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .max()
            .unwrap()
    }
}
