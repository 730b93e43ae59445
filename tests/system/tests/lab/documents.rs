//! Commands of the documents that are for nodes and pods, run as they stand there on a cluster that the operator installed, and held to what they
//! must print; then those of a removal by hand, to its end.
//!
//! What kubectl and helm do against an API server alone is run beside (`the_commands_of_the_documents_run` in the suite `api`). A pod is a
//! process here, so that `kubectl exec` and `kubectl logs` are played by the lab's own scripts; everything else is the real kubectl. Runs the
//! blocks of the pages that are named in [`PAGES`]; a command that none of the rules knows fails the test.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use system_tests::lab::TestLab;
use xtask::lab::Lab;
use xtask::tools::root;

#[test]
fn the_commands_for_nodes_run() {
    let mut lab = TestLab::operated(|_| {});
    let web = lab.frontends_of("default/web").remove(0);
    lab.answer(&web);
    let scripts = scripts(&lab);
    // By hand from here on: nobody puts back what is taken away.
    lab.kubectl(&[
        "-n",
        NAMESPACE,
        "delete",
        "deployment",
        "metallb-operator-controller-manager",
    ]);
    let mut count = 0;
    for page in PAGES {
        for command in commands(page) {
            let Some(expected) = expected(&command) else {
                continue;
            };
            let said = run(&mut lab, &scripts, &command);
            let (out, err) = (
                String::from_utf8_lossy(&said.stdout).into_owned(),
                String::from_utf8_lossy(&said.stderr).into_owned(),
            );
            assert!(
                expected.codes.contains(&said.status.code().unwrap_or(-1)),
                "{page}: `{command}` ended with {}: {out}{err}",
                said.status
            );
            let file = command
                .split_once(" > ")
                .map(|(_, file)| scripts.join(file.trim()));
            let out = file.map_or(out, |file| {
                String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned()
            });
            assert!(
                out.contains(expected.says) || err.contains(expected.says),
                "{page}: `{command}` does not say {:?} but {out:?}, {err:?}",
                expected.says
            );
            count += 1;
        }
    }
    assert!(count >= 15, "only {count}");
    lab.until_attended("no speaker runs", |lab| lab.speakers().is_empty());
    for node in ["n1", "n2", "n3"] {
        assert!(!lab.pins(node).exists(), "{node}");
    }
    assert_eq!(lab.resolve(web.vip), None);
}

/// What a command must come to.
struct Expected {
    codes: &'static [i32],
    says: &'static str,
}

/// `None` for what is run elsewhere, and why in [`ELSEWHERE`].
#[track_caller]
fn expected(command: &str) -> Option<Expected> {
    if ELSEWHERE
        .iter()
        .any(|(begin, _)| command.starts_with(begin))
    {
        return None;
    }
    let rule = RULES.iter().find(|(part, _, _)| command.contains(part));
    let (_, codes, says) = rule.unwrap_or_else(|| panic!("nothing is known of `{command}`"));
    Some(Expected { codes, says })
}

/// By what a command contains, how it may end and what it must say. The first rule counts.
const RULES: [(&str, &[i32], &str); 18] = [
    // A lab has no default route, and other things that a doctor dislikes.
    ("ctl doctor", &[0, 1, 2], "why:"),
    ("ctl support", &[0], "heliograph-support/about.txt"),
    ("completion bash", &[0], ""),
    ("ctl drain --wait", &[0], "given away"),
    ("ctl drain --undo", &[0], ""),
    ("cleanup --all", &[0], ""),
    (
        "kubectl -n metallb-system logs",
        &[0],
        "\"event\":\"programAttached\"",
    ),
    ("rollout status", &[0], "successfully rolled out"),
    // They may be gone already, which is no news.
    ("wait --for=delete", &[0], ""),
    (" apply ", &[0], "serverside-applied"),
    ("--ignore-not-found", &[0], "deleted"),
    (" delete ", &[0], "deleted"),
    (" patch ", &[0], "patched"),
    ("get pods -o wide", &[0], "speaker-n1"),
    ("get configurationstates", &[0], "speaker-n1"),
    ("-o yaml", &[0], "items:"),
    ("get ipaddresspools", &[0], "lan"),
    ("get services", &[0], "LoadBalancer"),
];

