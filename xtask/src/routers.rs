//! The routers that BGP and BFD are tested against: FRR, BIRD, GoBGP and ExaBGP of Debian 12, taken apart under `target/routers`.
//!
//! They are not installed: the package manager would start them as services of the machine, on ports of the machine. A router runs
//! in a mount namespace of its own, where it finds a user and a group by the names that it insists on. What it is told
//! to do is not known here.

use crate::apt::Archive;
use crate::lab::net::Netns;
use crate::tools::{say, target};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the routers' programs are.
#[derive(Clone, Debug)]
pub struct Routers {
    root: PathBuf,
}

impl Routers {
    /// Fetches and unpacks what is missing.
    ///
    /// # Errors
    /// When the mirror does not have a package of that suite.
    pub fn ensure() -> Result<Self> {
        let routers = Self {
            root: target().join("routers"),
        };
        let done = routers.root.join("packages");
        let list = PACKAGES.join("\n");
        if fs::read_to_string(&done).is_ok_and(|have| have == list) {
            return Ok(routers);
        }
        say("taking FRR, BIRD, GoBGP and ExaBGP of Debian 12 apart under target/routers (once)");
        let archive = Archive::open("routers", &[SUITE])?;
        for package in PACKAGES {
            // Of that suite, also where the machine has another version.
            archive.unpack(&format!("{package}/{SUITE}"), &routers.root)?;
        }
        let etc = routers.root.join("etc");
        for (file, text) in [("passwd", USERS), ("group", GROUPS)] {
            fs::write(etc.join(file), text).with_context(|| format!("failed to write {file}"))?;
        }
        fs::write(&done, list).with_context(|| format!("failed to write {}", done.display()))?;
        Ok(routers)
    }

    /// A command that runs a router's program, such as `usr/lib/frr/bgpd`, in a network namespace.
    pub fn command(&self, netns: &Netns, program: &str) -> Command {
        let (etc, libraries) = (self.root.join("etc"), self.libraries());
        let mut command = netns.command("unshare");
        command
            .args(["--mount", "sh", "-c", PRIVATELY, "sh"])
            .arg(etc.join("passwd"))
            .arg(etc.join("group"))
            .arg("env")
            .arg(format!("LD_LIBRARY_PATH={0}:{0}/frr", libraries.display()))
            .arg(format!(
                "PYTHONPATH={}",
                self.path("usr/lib/python3/dist-packages").display()
            ))
            .arg(self.path(program));
        command
    }

    /// Where shared libraries are; FRR's own in the folder `frr` there.
    pub fn libraries(&self) -> PathBuf {
        self.path(&format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH))
    }

    /// Where a file of the packages is.
    pub fn path(&self, file: &str) -> PathBuf {
        self.root.join(Path::new(file))
    }
}

/// Debian 12, whatever the machine runs: so that everyone's tests meet the same versions.
const SUITE: &str = "bookworm";
/// The routers, and the libraries that a machine may lack.
const PACKAGES: &[&str] = &[
    "frr",
    "bird2",
    "gobgpd",
    "exabgp",
    "python3-exabgp",
    "python3-pkg-resources",
    "libc-ares2",
    "libcap2",
    "libcrypt1",
    "libgcrypt20",
    "libgpg-error0",
    "libjson-c5",
    "libpam0g",
    "libpcre2-8-0",
    "libreadline8",
    "libssh-gcrypt-4",
    "libtinfo6",
    "libyang2",
];
/// FRR's daemons want to be of the group `frrvty`, which only its installation makes.
const USERS: &str = "root:x:0:0:root:/root:/bin/sh\n";
const GROUPS: &str = "root:x:0:root\nfrrvty:x:100:root\n";
/// Mounts that nobody else sees: both files, and a place for the files that FRR leaves in `/var/tmp`.
const PRIVATELY: &str = "mount --bind \"$1\" /etc/passwd && mount --bind \"$2\" /etc/group && \
                         mount -t tmpfs routers /var/tmp && shift 2 && exec \"$@\"";
