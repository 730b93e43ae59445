//! Namespaces with a wire between them, made and removed by the tests.

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{process, thread};
use xtask::tools;

/// A network namespace with `eth0` and `lo` in it, both up.
pub(crate) struct Namespace {
    pub(crate) name: String,
}

/// A namespace for the node and one for a client, a veth pair between them. No address is given by itself.
pub(crate) struct Wire {
    pub(crate) node: Namespace,
    pub(crate) client: Namespace,
}

impl Wire {
    /// The node's end has the index and the hardware address given.
    pub(crate) fn new(ifindex: u32, mac: [u8; 6]) -> Self {
        let wire = Self {
            node: Namespace::new("node"),
            client: Namespace::new("client"),
        };
        let (node, client) = (&wire.node.name, &wire.client.name);
        run(&format!(
            "ip link add eth0 index {ifindex} netns {node} type veth peer name eth0 netns {client}"
        ));
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
        wire.node.run(&format!("ip link set eth0 address {mac} up"));
        wire.client.run("ip link set eth0 up");
        wire
    }
}

impl Namespace {
    pub(crate) fn new(tag: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        require_root();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let namespace = Self {
            name: format!("hgk-{}-{number}-{tag}", process::id()),
        };
        run(&format!("ip netns add {}", namespace.name));
        namespace.write("net/ipv6/conf/default/disable_ipv6", "1");
        namespace.write("net/ipv6/conf/default/accept_ra", "0");
        namespace.run("ip link set lo up");
        namespace
    }

    /// Runs `work` on a thread of its own inside.
    pub(crate) fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let namespace = File::open(format!("/run/netns/{}", self.name)).unwrap();
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .unwrap();
                work()
            });
            inside
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a command inside; its output. It must succeed.
    pub(crate) fn run(&self, command: &str) -> String {
        let (is_done, output) = self.attempt(command);
        assert!(is_done, "{command}: {output}");
        output
    }

    /// Runs a command inside; whether it succeeded, and its output.
    pub(crate) fn attempt(&self, command: &str) -> (bool, String) {
        attempt(&format!("ip netns exec {} {command}", self.name))
    }

    /// Writes a file of `/proc/sys` as seen inside.
    pub(crate) fn write(&self, file: &str, value: &str) {
        self.enter(|| std::fs::write(format!("/proc/sys/{file}"), value).unwrap());
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let (is_gone, why) = attempt(&format!("ip netns del {}", self.name));
        assert!(is_gone || thread::panicking(), "{why}");
    }
}

/// A missing privilege is a failure that says what to do.
pub(crate) fn require_root() {
    assert!(
        tools::is_root(),
        "this suite loads programs and makes namespaces; as root run: cargo xtask test kernel"
    );
}

/// Waits until `is_so`; half a minute at most, which a machine with much to do may take for what is otherwise there at once.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "not in time: {what}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn run(command: &str) {
    let (is_done, output) = attempt(command);
    assert!(is_done, "{command}: {output}");
}

fn attempt(command: &str) -> (bool, String) {
    let mut words = command.split_whitespace();
    let done = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("{command}: {error}"));
    let output = String::from_utf8_lossy(&done.stdout).into_owned();
    let errors = String::from_utf8_lossy(&done.stderr);
    (done.status.success(), format!("{output}{errors}"))
}
