//! A speaker held to what its pod is held to, by a real container runtime (runc): a root that is read-only, four capabilities, no new privileges
//! and a filter of system calls, by default a runtime's own, or ours in `deploy/seccomp`.
//!
//! The runtime's filter is Debian's for containers, resolved for these capabilities as runtimes do. That of Debian 12 is older than the rule that
//! lets `CAP_BPF` use bpf(2), which Docker, containerd and Podman have since; both forms are tried. The program is the one of the other
//! tests, with the libraries that it is linked with.

use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use system_tests::lab::{Turn, tell, turn, within};
use xtask::lab::Options;
use xtask::lab::net::{Netns, output, run};
use xtask::tools::{self, root};

#[test]
fn a_speaker_works_under_the_filter_that_a_runtime_has_by_default_and_under_ours() {
    for (name, filter) in [("a runtime's", default_of_runtimes(true)), ("ours", ours())] {
        let mut pod = Pod::started(&filter);
        let answered = within(PATIENCE, || {
            if let Some(ended) = pod.runc.try_wait().unwrap() {
                panic!("under {name} it ended with {ended}:\n{}", pod.log());
            }
            let mut ask = pod.client.command("arping");
            ask.args(["-q", "-c", "1", "-w", "1", "-I", "eth0", VIP]);
            output(&mut ask).map(|_| ()).map_err(|why| why.to_string())
        });
        answered.unwrap_or_else(|why| panic!("under {name} nobody answers: {why}\n{}", pod.log()));
        let said = pod.ctl(&["doctor", "-o", "json"]);
        assert!(!said.contains("\"is_clock_kept\":null"), "{said}");
        assert_eq!(pod.filtered(), "2", "a filter is in force");
    }
}

/// What somebody sees whose runtime is older than the rule.
#[test]
fn a_filter_that_refuses_bpf_ends_the_speaker_with_words_that_lead_there() {
    let mut pod = Pod::started(&default_of_runtimes(false));
    let ended = within(PATIENCE, || pod.runc.try_wait().unwrap().ok_or("it runs"));
    assert!(!ended.unwrap().success());
    let log = pod.log();
    tell(log.lines().last().unwrap_or_default());
    assert!(log.contains("seccomp"), "{log}");
}

/// A node with a client at its link, and a container of the speaker on it.
struct Pod {
    home: tempfile::TempDir,
    node: Netns,
    client: Netns,
    runc: Child,
    _turn: Turn,
}

impl Pod {
    fn started(filter: &Value) -> Self {
        let turn = turn();
        tools::ensure_packages(&["runc"], "running a container").unwrap();
        let home = tempfile::tempdir().unwrap();
        let prefix = format!("hgt{}", std::process::id());
        let [node, client] = ["box", "boxcl"].map(|name| Netns::named(format!("{prefix}-{name}")));
        for netns in [&node, &client] {
            netns.create().unwrap();
        }
        node.ip(&format!(
            "link set lo up\nlink add eth0 type veth peer name eth0 netns {}\naddr add 192.0.2.11/24 dev eth0\nlink set eth0 up\n",
            client.name()
        ))
        .unwrap();
        client
            .ip("link set lo up\naddr add 192.0.2.2/24 dev eth0\nlink set eth0 up\n")
            .unwrap();
        let place = |name: &str| {
            let place = home.path().join(name);
            fs::create_dir_all(&place).unwrap();
            place
        };
        let (bpf, run_dir) = (place("bpf"), place("run"));
        run(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(&bpf)).unwrap();
        fill(&place("bundle/rootfs"));
        // The speaker that gives addresses keeps them there.
        let manifests = place("manifests");
        for sample in fs::read_dir(root().join("deploy/samples")).unwrap() {
            let sample = sample.unwrap().path();
            fs::copy(&sample, manifests.join(sample.file_name().unwrap())).unwrap();
        }
        let binds = [
            (bpf.as_path(), "/sys/fs/bpf"),
            (run_dir.as_path(), "/run/heliograph"),
            (manifests.as_path(), "/manifests"),
        ];
        let config = config(filter, &node, &binds);
        fs::write(home.path().join("bundle/config.json"), config.to_string()).unwrap();
        let log = File::create(home.path().join("log")).unwrap();
        let runc = runc(home.path())
            .args(["run", "--bundle"])
            .arg(home.path().join("bundle"))
            .arg(NAME)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self {
            home,
            node,
            client,
            runc,
            _turn: turn,
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap()
    }

    /// As `kubectl exec` does.
    fn ctl(&self, words: &[&str]) -> String {
        let mut exec = runc(self.home.path());
        exec.args(["exec", NAME, "/speaker", "ctl", "--node", "n1"])
            .args(words);
        String::from_utf8(exec.output().unwrap().stdout).unwrap()
    }

    /// What the kernel says of the filter of the container's process.
    fn filtered(&self) -> String {
        let state = output(runc(self.home.path()).args(["state", NAME])).unwrap();
        let state: Value = serde_json::from_str(&state).unwrap();
        let status = fs::read_to_string(format!("/proc/{}/status", state["pid"])).unwrap();
        let line = status.lines().find(|line| line.starts_with("Seccomp:"));
        line.unwrap().split_whitespace().nth(1).unwrap().to_owned()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // It may have ended already.
        drop(run(runc(self.home.path()).args(["delete", "--force", NAME])));
        drop(self.runc.kill());
        drop(self.runc.wait());
        drop(run(Command::new("umount").arg(self.home.path().join("bpf"))));
        drop(self.node.delete());
        drop(self.client.delete());
    }
}

fn runc(home: &Path) -> Command {
    let mut runc = Command::new("runc");
    runc.arg("--root").arg(home.join("runc"));
    runc
}

/// The program, its libraries, and places for what is mounted.
fn fill(rootfs: &Path) {
    for folder in ["proc", "sys", "dev", "run/heliograph", "manifests"] {
        fs::create_dir_all(rootfs.join(folder)).unwrap();
    }
    let speaker = Options::sample().speaker;
    fs::copy(&speaker, rootfs.join("speaker")).unwrap();
    let linked = Command::new("ldd").arg(&speaker).output().unwrap();
    let linked = String::from_utf8(linked.stdout).unwrap();
    for path in linked
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        let to = rootfs.join(path.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(path, to).unwrap();
    }
}

/// As a runtime is told of the speaker's pod, with these folders mounted.
fn config(filter: &Value, node: &Netns, binds: &[(&Path, &str)]) -> Value {
    let capabilities = CAPABILITIES;
    let read_only = ["ro", "nosuid", "noexec", "nodev"];
    let mut mounts = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]}),
        json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": read_only}),
    ];
    mounts.extend(binds.iter().map(|(from, to)| {
        json!({"destination": to, "source": from, "type": "bind", "options": ["bind", "rw"]})
    }));
    json!({
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs", "readonly": true},
        "process": {
            "user": {"uid": 0, "gid": 0}, "cwd": "/", "noNewPrivileges": true,
            "args": ["/speaker", "run", "--manifests", "/manifests", "--node-name", "n1", "--insecure-gossip", "--no-arp-announce"],
            "env": ["PATH=/bin"],
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        },
        "mounts": mounts,
        "linux": {
            "namespaces": [
                {"type": "mount"}, {"type": "pid"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "network", "path": node.path()},
            ],
            "readonlyPaths": ["/proc/sys"],
            "seccomp": filter,
        },
    })
}

