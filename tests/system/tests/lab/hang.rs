//! A speaker whose parts hang, one by one: who falls silent, when, and who must not.
//!
//! Threads are stopped with ptrace, so that the speaker itself has no means of hanging. The client asks for the VIP every
//! few milliseconds, and answers are judged by the kernel's time stamps of their frames against the deadline that is
//! stored in the pinned map (`docs/layer2.md`, L5.1). Where it says *alone*, the other speakers were ended before: then the same node
//! takes the VIP again, and must not answer before.

use super::probe::{MS, Prober};
use aya::maps::{Array, Map, MapData};
use nix::errno::Errno;
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
use system_tests::lab::{TestLab, tell};

#[test]
fn l5_1_a_hung_pulse_means_silence_at_the_deadline() {
    silent_by_the_deadline(&["pulse"]);
}

#[test]
fn l5_1_a_hung_deciding_loop_means_silence_at_the_deadline() {
    silent_by_the_deadline(&["decide"]);
}

#[test]
fn l3_1b_another_takes_the_vip_of_a_hung_pulse_and_both_never_answer() {
    taken_over_without_overlap(&["pulse"]);
}

#[test]
fn l3_1b_another_takes_the_vip_of_a_hung_deciding_loop_and_both_never_answer() {
    taken_over_without_overlap(&["decide"]);
}

#[test]
fn l5_1_hung_workers_mean_nothing_to_the_vips() {
    let scene = Scene::new();
    let epoch = scene.epoch();
    let hung = scene.hang(&["tokio", "feed", "log"]);
    let from = now_ns();
    // What the kernel goes by, looked at again and again: how often the client asks is the machine's doing.
    while now_ns() < from + 2_000 * MS {
        assert!(now_ns() < scene.deadline_ns(), "the deadline passed");
        assert_eq!(
            scene.answering_epoch(),
            Some(epoch),
            "it is the same taking"
        );
        thread::sleep(Duration::from_millis(10));
    }
    let replies = scene.prober.stop();
    drop(hung);
    let late = replies.first_after(from + 1_000 * MS);
    assert!(late.is_some(), "it answers all along: {replies:?}");
}

#[test]
fn l5_1_a_stopped_process_answers_again_only_after_taking() {
    let scene = Scene::alone();
    let old = scene.epoch();
    kill(scene.pid, Signal::SIGSTOP).unwrap();
    thread::sleep(Duration::from_millis(50));
    let deadline = scene.deadline_ns();
    thread::sleep(Duration::from_secs(3));
    let continued = now_ns();
    kill(scene.pid, Signal::SIGCONT).unwrap();
    let last_old = scene.until_epoch_after(old);
    scene.until_asked();
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
    let scene = Scene::alone();
    let old = scene.epoch();
    let hung = scene.hang(threads);
    // Long enough for the other threads to have done whatever they might still do.
    thread::sleep(Duration::from_secs(2));
    let deadline = scene.deadline_ns();
    let let_go = now_ns();
    assert!(deadline < let_go, "renewed although {threads:?} hung");
    drop(hung);
    scene.until_epoch_after(old);
    scene.until_asked();
    let replies = scene.prober.stop();
    assert!(
        replies.first_after(0).is_some_and(|first| first < deadline),
        "it answered before"
    );
    replies.assert_silent(deadline + LATE_NS, let_go);
    assert!(replies.first_after(let_go).is_some(), "it answers again");
}

/// Hangs threads of the holder: another node answers, but not before the holder fell silent, and not both when it goes on.
fn taken_over_without_overlap(threads: &[&str]) {
    let scene = Scene::new();
    let hung_at = now_ns();
    let hung = scene.hang(threads);
    scene.lab.eventually("another answers", || {
        match scene.lab.known_holder(scene.vip.into()) {
            Some(node) if node != scene.holder => Ok(()),
            other => Err(other),
        }
    });
    let deadline = scene.deadline_ns();
    drop(hung);
    // In which the one that goes on could do wrong.
    thread::sleep(Duration::from_millis(500));
    let old = scene.mac.clone();
    let replies = scene.prober.stop();
    let (of_old, of_others) = (replies.of(&old), replies.but(&old));
    assert!(
        of_old.first_after(0).is_some(),
        "the holder answered before"
    );
    of_old.assert_silent(deadline + LATE_NS, u64::MAX);
    let first = of_others.first_after(0).expect("another answers");
    assert!(
        first >= deadline,
        "{} ms before it might",
        (deadline - first) / MS
    );
    tell(&format!(
        "{threads:?} of the holder hung: another answered after {} ms",
        (first - hung_at) / MS
    ));
}

