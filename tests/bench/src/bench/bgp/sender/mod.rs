//! Who sends routes: the speaker, and FRR, BIRD and GoBGP with the same routes, peers and address.
//!
//! Each make has its file, which knows how it is told and asked. What is measured of it is not known here.

mod bird;
mod frr;
mod gobgp;
pub(super) mod speaker;

use super::peer::Session;
use super::place::{Family, Place, Site};
use crate::process::Process;
use anyhow::{Context, Result, ensure};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A make of senders.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Make {
    Speaker,
    Frr,
    Bird,
    GoBgp,
}

impl Make {
    pub(super) const ALL: [Self; 4] = [Self::Speaker, Self::Frr, Self::Bird, Self::GoBgp];
    /// GoBGP 3.10 has no BFD.
    pub(super) const WITH_BFD: [Self; 3] = [Self::Speaker, Self::Frr, Self::Bird];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Speaker => "speaker",
            Self::Frr => "FRR",
            Self::Bird => "BIRD",
            Self::GoBgp => "GoBGP",
        }
    }
}

/// What a sender is to do.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) place: Place,
    pub(super) family: Family,
    pub(super) routes: usize,
    pub(super) peers: Vec<IpAddr>,
    /// Every session is watched by BFD, 3 × 50 ms.
    pub(super) has_bfd: bool,
    pub(super) has_graceful_restart: bool,
}

/// A running sender; killed when dropped.
pub(super) struct Sender<'a> {
    site: &'a Site<'a>,
    make: Make,
    job: Job,
    folder: PathBuf,
    processes: Vec<Process>,
    /// What it has its routes from, where that is a peer.
    feed: Option<Session>,
}

impl<'a> Sender<'a> {
    /// Starts it, and waits until it has all its routes. Its peers may be dialled before that.
    pub(super) fn start(site: &'a Site<'a>, make: Make, job: Job) -> Result<Self> {
        let folder = site.folder()?;
        let mut sender = Self {
            site,
            make,
            job,
            folder,
            processes: Vec::new(),
            feed: None,
        };
        match make {
            Make::Speaker => speaker::prepare(&sender)?,
            Make::Frr => frr::prepare(&sender)?,
            Make::Bird => bird::prepare(&sender)?,
            Make::GoBgp => gobgp::prepare(&sender)?,
        }
        sender.run()?;
        Ok(sender)
    }

    fn run(&mut self) -> Result<()> {
        match self.make {
            Make::Speaker => speaker::run(self)?,
            Make::Frr => frr::run(self)?,
            Make::Bird => bird::run(self)?,
            Make::GoBgp => gobgp::run(self)?,
        }
        let start = Instant::now();
        while self.routes().unwrap_or(0) != self.job.routes {
            self.check()?;
            let (name, routes) = (self.make.name(), self.job.routes);
            ensure!(
                start.elapsed() < LOADED_MAX,
                "{name} does not have its {routes} routes within two minutes: {:?}",
                self.routes()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// How many routes it has to tell.
    fn routes(&self) -> Result<usize> {
        match self.make {
            Make::Speaker => speaker::routes(self),
            Make::Frr => frr::routes(self),
            Make::Bird => bird::routes(self),
            Make::GoBgp => gobgp::routes(self),
        }
    }

    /// Tells it to announce one more route, or to withdraw it, in the way in which an operator's program would.
    pub(super) fn change(&self, route: IpAddr, is_there: bool) -> Result<()> {
        match self.make {
            Make::Speaker => speaker::change(self, route, is_there),
            Make::Frr => frr::change(self, route, is_there),
            Make::Bird => bird::change(self, route, is_there),
            Make::GoBgp => gobgp::change(self, route, is_there),
        }
    }

    /// Stops it as an upgrade would, and starts the next one; how long none was there.
    pub(super) fn restart(&mut self) -> Result<Duration> {
        let start = Instant::now();
        if self.make == Make::Bird && self.job.has_graceful_restart {
            bird::ask(self, "graceful restart")?;
            let last = self.processes.pop();
            last.context("it runs")?.ended()?;
        }
        // In the order in which they depend on each other.
        drop(self.feed.take());
        while let Some(process) = self.processes.pop() {
            process.stop()?;
        }
        self.run()?;
        Ok(start.elapsed())
    }

    /// Asks the speaker to give way.
    pub(super) fn drain(&self) -> Result<()> {
        speaker::ctl(self, &["drain"]).map(drop)
    }

    /// Fails with the last words of a process that has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        self.processes.iter_mut().try_for_each(Process::check)
    }

    /// CPU time of all its processes.
    pub(super) fn cpu(&self) -> Result<Duration> {
        self.processes.iter().map(Process::cpu_exact).sum()
    }

    /// Resident memory of all its processes, in MiB.
    pub(super) fn memory(&self) -> Result<f64> {
        self.processes.iter().map(Process::memory).sum()
    }

    /// The most that each was, in MiB.
    pub(super) fn memory_peak(&self) -> Result<f64> {
        self.processes.iter().map(Process::memory_peak).sum()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let file = self.file(name);
        write(&file, text)?;
        Ok(file)
    }
}

/// Writes a file in one step, as a careful writer would.
fn write(file: &Path, text: &str) -> Result<()> {
    let part = file.with_extension("part");
    std::fs::write(&part, text)
        .and_then(|()| std::fs::rename(&part, file))
        .with_context(|| format!("failed to write {}", file.display()))
}

/// FRR reads some thousand lines a second.
const LOADED_MAX: Duration = Duration::from_secs(120);
