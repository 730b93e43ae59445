//! A service proxy for the lab's nodes: nftables rules of kube-proxy's shape, kept in step with the manifests.
//!
//! It stands for the part of a cluster that is not Heliograph, so it reads the manifests with eyes of its own
//! ([`manifest`]) and shares no code with the speaker. Which node answers for a VIP is nothing that it knows: every
//! node has rules for every service. Cluster addresses, session affinity and node ports are absent.

mod manifest;
mod rules;

pub use manifest::{Frontend, Policy, Protocol, frontends};

use super::net::{Netns, feed};
use crate::tools;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// The running proxy; stops when dropped.
#[derive(Debug)]
pub struct Proxy {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Follows the manifests in `dir` on the nodes, given by name.
    ///
    /// # Errors
    /// When the first rules are refused.
    pub fn start(dir: &Path, nodes: &BTreeMap<String, Netns>) -> Result<Self> {
        let mut follower = Follower {
            dir: dir.to_owned(),
            nodes: nodes.clone(),
            seen: None,
            applied: BTreeMap::new(),
        };
        follower.turn()?;
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || follower.follow(&stopped));
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed by the thread itself.
            drop(thread.join());
        }
    }
}

struct Follower {
    dir: PathBuf,
    nodes: BTreeMap<String, Netns>,
    seen: Option<Vec<(PathBuf, SystemTime, u64)>>,
    applied: BTreeMap<String, String>,
}

impl Follower {
    fn follow(&mut self, stopped: &Receiver<()>) {
        while stopped.recv_timeout(TURN) == Err(RecvTimeoutError::Timeout) {
            if let Err(error) = self.turn() {
                tools::say(&format!("service proxy: {error:#}"));
            }
        }
    }

    /// Applies what changed since the last turn.
    fn turn(&mut self) -> Result<()> {
        let seen = stamps(&self.dir)?;
        if self.seen.as_ref() == Some(&seen) {
            return Ok(());
        }
        let (frontends, faults) = frontends(&self.dir)?;
        for fault in faults {
            tools::say(&format!("service proxy: {fault}"));
        }
        for (node, netns) in &self.nodes {
            let wanted = rules::rules(&frontends, node);
            if self.applied.get(node) == Some(&wanted) {
                continue;
            }
            feed(netns.command("nft").args(["-f", "-"]), &wanted)
                .with_context(|| format!("failed to load the rules of node {node}:\n{wanted}"))?;
            self.applied.insert(node.clone(), wanted);
        }
        self.seen = Some(seen);
        Ok(())
    }
}

/// Names, times and sizes of the files, which tell a change without reading them.
fn stamps(dir: &Path) -> Result<Vec<(PathBuf, SystemTime, u64)>> {
    let mut stamps = Vec::new();
    for path in manifest::files(dir)? {
        // A file that vanished since the listing is a change that the next turn sees.
        if let Ok(data) = path.metadata() {
            let modified = data.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            stamps.push((path, modified, data.len()));
        }
    }
    Ok(stamps)
}

const TURN: Duration = Duration::from_millis(300);
