//! The program that gives connections to sockets, and the sockets that it knows.
//!
//! The program is attached to the network namespace that the speaker started in, by a pinned link, and only while there is something
//! to give. A new process attaches its own before it lets the old one go: both know the same sockets, so that nothing is missed. Which
//! sockets these are is nothing that it knows; the kernel itself forgets those that are closed.

use super::pins::Pins;
use super::{maps, remove_pin};
use anyhow::{Context, Result, anyhow};
use aya::maps::{MapData, MapError, SockHash};
use aya::programs::SkLookup;
use aya::programs::links::FdLink;
use speaker_ebpf::abi::{SOCKETS, SocketKey};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;

/// The program's name in the object.
pub(super) const PROGRAM: &str = "heliograph_sk";

/// Both.
pub(crate) struct Chooser {
    map: SockHash<MapData, [u8; KEY_BYTES]>,
    program: Result<SkLookup, String>,
    netns: File,
    link: PathBuf,
    is_attached: bool,
}

impl Chooser {
    /// For the calling thread's network namespace. `loaded` says why the program is not there, if it is not.
    pub(super) fn open(pins: &Pins, loaded: &Result<(), String>) -> Result<Self> {
        let program = match loaded {
            Ok(()) => SkLookup::from_pin(pins.socket_program()).map_err(|error| error.to_string()),
            Err(why) => Err(why.clone()),
        };
        let netns = File::open("/proc/thread-self/ns/net");
        Ok(Self {
            map: maps::open(pins, &SOCKETS)?,
            program,
            netns: netns.context("failed to open the own network namespace")?,
            link: pins.socket_link(),
            is_attached: false,
        })
    }

    /// Why the kernel does not do it; `None`: it does.
    pub(crate) fn refusal(&self) -> Option<&str> {
        self.program.as_ref().err().map(String::as_str)
    }

    /// Everything that has a socket now.
    pub(crate) fn keys(&self) -> Result<BTreeSet<SocketKey>> {
        let keys = self.map.keys().map(|key| Ok(bytemuck::cast(key?)));
        let keys: Result<_, MapError> = keys.collect();
        keys.context("failed to read hg_sockets")
    }

    /// Gives what comes in for `key` to this socket from now on, in place of another.
    pub(crate) fn put(&mut self, key: SocketKey, socket: BorrowedFd<'_>) -> Result<()> {
        let key: [u8; KEY_BYTES] = bytemuck::cast(key);
        let put = self.map.insert(key, socket.as_raw_fd(), 0);
        put.context("the kernel refused the socket")
    }

    /// Gives what comes in for `key` to nobody any more; absent is fine.
    pub(crate) fn remove(&mut self, key: SocketKey) -> Result<()> {
        let key: [u8; KEY_BYTES] = bytemuck::cast(key);
        maps::absent_is_fine(self.map.remove(&key)).context("failed to remove from hg_sockets")
    }

    /// Attaches the program, in place of one of an earlier process, or takes it off.
    pub(crate) fn attach(&mut self, is_wanted: bool) -> Result<()> {
        if !is_wanted {
            self.is_attached = false;
            return remove_pin(&self.link);
        }
        if self.is_attached {
            return Ok(());
        }
        let program = self.program.as_mut().map_err(|why| anyhow!(why.clone()))?;
        let id = program.attach(&self.netns);
        let id = id.context("failed to attach heliograph_sk to the network namespace")?;
        let link = FdLink::from(program.take_link(id)?);
        remove_pin(&self.link)?;
        let what = || format!("failed to pin {}", self.link.display());
        link.pin(&self.link).with_context(what)?;
        self.is_attached = true;
        Ok(())
    }
}

const KEY_BYTES: usize = size_of::<SocketKey>();