/// What is not run here.
const ELSEWHERE: [(&str, &str); 8] = [
    ("cargo ", "takes minutes: images and releases have suites"),
    ("ctr ", "takes a container engine"),
    ("skopeo ", "publishes; that it reads the image is a test"),
    ("oc ", "takes OpenShift"),
    ("helm ", "in the suite api"),
    ("kubectl create namespace", "of the chart: in the suite api"),
    ("kubectl label namespace", "of the chart: in the suite api"),
    (
        "kubectl -n metallb-system delete daemonset metallb-speaker",
        "of the chart: in the suite api",
    ),
];

/// Nodes first, then a removal.
const PAGES: [&str; 4] = [
    "docs/doctor.md",
    "docs/runbooks.md",
    "docs/kubernetes.md",
    "docs/operations.md",
];

/// The commands of a page's fenced blocks that are of no language, one a line.
fn commands(page: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let mut commands = Vec::new();
    // Within a fence: whether it is of no language.
    let mut fence = None;
    for line in text.lines().map(str::trim) {
        match (fence, line.strip_prefix("```")) {
            (None, Some(language)) => fence = Some(language.is_empty()),
            (Some(_), Some(_)) => fence = None,
            (Some(true), None) if !line.is_empty() && !line.starts_with('#') => {
                commands.push(line.to_owned());
            }
            (Some(_) | None, None) => {}
        }
    }
    // The chart's are against a release of it, and so is what deletes its controller.
    commands
        .retain(|line| line != "kubectl -n metallb-system delete deployment metallb-controller");
    commands.retain(|line| !line.contains(" -k "));
    commands
}

/// Runs a command as a user on node n1 would, while the cluster's own parts go on with their work.
fn run(lab: &mut TestLab, scripts: &Path, command: &str) -> Output {
    let command = command
        .replace("exec POD", "exec speaker-n1")
        .replace("vipDisagree", "programAttached");
    let mut child = Command::new("bash")
        .args(["-c", &command])
        .current_dir(scripts)
        .env(
            "PATH",
            format!("{}:{}", scripts.display(), std::env::var("PATH").unwrap()),
        )
        .stdin(Stdio::null())
        .stdout(fs::File::create(scripts.join("out")).unwrap())
        .stderr(fs::File::create(scripts.join("err")).unwrap())
        .spawn()
        .unwrap();
    let until = Instant::now() + COMMAND_MAX;
    let status = loop {
        lab.attend().unwrap();
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() >= until {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(50));
    };
    Output {
        status,
        stdout: fs::read(scripts.join("out")).unwrap(),
        stderr: fs::read(scripts.join("err")).unwrap(),
    }
}

/// A folder with `kubectl` and `speaker` as a user has them, and the tree's `deploy` beside.
fn scripts(lab: &TestLab) -> PathBuf {
    let folder = lab.folder().join("commands");
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(root().join("deploy"), folder.join("deploy")).unwrap();
    let options = lab.options();
    let node = lab.netns("n1").path();
    let speaker = format!(
        "#!/bin/sh\nrun=\"nsenter --net={node} -- {speaker}\"\ncase \"$1\" in\n\
         ctl) shift; exec $run ctl --node n1 --run-dir {run_dir} \"$@\" ;;\n\
         cleanup) exec $run \"$@\" --bpffs {bpffs} --run-dir {run_dir} ;;\n\
         *) exec $run \"$@\" ;;\nesac\n",
        node = node.display(),
        speaker = options.speaker.display(),
        run_dir = options.run_dir.display(),
        bpffs = options.bpffs.display(),
    );
    // A namespace is emptied by a controller that is not there, so that nobody can wait for its end.
    let kubectl = format!(
        "#!/bin/sh\ncase \" $* \" in\n\
         *\" exec \"*) while [ \"$1\" != -- ]; do shift; done; shift 2; exec {here}/speaker \"$@\" ;;\n\
         *\" logs \"*) exec cat {logs}/*.log ;;\n\
         *\" apply \"*) exec {kubectl} \"$@\" --validate=false --force-conflicts ;;\n\
         *\" deploy/manifests \"*) exec {kubectl} \"$@\" --wait=false ;;\n\
         *) exec {kubectl} \"$@\" ;;\nesac\n",
        here = folder.display(),
        logs = lab.folder().join("log").display(),
        kubectl = Lab::kubectl(lab).unwrap().display(),
    );
    for (name, script) in [("speaker", speaker), ("kubectl", kubectl)] {
        let path = folder.join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

const NAMESPACE: &str = "metallb-system";
const COMMAND_MAX: Duration = Duration::from_secs(180); // a removal waits for three speakers
