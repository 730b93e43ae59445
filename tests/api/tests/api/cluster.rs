//! A cluster in a double with what is shipped in force, and programs of ours against it as processes.
//!
//! What the tests of controller, webhooks and operator share. Each request that a program made is looked up in the table of
//! calls when a cluster goes.

use crate::roles;
use api_tests::{Double, Options};
use serde::Deserialize as _;
use serde_json::Value;
use std::cell::RefCell;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use xtask::tools;

/// A cluster.
pub(crate) struct Cluster {
    pub(crate) double: Double,
    pub(crate) folder: tempfile::TempDir,
    logs: RefCell<Vec<PathBuf>>,
}

/// A program. Killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Cluster {
    /// With the shipped definitions, the objects of these files below `deploy`, and one user who has a token.
    pub(crate) fn start(token: &str, user: &str, files: &[&str]) -> Self {
        let mut options = Options {
            crds: Some(deploy().join("crds")),
            ..Options::default()
        };
        options.users.add(token, user, &[]);
        let cluster = Self {
            double: Double::start(options).unwrap(),
            folder: tempfile::tempdir().unwrap(),
            logs: RefCell::default(),
        };
        cluster.apply(files);
        cluster
    }

    /// As `kubectl replace` of files below `deploy`.
    pub(crate) fn apply(&self, files: &[&str]) {
        for object in files.iter().flat_map(|file| shipped(file)) {
            self.put(&object);
        }
    }

    /// Makes or replaces an object.
    pub(crate) fn put(&self, object: &Value) {
        let (code, answer) = self.double.put(object);
        assert!((200..300).contains(&code), "{code} {answer} for {object}");
    }

    /// Null if there is none.
    pub(crate) fn get(&self, path: &str) -> Value {
        self.double.get(path).unwrap_or_default()
    }

    /// Changes an object by a merge patch.
    pub(crate) fn merge(&self, path: &str, patch: &Value) {
        let merge = "application/merge-patch+json";
        let (code, answer) = self.double.request("PATCH", path, merge, patch);
        assert_eq!(code, 200, "{answer}");
    }

    /// Starts our program. Of a flag that is there twice the last counts.
    pub(crate) fn run(&self, kubeconfig: &Path, arguments: &[&str]) -> Running {
        self.run_in(kubeconfig, arguments, &[])
    }

    /// The same with these variables in its environment; of proxies it knows by them alone.
    pub(crate) fn run_in(
        &self,
        kubeconfig: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Running {
        let log = self
            .folder
            .path()
            .join(self.logs.borrow().len().to_string());
        self.logs.borrow_mut().push(log.clone());
        let out = File::create(&log).unwrap();
        let mut command = Command::new(speaker());
        for known in ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"] {
            command.env_remove(known).env_remove(known.to_lowercase());
        }
        let child = command
            .envs(variables.iter().copied())
            .args(&arguments[..1])
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(&arguments[1..])
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        Running { child, log }
    }

    /// Waits until something is so, with all logs if it never is.
    pub(crate) fn until(&self, what: &str, is_so: impl FnMut() -> bool) {
        self.until_within(WAIT_MAX, what, is_so);
    }

    /// The same for what takes longer.
    pub(crate) fn until_within(&self, longest: Duration, what: &str, is_so: impl FnMut() -> bool) {
        if !wait_for(longest, is_so) {
            let logs = self.logs.borrow();
            let logs = logs.iter().map(|log| fs::read_to_string(log).unwrap());
            let logs: Vec<String> = logs.collect();
            panic!("{what} did not come\n{}", logs.join("\n---\n"));
        }
    }
}

impl Running {
    /// All that it said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The lines of an event in its log.
    pub(crate) fn lines_of(&self, event: &str) -> Vec<Value> {
        let log = self.log();
        let lines = log.lines();
        let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter(|line| line["event"] == event || line["op"] == event)
            .collect()
    }

    /// The first of them.
    pub(crate) fn line(&self, event: &str) -> Option<Value> {
        self.lines_of(event).into_iter().next()
    }

    pub(crate) fn until_it_says(&self, event: &str) {
        let is_said = wait_for(WAIT_MAX, || self.line(event).is_some());
        assert!(is_said, "no {event} in\n{}", self.log());
    }

    /// Ends it as a kubelet does.
    pub(crate) fn stop(mut self) {
        self.signal("TERM");
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }

    /// Ends it as a machine does that loses power.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let done = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(done.unwrap().success());
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            roles::judge(&self.double.requests());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The objects of a file below `deploy`, or of all files of a folder.
pub(crate) fn shipped(place: &str) -> Vec<Value> {
    let place = deploy().join(place);
    let mut files = vec![place.clone()];
    if place.is_dir() {
        let entries = fs::read_dir(place).unwrap();
        files = entries.map(|entry| entry.unwrap().path()).collect();
    }
    let files = files.iter().filter(|path| path.is_file());
    let objects = files.flat_map(|file| {
        let text = fs::read_to_string(file).unwrap();
        let documents = serde_norway::Deserializer::from_str(&text);
        let objects = documents.map(|document| Value::deserialize(document).unwrap());
        objects.collect::<Vec<_>>()
    });
    objects.collect()
}

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

/// The binary of this build, or the one that `HELIOGRAPH_SPEAKER` names.
pub(crate) fn speaker() -> PathBuf {
    let named = std::env::var_os("HELIOGRAPH_SPEAKER").map(PathBuf::from);
    let path = named.unwrap_or_else(|| tools::target().join("debug/speaker"));
    let is_there = path.exists();
    assert!(is_there, "{}: cargo build -p speaker", path.display());
    path
}

/// Free ports of this machine.
pub(crate) fn free<const N: usize>() -> [SocketAddr; N] {
    let held = [0; N].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap())
}

pub(crate) fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

/// Whether something comes to be so.
pub(crate) fn wait_for(longest: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() > longest {
            return false;
        }
        pause(20);
    }
    true
}

/// Who the controller is to the API server.
pub(crate) const CONTROLLER: &str = "system:serviceaccount:metallb-system:controller";
const WAIT_MAX: Duration = Duration::from_secs(60); // a Lease runs out in 15 s, and the machine may be busy
