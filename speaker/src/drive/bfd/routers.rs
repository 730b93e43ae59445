//! FRR's bfdd and BIRD for tests, each in a namespace, without any service manager.

use crate::testnet::Namespace;
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// FRR's zebra and bfdd, with an instance name of their own.
pub(super) struct Frr<'n> {
    net: &'n Namespace,
    daemons: Vec<Child>,
    folders: [PathBuf; 2],
}

impl<'n> Frr<'n> {
    /// Starts them with what stands below `bfd` in the configuration.
    pub(super) fn start(net: &'n Namespace, config: &str) -> Self {
        let name = net.name();
        let folders = [format!("/etc/frr/{name}"), format!("/run/frr/{name}")].map(PathBuf::from);
        let (user, group) = owner();
        for folder in &folders {
            fs::create_dir_all(folder).unwrap();
            chown(folder, Some(user), Some(group)).unwrap();
        }
        let file = folders[0].join("bfdd.conf");
        // Without a vtysh.conf vtysh complains, and without a file of its own each daemon.
        for (file, text) in [
            (&file, format!("bfd\n{config}\n")),
            (&folders[0].join("zebra.conf"), String::new()),
            (&folders[0].join("vtysh.conf"), String::new()),
        ] {
            fs::write(file, text).unwrap();
            chown(file, Some(user), Some(group)).unwrap();
        }
        net.run("ip link set lo up");
        let daemons = ["zebra", "bfdd"].map(|daemon| {
            let child = net.start(&format!(
                "/usr/lib/frr/{daemon} -N {name} -f /etc/frr/{name}/{daemon}.conf -i /run/frr/{name}/{daemon}.pid -A 127.0.0.1 -P 0"
            ));
            let socket = folders[1].join(format!("{daemon}.vty"));
            super::netns_tests::until("a daemon of FRR", || socket.exists());
            child
        });
        let frr = Self {
            net,
            daemons: daemons.into(),
            folders,
        };
        // Its socket is there before it is listened to.
        super::netns_tests::until("an answer of FRR", || {
            frr.said(&["show bfd peers json"]).is_ok()
        });
        frr
    }

    /// The only session as `show bfd peers json` has it.
    pub(super) fn session(&self) -> serde_json::Value {
        let shown = self.ask(&["show bfd peers json"]);
        let sessions: serde_json::Value = serde_json::from_str(&shown).unwrap();
        sessions[0].clone()
    }

    /// Gives commands in configuration mode, below `bfd`.
    pub(super) fn configure(&self, commands: &[&str]) {
        let all = [&["configure terminal", "bfd"], commands].concat();
        self.ask(&all);
    }

    fn ask(&self, commands: &[&str]) -> String {
        self.said(commands).unwrap_or_else(|said| panic!("{said}"))
    }

    /// What vtysh says; likewise where it is a complaint.
    fn said(&self, commands: &[&str]) -> Result<String, String> {
        let mut vtysh = Command::new("ip");
        let name = self.net.name();
        vtysh.args(["netns", "exec", name, "vtysh", "-N", name]);
        for command in commands {
            vtysh.args(["-c", command]);
        }
        let done = vtysh.output().unwrap();
        let said = String::from_utf8(done.stdout).unwrap();
        match done.status.success() && !said.contains('%') {
            true => Ok(said),
            false => Err(said),
        }
    }

    /// Ends both without a word to anybody.
    pub(super) fn kill(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
        }
        self.daemons.clear();
    }
}

impl Drop for Frr<'_> {
    fn drop(&mut self) {
        self.kill();
        for folder in &self.folders {
            fs::remove_dir_all(folder).unwrap();
        }
    }
}

/// The user and group that FRR's daemons become.
fn owner() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("frr:"));
    let line = line.expect("FRR is not installed: apt-get install frr");
    let mut numbers = line
        .split(':')
        .skip(2)
        .map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// BIRD with a protocol for BFD.
pub(super) struct Bird<'n> {
    net: &'n Namespace,
    daemon: Option<Child>,
    dir: tempfile::TempDir,
}

impl<'n> Bird<'n> {
    /// Starts it with what stands in the protocol `bfd`.
    pub(super) fn start(net: &'n Namespace, config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), config);
        let path = dir.path().display();
        let daemon = net.start(&format!("bird -f -c {path}/bird.conf -s {path}/bird.ctl"));
        let socket = dir.path().join("bird.ctl");
        // It is there before it is listened to.
        super::netns_tests::until("BIRD", || UnixStream::connect(&socket).is_ok());
        Self {
            net,
            daemon: Some(daemon),
            dir,
        }
    }

    /// The line of the only session: address, link, state, since, interval, timeout.
    pub(super) fn session(&self) -> String {
        let shown = self.ask("show bfd sessions");
        shown.lines().last().unwrap_or_default().to_owned()
    }

    /// Goes on with another configuration.
    pub(super) fn configure(&self, config: &str) {
        write(self.dir.path(), config);
        let said = self.ask("configure");
        assert!(
            said.contains("Reconfigured") || said.contains("in progress"),
            "{said}"
        );
    }

    fn ask(&self, command: &str) -> String {
        let path = self.dir.path().display();
        self.net.run(&format!("birdc -s {path}/bird.ctl {command}"))
    }

    /// Ends it without a word to anybody.
    pub(super) fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
        }
    }
}

impl Drop for Bird<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

fn write(dir: &Path, config: &str) {
    let text =
        format!("router id 192.0.2.2;\nprotocol device {{ }}\nprotocol bfd {{\n{config}\n}}\n");
    fs::write(dir.join("bird.conf"), text).unwrap();
}
