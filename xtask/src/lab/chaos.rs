//! `cargo xtask lab chaos`: faults on a lab of real kernels, two stations that watch who answers, and a verdict.
//!
//! One lab serves all faults; after each it must be whole again. What a fault is, is [`fault`]'s; what answers mean, [`judge`]'s. A
//! rule that did not hold makes the command fail.

mod capture;
mod cut;
mod departure;
mod fault;
mod figures;
mod frame;
mod hang;
mod judge;
mod memory;
mod picture;
mod report;
mod socket;
mod watch;

use super::net::Netns;
use super::{Lab, Options, show};
use crate::tools;
use anyhow::{Context, Result, bail, ensure};
use capture::Capture;
use clap::{Args, ValueEnum};
use departure::date;
use fault::{FAULTS, Fault, PLANTED, Target};
use figures::Figures;
use frame::{Asker, Mac};
use judge::Answer;
use report::{Round, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use watch::{Station, mac_of, now};

/// Break the lab in many ways while two clients ask without end, and see that no VIP ever has two answers.
///
/// Each fault is done to the node that answers, lasts some seconds and is taken away again. Two stations on ports of their own
/// ask for each address once a millisecond. A picture shows who answered when; a rule that did not hold ends the command
/// with a failure.
#[derive(Args, Clone, Debug)]
pub(super) struct Request {
    /// Only these faults, in this order; all but the planted one without any
    #[arg(long = "fault", value_name = "NAME", value_parser = fault_named)]
    faults: Vec<&'static str>,
    /// List the faults and do none
    #[arg(long)]
    list: bool,
    /// How often all of them are done
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// So many labs at once, each with its share of the rounds: as many as the machine bears before times are of its want of processors
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(LABS_MAX)))]
    labs: u32,
    /// Write what all runs so far came to into this file after each, as a table of Markdown: p50, p99 and the longest of each fault
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
    /// How long each fault lasts, and how long is watched after it
    #[arg(long, value_name = "SECONDS", default_value_t = SECONDS, value_parser = clap::value_parser!(u64).range(2..=60))]
    seconds: u64,
    /// Between two questions for one address
    #[arg(long, value_name = "MICROSECONDS", default_value_t = MICROSECONDS, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    interval: u64,
    /// The service whose addresses are watched
    #[arg(long, value_name = "NAMESPACE/NAME", default_value = SERVICE)]
    service: String,
    /// The speaker that nodes have at first, in place of the one that is built
    #[arg(long, value_name = "BINARY")]
    speaker: Option<PathBuf>,
    /// The speaker that the fault `upgrade` starts
    #[arg(long, value_name = "BINARY")]
    upgrade_to: Option<PathBuf>,
    /// Pictures and sentences, or one JSON object a line
    #[arg(short, long, value_name = "FORM", default_value = "text")]
    output: Form,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum Form {
    Text,
    Json,
}

fn fault_named(name: &str) -> Result<&'static str, String> {
    match named(name) {
        Some(fault) => Ok(fault.name),
        None => {
            let names: Vec<&str> = everything().map(|fault| fault.name).collect();
            Err(format!("the faults are {}", names.join(", ")))
        }
    }
}

fn named(name: &str) -> Option<&'static Fault> {
    everything().find(|fault| fault.name == name)
}

fn everything() -> impl Iterator<Item = &'static Fault> {
    FAULTS.iter().chain([&PLANTED])
}