/// A lab whose client keeps asking for a VIP, and the process that answers.
struct Scene {
    /// Declared first: it ends before the lab does.
    prober: Prober,
    lab: TestLab,
    holder: String,
    pid: Pid,
    /// The hardware address of the node that answers.
    mac: String,
    pins: PathBuf,
    vip: Ipv4Addr,
}

impl Scene {
    fn new() -> Self {
        Self::of(TestLab::sample())
    }

    /// Only the holder is left.
    fn alone() -> Self {
        let mut lab = TestLab::sample();
        let vip = lab.frontends_of("default/web")[0].vip;
        let holder = lab.holder_of(vip);
        let names: Vec<String> = lab.speakers().keys().cloned().collect();
        for name in names.iter().filter(|name| **name != holder) {
            lab.speaker(name).unwrap().kill().unwrap();
        }
        lab.eventually("the others are found dead", || {
            let seen = lab.seen(&holder, &["members"])?;
            let mut members = seen["members"].as_array().into_iter().flatten();
            match members.all(|member| member["standing"] != "alive") {
                true => Ok(()),
                false => Err(seen.to_string()),
            }
        });
        Self::of(lab)
    }

    fn of(lab: TestLab) -> Self {
        let vip = lab.frontends_of("default/web")[0].vip;
        let holder = lab.holder_of(vip);
        let mac = lab.mac_of(vip);
        let IpAddr::V4(vip) = vip else {
            panic!("the first frontend is of IPv4")
        };
        let pid = Pid::from_raw(lab.speakers()[&holder].id().try_into().unwrap());
        let pins = lab.pins(&holder);
        let prober = Prober::start(lab.client(), vip);
        let scene = Self {
            prober,
            lab,
            holder,
            pid,
            mac,
            pins,
            vip,
        };
        scene.until_asked();
        scene
    }

    /// Waits until the holder has answered the prober some times more.
    fn until_asked(&self) {
        self.lab
            .until_answered(&self.holder, self.vip.into(), QUESTIONS);
    }

    /// Stops every thread whose name starts with one of these, also those that others begin before they are stopped themselves.
    fn hang(&self, names: &[&str]) -> Hung {
        let mut hung = Hung(Vec::new());
        loop {
            let before = hung.0.len();
            for thread in self.threads(names) {
                hung.add(thread);
            }
            if hung.0.len() == before {
                break;
            }
        }
        assert!(!hung.0.is_empty(), "no thread is called {names:?}");
        hung
    }

    /// The threads whose name starts with one of these. One may end while it is looked at.
    fn threads(&self, names: &[&str]) -> Vec<Pid> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid)).unwrap();
        let is_wanted = |name: &str| names.iter().any(|wanted| name.starts_with(wanted));
        let paths = tasks.flatten().map(|task| task.path());
        let paths = paths.filter(|path| {
            fs::read_to_string(path.join("comm")).is_ok_and(|name| is_wanted(&name))
        });
        let ids = paths.map(|path| path.file_name().unwrap().to_str().unwrap().parse().unwrap());
        ids.map(Pid::from_raw).collect()
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
        let answering = || self.answering_epoch().ok_or("nobody has it");
        self.lab.eventually("the holder answers", answering)
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
    /// Stops a thread, unless it is stopped already or has ended.
    fn add(&mut self, thread: Pid) {
        if self.0.contains(&thread) {
            return;
        }
        match ptrace::seize(thread, ptrace::Options::empty()) {
            Err(Errno::ESRCH) => return,
            seized => seized.unwrap(),
        }
        self.0.push(thread);
        match ptrace::interrupt(thread) {
            Err(Errno::ESRCH) => return,
            interrupted => interrupted.unwrap(),
        }
        // Of one that ends just now its end is waited for.
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

/// So many answers show that the prober asks, and not only the heirs of the holder, who look now and then.
pub(crate) const QUESTIONS: u64 = 20;
/// A frame is stamped when the client receives it, a few softirqs after the program looked at the clock.
const LATE_NS: u64 = 30 * MS;
