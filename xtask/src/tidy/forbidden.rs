//! What code may not say, but for named files.
//!
//! Each exception names a file or a folder with the reason; one that excuses nothing any more is itself a finding.

use super::rust::{Source, words};
use super::{Finding, Tree};

/// Where a rule does not hold, and why.
struct Exception {
    path: &'static str,
    why: &'static str,
}

/// The clock, chance and sleeping belong to the drivers: everything else is told the time.
pub(super) fn clocks(tree: &Tree) -> Vec<Finding> {
    search(tree, "", CLOCKS, CLOCK_EXCEPTIONS, |call| {
        format!("`{call}` belongs in speaker/src/drive/; take time and chance as arguments")
    })
}

/// Iteration over a hash shows its order sooner or later.
pub(super) fn hashes(tree: &Tree) -> Vec<Finding> {
    search(tree, "", &["HashMap", "HashSet"], HASH_EXCEPTIONS, |name| {
        format!("`{name}`: its order can be seen; use BTreeMap or BTreeSet")
    })
}

/// Unsafe code is confined to files that are read for it.
pub(super) fn unsafe_code(tree: &Tree) -> Vec<Finding> {
    search(tree, "", &["unsafe"], UNSAFE_EXCEPTIONS, |_| {
        "unsafe code outside the files named for it in xtask/src/tidy/forbidden.rs".to_owned()
    })
}

/// An expectation that no longer holds is reported by the compiler, an allowance stays for ever.
pub(super) fn allows(tree: &Tree) -> Vec<Finding> {
    search(tree, "", &["allow"], &[], |_| {
        "use #[expect(…, reason = \"…\")] in place of #[allow]".to_owned()
    })
    .into_iter()
    .filter(|found| {
        let line = tree
            .sources(&found.path)
            .next()
            .and_then(|(_, s)| s.all().nth(found.line - 1));
        line.is_some_and(|(_, code)| code.contains("#[allow(") || code.contains("#![allow("))
    })
    .collect()
}

/// Kernel maps are declared and packets touched in two files, and maps are written by one part of the shell.
pub(super) fn raw_kernel(tree: &Tree) -> Vec<Finding> {
    let mut findings = search(tree, "speaker-ebpf/src/", RAW, RAW_EXCEPTIONS, |name| {
        format!("`{name}` belongs in prog/maps.rs or prog/ctx.rs")
    });
    findings.extend(search(
        tree,
        "speaker/",
        &["aya", "aya_obj"],
        AYA_EXCEPTIONS,
        |name| {
            format!("`{name}` belongs in speaker/src/dataplane/, the only writer of kernel maps")
        },
    ));
    findings
}

/// Every use of `names` in files below `begin` that no exception covers, and every exception that covers none.
fn search(
    tree: &Tree,
    begin: &str,
    names: &[&str],
    exceptions: &[Exception],
    say: impl Fn(&str) -> String,
) -> Vec<Finding> {
    let mut used = vec![false; exceptions.len()];
    let mut findings = Vec::new();
    for (path, source) in tree.sources(begin) {
        let excused = exceptions.iter().position(|e| path.starts_with(e.path));
        for (line, name) in uses(source, names) {
            match excused.and_then(|at| used.get_mut(at)) {
                Some(used) => *used = true,
                None => findings.push(Finding::new(path, line, say(name))),
            }
        }
    }
    let idle = exceptions.iter().zip(used).filter(|(_, used)| !used);
    findings.extend(idle.map(|(exception, _)| {
        let Exception { path, why } = exception;
        Finding::new(
            path,
            0,
            format!("needs no exception any more (it was: {why})"),
        )
    }));
    findings
}

fn uses<'a>(
    source: &'a Source,
    names: &'a [&'a str],
) -> impl Iterator<Item = (usize, &'a str)> + 'a {
    source.all().flat_map(move |(line, code)| {
        let named = names
            .iter()
            .filter(move |name| words(code, name).next().is_some());
        named.map(move |name| (line, *name))
    })
}

const CLOCKS: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
    "clock_gettime",
    "sleep",
    "time::interval",
    "getrandom",
    "rand",
    "fastrand",
];