impl Request {
    /// What happens to every holder some day, once each.
    pub(super) fn tour() -> Self {
        Self {
            faults: TOUR.to_vec(),
            list: false,
            rounds: 1,
            labs: 1,
            table: None,
            seconds: SECONDS,
            interval: MICROSECONDS,
            service: SERVICE.to_owned(),
            speaker: None,
            upgrade_to: None,
            output: Form::Text,
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// When the lab does not come up or a fault cannot be done. A rule that did not hold is no error but an exit code.
    pub(super) fn run(&self, mut options: Options) -> Result<ExitCode> {
        if self.list {
            for fault in everything() {
                println!("{:<12} {}", fault.name, fault.about);
            }
            return Ok(ExitCode::SUCCESS);
        }
        super::build()?;
        if let Some(speaker) = &self.speaker {
            options.speaker.clone_from(speaker);
        }
        let figures = self.sweep(&options)?;
        figures.show(self.output == Form::Json);
        Ok(ExitCode::from(u8::from(!figures.is_well())))
    }

    /// All rounds, in all labs: these come up and go one after the other, for they share what they are mounted in.
    fn sweep(&self, options: &Options) -> Result<Figures> {
        let scenes = labs(options, self.labs).map(|options| Scene::up(options, self));
        let scenes = scenes.collect::<Result<Vec<_>>>()?;
        let course = Course {
            request: self,
            round: AtomicU32::new(0),
            figures: Mutex::new(Figures::default()),
            up: Mutex::new(()),
        };
        let ended: Vec<Result<Scene>> = thread::scope(|scope| {
            let run = |scene| scope.spawn(|| course.run(scene));
            let threads: Vec<_> = scenes.into_iter().map(run).collect();
            let ends = threads.into_iter().map(|lab| {
                lab.join()
                    .unwrap_or_else(|_| bail!("a lab's thread panicked"))
            });
            ends.collect()
        });
        for scene in ended.into_iter().rev() {
            scene?.lab.down()?;
        }
        let figures = course.figures.into_inner();
        Ok(figures.unwrap_or_else(PoisonError::into_inner))
    }

    fn chosen(&self) -> Vec<&'static Fault> {
        match self.faults.as_slice() {
            [] => FAULTS.iter().collect(),
            some => some.iter().filter_map(|name| named(name)).collect(),
        }
    }

    /// How many faults in a row that cannot be done are the end: the first, where each is done only once.
    const fn failures_max(&self) -> u32 {
        if self.rounds > 1 { FAILURES_MAX } else { 1 }
    }
}

/// Rounds that several labs share.
struct Course<'a> {
    request: &'a Request,
    /// The last that was begun.
    round: AtomicU32,
    figures: Mutex<Figures>,
    /// Held while a lab comes up.
    up: Mutex<()>,
}

