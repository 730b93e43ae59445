//! HAProxy of Debian 12, taken apart under `target/haproxy` like [the routers](super::routers): a service proxy in userspace that knows nothing of
//! Heliograph, for tests of the steering mode `socket`.

use crate::apt::taken_apart;
use crate::lab::net::Netns;
use anyhow::Result;
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
        let root = taken_apart("haproxy", "HAProxy", PACKAGES)?;
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