const CLOCK_EXCEPTIONS: &[Exception] = &[
    Exception {
        path: "speaker/src/source/dir_tests.rs",
        why: "tests wait for inotify",
    },
    Exception {
        path: "speaker/src/drive/",
        why: "the one place of clocks",
    },
    Exception {
        path: "speaker/src/testnet.rs",
        why: "tests wait for a real kernel",
    },
    Exception {
        path: "speaker/src/edge/netns_tests.rs",
        why: "tests wait for a real kernel",
    },
    Exception {
        path: "xtask/",
        why: "chores wait for real processes",
    },
    Exception {
        path: "tests/system/",
        why: "suites wait for real processes and kernels",
    },
    Exception {
        path: "tests/api/",
        why: "a server's double has the server's clock, and the suite waits for real processes",
    },
    Exception {
        path: "tests/bench/",
        why: "a benchmark measures time",
    },
    Exception {
        path: "tests/sim/tests/",
        why: "how long histories may take, and how fast they happen",
    },
    Exception {
        path: "tests/model/tests/manifests.rs",
        why: "a bound on how long parsing takes",
    },
    Exception {
        path: "speaker/src/ctl/tests.rs",
        why: "tests wait for a real socket",
    },
];

const HASH_EXCEPTIONS: &[Exception] = &[
    Exception {
        path: "speaker-ebpf/src/prog/maps.rs",
        why: "a kind of kernel map",
    },
    Exception {
        path: "speaker-ebpf/src/bench/raw.rs",
        why: "a kind of kernel map",
    },
    Exception {
        path: "speaker/src/dataplane/maps.rs",
        why: "a kind of kernel map",
    },
    Exception {
        path: "tests/bench/src/object.rs",
        why: "a kind of kernel map",
    },
    Exception {
        path: "tests/system/tests/kernel/",
        why: "a kind of kernel map",
    },
    Exception {
        path: "tests/system/tests/lab/hang.rs",
        why: "a kind of kernel map",
    },
];

const UNSAFE_EXCEPTIONS: &[Exception] = &[
    Exception {
        path: "speaker-ebpf/src/main.rs",
        why: "attributes that name the licence's section",
    },
    Exception {
        path: "speaker-ebpf/src/bench/main.rs",
        why: "as main.rs",
    },
    Exception {
        path: "speaker-ebpf/src/prog/maps.rs",
        why: "pointers into kernel maps",
    },
    Exception {
        path: "speaker-ebpf/src/prog/ctx.rs",
        why: "packet memory and kernel helpers",
    },
    Exception {
        path: "speaker-ebpf/src/prog/way.rs",
        why: "kernel helpers for routes and for room in packets",
    },
    Exception {
        path: "speaker-ebpf/src/prog/socket.rs",
        why: "a context, and a kernel map",
    },
    Exception {
        path: "speaker-ebpf/src/bench/raw.rs",
        why: "as prog/, for the bench's programs",
    },
    Exception {
        path: "speaker/src/dataplane/deadline.rs",
        why: "a word in mapped kernel memory",
    },
    Exception {
        path: "speaker/src/edge/",
        why: "socket options and adjtimex, which have no safe wrapper",
    },
    Exception {
        path: "speaker/src/memory.rs",
        why: "an option of the allocator",
    },
    Exception {
        path: "xtask/src/lab/chaos/socket.rs",
        why: "a packet socket",
    },
    Exception {
        path: "tests/bench/src/raw.rs",
        why: "sendmmsg, recvmmsg and packet rings",
    },
    Exception {
        path: "tests/model/tests/memory.rs",
        why: "an allocator that counts",
    },
];

const RAW: &[&str] = &[
    "#[map",
    "#[btf_map",
    "data_end",
    "TcContext",
    "XdpContext",
    "__sk_buff",
    "xdp_md",
];

const RAW_EXCEPTIONS: &[Exception] = &[
    Exception {
        path: "speaker-ebpf/src/prog/maps.rs",
        why: "the maps",
    },
    Exception {
        path: "speaker-ebpf/src/prog/ctx.rs",
        why: "the packets",
    },
    Exception {
        path: "speaker-ebpf/src/prog/way.rs",
        why: "room in packets",
    },
    Exception {
        path: "speaker-ebpf/src/prog/socket.rs",
        why: "the map of sockets, which no other program knows",
    },
    Exception {
        path: "speaker-ebpf/src/prog/entry.rs",
        why: "entry points are given contexts",
    },
    Exception {
        path: "speaker-ebpf/src/bench/",
        why: "the bench's programs, another object",
    },
];

const AYA_EXCEPTIONS: &[Exception] = &[Exception {
    path: "speaker/src/dataplane/",
    why: "the only writer of kernel maps",
}];
