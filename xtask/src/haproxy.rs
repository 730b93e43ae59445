//! HAProxy of Debian 12, taken apart under `target/haproxy` like [the routers](super::routers): a service proxy in userspace that knows nothing of
//! Heliograph, for tests of the steering mode `socket`.

use crate::apt::Archive;
use crate::lab::net::Netns;
use crate::tools::{say, target};
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Where the program is.
#[derive(Clone, Debug)]
pub struct HaProxy {
    root: PathBuf,
}

impl HaProxy {
    /// Fetches and unpacks what is missing.
    ///
    /// # Errors
    /// When the mirror does not have a package of that suite.
    pub fn ensure() -> Result<Self> {
        let root = target().join("haproxy");
        let done = root.join("packages");
        let list = PACKAGES.join("\n");
        if fs::read_to_string(&done).is_ok_and(|have| have == list) {
            return Ok(Self { root });
        }
        say("taking HAProxy of Debian 12 apart under target/haproxy (once)");
        let archive = Archive::open("routers", &[SUITE])?;
        for package in PACKAGES {
            archive.unpack(&format!("{package}/{SUITE}"), &root)?;
        }
        fs::write(&done, list).with_context(|| format!("failed to write {}", done.display()))?;
        Ok(Self { root })
    }

    /// A command that runs it in a network namespace; the process is HAProxy's own.
    pub fn command(&self, netns: &Netns) -> Command {
        let libraries = ["usr/lib", "lib"].map(|folder| {
            let folder = self.root.join(folder);
            format!("{}/{}-linux-gnu", folder.display(), std::env::consts::ARCH)
        });
        let mut command = netns.command("env");
        command
            .arg(format!("LD_LIBRARY_PATH={}", libraries.join(":")))
            .arg(self.root.join("usr/sbin/haproxy"));
        command
    }
}

/// Debian 12, whatever the machine runs.
const SUITE: &str = "bookworm";
/// HAProxy, and the libraries that a machine may lack.
const PACKAGES: &[&str] = &[
    "haproxy",
    "libcap2",
    "libcrypt1",
    "libgcrypt20",
    "libgpg-error0",
    "liblua5.3-0",
    "liblz4-1",
    "liblzma5",
    "libopentracing-c-wrapper0",
    "libopentracing1",
    "libpcre2-8-0",
    "libssl3",
    "libstdc++6",
    "libsystemd0",
    "libzstd1",
];