/// The profile that is shipped, without what is for people.
fn ours() -> Value {
    let profile = read(&root().join("deploy/seccomp/speaker.json"));
    let rules = profile["syscalls"].as_array().unwrap().iter();
    let rules: Vec<Value> = rules
        .map(|rule| json!({"names": rule["names"], "action": rule["action"]}))
        .collect();
    json!({"defaultAction": profile["defaultAction"], "defaultErrnoRet": profile["defaultErrnoRet"], "syscalls": rules})
}

/// Debian's default for containers, as it comes to a container with the speaker's capabilities; with the rule that newer ones have, or as it is.
fn default_of_runtimes(is_new: bool) -> Value {
    tools::ensure_packages(&["golang-github-containers-common"], "a runtime's filter").unwrap();
    let profile = read(Path::new("/usr/share/containers/seccomp.json"));
    let names = |list: &Value| -> Vec<String> {
        let names = list.as_array().into_iter().flatten();
        names
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    };
    let has = |name: &String| CAPABILITIES.contains(&name.as_str());
    let mut rules = Vec::new();
    for rule in profile["syscalls"].as_array().unwrap() {
        let (with, without) = (&rule["includes"], &rule["excludes"]);
        let machines = names(&with["arches"]);
        let is_for_us = names(&with["caps"]).iter().all(has)
            && !names(&without["caps"]).iter().any(has)
            && (machines.is_empty() || machines.iter().any(|machine| machine == "amd64"));
        if !is_for_us {
            continue;
        }
        let mut rule = rule.clone();
        let fields = rule.as_object_mut().unwrap();
        fields.retain(|field, value| {
            !value.is_null() && ["names", "action", "args", "errnoRet"].contains(&field.as_str())
        });
        if is_new && rule["action"] != "SCMP_ACT_ALLOW" {
            let others = names(&rule["names"]).into_iter();
            let others: Vec<String> = others
                .filter(|name| !OF_BPF.contains(&name.as_str()))
                .collect();
            rule["names"] = json!(others);
        }
        rules.push(rule);
    }
    if is_new {
        rules.push(json!({"names": OF_BPF, "action": "SCMP_ACT_ALLOW"}));
    }
    json!({"defaultAction": profile["defaultAction"], "defaultErrnoRet": profile["defaultErrnoRet"], "syscalls": rules})
}

fn read(path: &Path) -> Value {
    let text = fs::read(PathBuf::from(path)).unwrap();
    serde_json::from_slice(&text).unwrap()
}

const CAPABILITIES: [&str; 4] = ["CAP_BPF", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_PERFMON"];
/// What newer filters let those capabilities use.
const OF_BPF: [&str; 2] = ["bpf", "perf_event_open"];
const NAME: &str = "speaker";
/// The first that the sample manifests give away.
const VIP: &str = "192.0.2.100";
const PATIENCE: Duration = Duration::from_secs(60);
