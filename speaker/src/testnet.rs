//! Network namespaces and bpf file systems for tests, made and removed by them. Root only, and the failure says so.

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{process, thread};

/// A network namespace with a veth pair between it and a second one: `eth0` here, `eth0` there.
pub(crate) struct TestNet {
    pub(crate) here: Namespace,
    pub(crate) there: Namespace,
}

/// A network namespace.
pub(crate) struct Namespace {
    name: String,
}

/// A bpf file system on a folder of its own.
pub(crate) struct TestBpf {
    dir: tempfile::TempDir,
}

impl TestNet {
    /// Two namespaces and the wire between them, up, without duplicate address detection.
    pub(crate) fn new() -> Self {
        go_first();
        let net = Self {
            here: Namespace::new("a"),
            there: Namespace::new("b"),
        };
        for namespace in [&net.here, &net.there] {
            namespace.write("/proc/sys/net/ipv6/conf/default/accept_dad", "0");
        }
        let (here, there) = (&net.here.name, &net.there.name);
        run(&format!(
            "ip link add eth0 netns {here} type veth peer name eth0 netns {there}"
        ));
        net.here.run("ip link set eth0 up");
        net.there.run("ip link set eth0 up");
        net
    }
}

/// Puts this thread, and what it starts, before other work of the machine, where that is allowed: times of BFD are short, and who gets no processor
/// for so long is rightly taken for dead. Kernels that share processors out by sessions have a priority of those (sched(7), autogroup).
fn go_first() {
    let _ = rustix::process::setpriority_process(None, -10);
    let _ = std::fs::write("/proc/self/autogroup", "-10");
}

impl Namespace {
    fn new(tag: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        assert!(
            rustix::process::geteuid().is_root(),
            "this test makes network namespaces: run it as root"
        );
        let name = format!(
            "hgt-{}-{}{tag}",
            process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        run(&format!("ip netns add {name}"));
        Self { name }
    }

    /// Its name, which no other test has.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` on a thread of its own inside the namespace.
    pub(crate) fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let namespace = File::open(format!("/run/netns/{}", self.name)).unwrap();
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("root may enter its own namespace");
                work()
            });
            inside
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a command inside; its output. It must succeed.
    pub(crate) fn run(&self, command: &str) -> String {
        run(&format!("ip netns exec {} {command}", self.name))
    }

    /// Starts a command inside.
    pub(crate) fn start(&self, command: &str) -> process::Child {
        let words = format!("netns exec {} {command}", self.name);
        Command::new("ip")
            .args(words.split(' '))
            .stdout(process::Stdio::piped())
            .stderr(process::Stdio::null())
            .spawn()
            .unwrap()
    }

    /// The index of one of its links.
    pub(crate) fn ifindex(&self, link: &str) -> u32 {
        let shown = self.run(&format!("ip -o link show {link}"));
        shown.split(':').next().unwrap().parse().unwrap()
    }

    /// Writes a file of `/proc/sys/net` as seen inside.
    pub(crate) fn write(&self, path: &str, value: &str) {
        self.enter(|| std::fs::write(path, value).unwrap());
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let deleted = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
        assert!(deleted.is_ok_and(|status| status.success()) || thread::panicking());
    }
}

impl TestBpf {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        run(&format!("mount -t bpf bpf {}", dir.path().display()));
        Self { dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for TestBpf {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(self.dir.path()).status();
        assert!(done.is_ok_and(|status| status.success()) || thread::panicking());
    }
}

/// Waits until `is_so`; half a minute at most, which a machine with much to do may take for what is otherwise there at once.
#[track_caller]
pub(crate) fn eventually(what: &str, is_so: impl FnMut() -> bool) {
    within(Duration::from_secs(30), what, is_so);
}

/// Waits, for at most this long.
#[track_caller]
pub(crate) fn within(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < limit, "{what} did not come to be");
        thread::sleep(Duration::from_millis(5));
    }
}

fn run(command: &str) -> String {
    let mut words = command.split(' ');
    let program = words.next().unwrap();
    let done = Command::new(program)
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error} (install it)"));
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command}: {errors}");
    String::from_utf8(done.stdout).unwrap()
}