impl Course<'_> {
    /// Rounds in one lab until all are begun. What cannot be done once ends no night of many rounds: it is told and counted, and the next one has a
    /// new lab.
    fn run(&self, mut scene: Scene) -> Result<Scene> {
        let chosen = self.request.chosen();
        let mut failures = 0;
        loop {
            let round = self.round.fetch_add(1, Ordering::Relaxed) + 1;
            if round > self.request.rounds {
                return Ok(scene);
            }
            for fault in &chosen {
                match scene.suffer(fault, self.request) {
                    Ok(verdict) => {
                        failures = 0;
                        self.count(|figures| {
                            figures.count(fault, &verdict);
                            let is_json = self.request.output == Form::Json;
                            report::show(round, fault, &verdict, is_json);
                        })?;
                    }
                    Err(error) if failures + 1 < self.request.failures_max() => {
                        failures += 1;
                        eprintln!("{}, round {round}: not done: {error:#}", fault.name);
                        self.count(|figures| figures.count_not_done(fault))?;
                        scene = self.anew(scene)?;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }

    fn anew(&self, scene: Scene) -> Result<Scene> {
        let _alone = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        let options = scene.lab.options.clone();
        scene.lab.down()?;
        Scene::up(options, self.request)
    }

    /// Counts, and writes what all runs so far came to. One lab at a time, so that no two speak at once.
    fn count(&self, how: impl FnOnce(&mut Figures)) -> Result<()> {
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        how(&mut figures);
        match &self.request.table {
            Some(table) => figures.write(table),
            None => Ok(()),
        }
    }
}

/// The options of as many labs at once. The first is as if it were alone.
pub(super) fn labs(first: &Options, count: u32) -> impl Iterator<Item = Options> {
    let others = (2..=count).map(|lab| {
        let prefix = format!("{}{lab}", first.prefix);
        Options {
            bpffs: first.bpffs.join(&prefix),
            run_dir: first.run_dir.join(&prefix),
            prefix,
            ..first.clone()
        }
    });
    std::iter::once(first.clone()).chain(others)
}

/// A lab with two stations and a host that is no node.
struct Scene {
    lab: Lab,
    stations: [(Netns, Asker); 2],
    stranger: Netns,
    vips: Vec<IpAddr>,
    /// Nodes by hardware address of their link to the switch.
    names: BTreeMap<Mac, String>,
}

impl Scene {
    fn up(options: Options, request: &Request) -> Result<Self> {
        tools::say("making the lab, a second client and a host that is no node");
        let mut lab = Lab::without_speakers(Options {
            // Two stations and both families are more than the speaker allows one client.
            speaker_flags: &["--answer-rate", "0"],
            ..options
        })?;
        let watcher = lab.plug_in("watch", WATCH_V4, WATCH_V6)?;
        let stranger = lab.plug_in("stranger", STRANGER_V4, STRANGER_V6)?;
        lab.start_speakers()?;
        let vips = show::wait_until_served(&mut lab, || false)?;
        ensure!(vips.is_some(), "the VIPs are not served");
        let client = lab.topology.client.clone();
        let stations = [
            station(
                client,
                super::topology::CLIENT_V4,
                super::topology::CLIENT_V6,
            )?,
            station(watcher, WATCH_V4, WATCH_V6)?,
        ];
        let frontends = lab.frontends()?;
        let own = frontends.iter().filter(|f| f.service == request.service);
        let vips: BTreeSet<IpAddr> = own.map(|frontend| frontend.vip).collect();
        ensure!(!vips.is_empty(), "{} has no address", request.service);
        let mut names = BTreeMap::new();
        for node in &lab.topology.nodes {
            names.insert(mac_of(&node.netns, "eth0")?, node.name.clone());
        }
        Ok(Self {
            lab,
            stations,
            stranger,
            vips: vips.into_iter().collect(),
            names,
        })
    }

    /// Does one fault to the node that answers, and says what was seen.
    fn suffer(&mut self, fault: &Fault, request: &Request) -> Result<Verdict> {
        let interval = Duration::from_micros(request.interval);
        let lasting = Duration::from_secs(request.seconds);
        let start =
            |(netns, asker): &(Netns, Asker)| Station::start(netns, *asker, &self.vips, interval);
        // The first to listen, so that no answer leaves a node unheard.
        let switch = Capture::start(&self.lab.topology.switch, "br0")?;
        let stations = [start(&self.stations[0])?, start(&self.stations[1])?];
        let settled = self.settle(&stations)?;
        until_heard(&switch, now()).context("the switch is not listened to")?;
        let begun = now();
        thread::sleep(LEAD);
        // A better node may have come home meanwhile.
        let holder = self.present(&stations).unwrap_or(settled);
        let mut target = Target {
            holder: holder.clone(),
            vips: &self.vips,
            stranger: &self.stranger,
            upgrade: request
                .upgrade_to
                .clone()
                .unwrap_or_else(|| self.lab.options.speaker.clone()),
            lab: &mut self.lab,
        };
        let injected = now();
        let heal = (fault.inject)(&mut target)
            .with_context(|| format!("failed to do the fault {}", fault.name))?;
        thread::sleep(lasting);
        let healed = now();
        heal(&mut self.lab).with_context(|| format!("failed to end the fault {}", fault.name))?;
        thread::sleep(lasting);
        let ended = now();
        // A tcpdump that got no processor has frames of before in its hands. Where nobody answers any more there are none: that is judged.
        let _silence = until_heard(&switch, ended);
        let mut seen = Vec::new();
        for station in stations {
            let _silence = until_heard(station.capture(), ended);
            seen.push(station.stop()?);
        }
        let departures = switch.stop()?;
        let dated = seen.iter_mut();
        let round = Round {
            holder: self.mac(&holder)?,
            moments: [begun, injected, healed, ended],
            dated: dated
                .map(|seen| date(&mut seen.answers, &departures))
                .collect(),
            strangers: self.strangers(fault)?,
        };
        Ok(report::judge(fault, &round, &self.vips, &self.names, &seen))
    }

    /// Whose answers do not count: a spoofer's, unless it is there to be found.
    fn strangers(&self, fault: &Fault) -> Result<BTreeSet<Mac>> {
        if fault.name == PLANTED.name {
            return Ok(BTreeSet::new());
        }
        Ok(BTreeSet::from([mac_of(&self.stranger, "eth0")?]))
    }

    /// Waits until one node has answered alone for a while at both stations; its name.
    fn settle(&self, stations: &[Station; 2]) -> Result<String> {
        let until = Instant::now() + SETTLED_MAX;
        let mut since: Option<(String, Instant)> = None;
        while Instant::now() < until {
            let present = self.present(stations);
            since = match (present, since) {
                (Some(now), Some((before, at))) if now == before => Some((before, at)),
                (Some(now), _) => Some((now, Instant::now())),
                (None, _) => None,
            };
            if let Some((holder, _)) = since.as_ref().filter(|(_, at)| at.elapsed() >= SETTLED) {
                return Ok(holder.clone());
            }
            thread::sleep(POLL);
        }
        bail!(
            "no node answered alone for all addresses within {} s\n{}",
            SETTLED_MAX.as_secs(),
            self.lab.speakers_say()
        )
    }

    /// The node that both stations were last answered by, for every address, just now.
    fn present(&self, stations: &[Station; 2]) -> Option<String> {
        let now = now();
        let is_fresh = |answer: &Answer| now.saturating_sub(answer.at) < FRESH;
        let mut names = BTreeSet::new();
        for station in stations {
            for vip in &self.vips {
                let answer = station.last(*vip).filter(is_fresh)?;
                names.insert(self.names.get(&answer.mac)?);
            }
        }
        let mut names = names.into_iter();
        names.next().filter(|_| names.next().is_none()).cloned()
    }

    fn mac(&self, node: &str) -> Result<Mac> {
        let found = self.names.iter().find(|(_, name)| *name == node);
        found
            .map(|(mac, _)| *mac)
            .with_context(|| format!("no node {node}"))
    }
}

/// Waits until a capture has heard an answer of this moment or a later one, and with it all before.
fn until_heard(capture: &Capture, moment: u64) -> Result<()> {
    tools::within(HEARD_MAX, || {
        let heard = capture.last(|answer| answer.at >= moment);
        heard.map(drop).context("no answer was heard since")
    })
}

fn station(netns: Netns, v4: Ipv4Addr, v6: Ipv6Addr) -> Result<(Netns, Asker)> {
    let mac = mac_of(&netns, "eth0")?;
    Ok((netns, Asker { mac, v4, v6 }))
}

/// Labs at once, at most.
pub(super) const LABS_MAX: u32 = 16;
/// From what costs nothing to what costs most.
const TOUR: &[&str] = &["restart", "drain", "kill", "cut-node"];
const SECONDS: u64 = 3;
const MICROSECONDS: u64 = 1000;
const SERVICE: &str = "default/web";
const WATCH_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 4);
const WATCH_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 4);
const STRANGER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 5);
const STRANGER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 5);
/// Watched before a fault, to see that all was well.
const LEAD: Duration = Duration::from_secs(1);
/// A node that failed is elected again only after five sound seconds, and twice as many after the next failure; what comes home
/// comes between faults, not within one.
const SETTLED: Duration = Duration::from_secs(2);
const SETTLED_MAX: Duration = Duration::from_secs(60);
/// Longer than a busy machine keeps a process from its work.
const HEARD_MAX: Duration = Duration::from_secs(10);
/// An answer of just now, in nanoseconds.
const FRESH: u64 = 200_000_000;
const POLL: Duration = Duration::from_millis(50);
/// What fails so often in a row fails for a reason that a new lab does not take away.
const FAILURES_MAX: u32 = 3;
