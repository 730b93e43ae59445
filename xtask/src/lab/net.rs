//! Network namespaces by name, and what to do inside one.
//!
//! Commands enter by `nsenter --net` and keep the mounts of the caller: `ip netns exec` would put a fresh `/sys` over
//! the mounted bpffs. What lies in which namespace is [`super::topology`]'s business.

use crate::tools;
use anyhow::{Context, Result, bail, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// A network namespace under its name in `/run/netns`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Netns(String);

impl Netns {
    /// The namespace of that name, whether it exists yet or not.
    pub fn named(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Where its handle is, for `nsenter --net=`.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(NETNS_DIR).join(&self.0)
    }

    /// Whether a namespace of that name is there.
    pub fn exists(&self) -> bool {
        self.path().exists()
    }

    /// Makes it.
    ///
    /// # Errors
    /// When the name is taken, or the privilege is missing.
    pub fn create(&self) -> Result<()> {
        run(Command::new("ip").args(["netns", "add", &self.0]))
    }

    /// Removes it with all interfaces that live in it; absent is fine.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn delete(&self) -> Result<()> {
        if !self.exists() {
            return Ok(());
        }
        run(Command::new("ip").args(["netns", "delete", &self.0]))
    }

    /// A command that runs inside.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path().display()))
            .arg("--")
            .arg(program);
        command
    }

    /// Runs `f` on a thread of its own inside, so that sockets it opens belong there.
    ///
    /// # Errors
    /// When the namespace is not there or may not be entered.
    pub fn enter<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T> {
        let handle = File::open(self.path())
            .with_context(|| format!("failed to open the namespace {}", self.0))?;
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                move_into_link_name_space(handle.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(f())
            });
            match inside.join() {
                Ok(result) => result.map_err(|e: rustix::io::Errno| {
                    anyhow::Error::from(e).context(format!("failed to enter {}", self.0))
                }),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Runs `ip` commands inside, one a line, stopping at the first that fails.
    ///
    /// # Errors
    /// With `ip`'s own words and the commands.
    pub fn ip(&self, commands: &str) -> Result<()> {
        feed(self.command("ip").args(["-batch", "-"]), commands)
            .with_context(|| format!("failed in namespace {}:\n{commands}", self.0))
    }

    /// Sets `net.` variables inside: `ipv4.ip_forward` becomes `/proc/sys/net/ipv4/ip_forward`.
    ///
    /// # Errors
    /// When one is not there or may not be written.
    pub fn sysctl(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.enter(|| {
            for (key, value) in settings {
                let path = PathBuf::from("/proc/sys/net").join(key.replace('.', "/"));
                std::fs::write(&path, value)
                    .with_context(|| format!("failed to write {value} to {}", path.display()))?;
            }
            Ok(())
        })?
    }

    /// The addresses of all interfaces.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn addresses(&self) -> Result<Vec<IpAddr>> {
        #[derive(Deserialize)]
        struct Link {
            addr_info: Vec<Address>,
        }
        #[derive(Deserialize)]
        struct Address {
            local: IpAddr,
        }
        let links: Vec<Link> = self.list(&["address"])?;
        Ok(links
            .into_iter()
            .flat_map(|link| link.addr_info)
            .map(|address| address.local)
            .collect())
    }

    /// The hardware address of every interface, by name.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn macs(&self) -> Result<BTreeMap<String, String>> {
        #[derive(Deserialize)]
        struct Link {
            ifname: String,
            address: Option<String>,
        }
        let links: Vec<Link> = self.list(&["link"])?;
        Ok(links
            .into_iter()
            .filter_map(|link| Some((link.ifname, link.address?)))
            .collect())
    }

    /// The neighbours with their hardware addresses, as far as they are known.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn neighbours(&self) -> Result<BTreeMap<IpAddr, String>> {
        #[derive(Deserialize)]
        struct Neighbour {
            dst: IpAddr,
            lladdr: Option<String>,
        }
        let all: Vec<Neighbour> = self.list(&["neigh"])?;
        Ok(all
            .into_iter()
            .filter_map(|n| Some((n.dst, n.lladdr?)))
            .collect())
    }

    fn list<T: DeserializeOwned>(&self, what: &[&str]) -> Result<Vec<T>> {
        let text = self.output("ip", &[&["-json"], what, &["show"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("failed to read {what:?}: {text}"))
    }

    /// What a command inside prints on its standard output.
    ///
    /// # Errors
    /// When it cannot run or ends badly, with what it said.
    pub fn output(&self, program: &str, args: &[&str]) -> Result<String> {
        output(self.command(program).args(args))
    }
}

/// Runs a command to its end.
///
/// # Errors
/// When it cannot run or ends badly, with what it said.
pub fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Runs a command to its end and returns its standard output.
///
/// # Errors
/// When it cannot run or ends badly, with what it said.
pub fn output(command: &mut Command) -> Result<String> {
    show(command, "");
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to run {command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?} ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{command:?} printed no text"))
}

/// Runs a command with `input` on its standard input.
///
/// # Errors
/// When it cannot run or ends badly, with what it said.
pub fn feed(command: &mut Command, input: &str) -> Result<()> {
    show(command, input);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to run {command:?}"))?;
    let mut stdin = child
        .stdin
        .take()
        .expect("the input was asked to be a pipe");
    // A command that ends before it has read all says why on its error output.
    let written = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    written.with_context(|| format!("failed to feed {command:?}"))
}

/// Whether commands are shown before they run.
pub fn show_commands(yes: bool) {
    SHOWN.store(yes, Ordering::Relaxed);
}

fn show(command: &Command, input: &str) {
    if SHOWN.load(Ordering::Relaxed) {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        let input = input.lines().map(|line| format!("\n    {line}"));
        let input: String = input.collect();
        tools::say(&format!("+ {}{input}", words.join(" ")));
    }
}

static SHOWN: AtomicBool = AtomicBool::new(false);

/// Where `ip netns` keeps the handles.
pub const NETNS_DIR: &str = "/run/netns";
