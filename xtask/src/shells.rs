//! Shells that complete our command line: zsh and fish of Debian 12, taken apart under `target/shells`. Bash is everywhere.

use crate::apt::taken_apart;
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the shells are.
#[derive(Clone, Debug)]
pub struct Shells {
    root: PathBuf,
}

impl Shells {
    /// Fetches and unpacks what is missing.
    ///
    /// # Errors
    /// When the mirror does not have a package.
    pub fn ensure() -> Result<Self> {
        let root = taken_apart("shells", "zsh and fish", PACKAGES)?;
        Ok(Self { root })
    }

    /// An interactive zsh on a terminal of its own, which reads `.zshrc` in this folder.
    pub fn zsh(&self, home: &Path) -> Command {
        let mut script = Command::new("script");
        script
            .args(["--quiet", "--return", "--command", "exec \"$ZSH\" -i"])
            .arg("/dev/null")
            .env("ZSH", self.path("bin/zsh"))
            .env("ZDOTDIR", home)
            .env("TERM", "dumb")
            .env("SHELL", "/bin/sh");
        self.with_libraries(script)
    }

    /// A fish that obeys these commands, and reads no configuration.
    pub fn fish(&self, commands: &str) -> Command {
        let mut fish = Command::new(self.path("usr/bin/fish"));
        fish.args(["--no-config", "--command", commands]);
        self.with_libraries(fish)
    }

    /// Where a file of the packages is.
    pub fn path(&self, file: &str) -> PathBuf {
        self.root.join(file)
    }

    /// Where shared libraries are.
    pub fn libraries(&self) -> PathBuf {
        self.path(&format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH))
    }

    fn with_libraries(&self, mut command: Command) -> Command {
        command.env("LD_LIBRARY_PATH", self.libraries());
        command
    }
}

/// Both, and the libraries that a machine may lack.
const PACKAGES: &[&str] = &[
    "zsh",
    "zsh-common",
    "fish",
    "fish-common",
    "libcap2",
    "libpcre2-32-0",
    "libtinfo6",
];
