//! One change: from the moment at which it was told to the moment at which the peer has read it.
//!
//! A speaker is told by the API: an EndpointSlice is patched at the double, whose watch tells the speaker. The double's part is in the time.
//! The others are told by their own command or file, whose part is in it too; that is how a controller beside them would do it.

use super::super::api::double::ApiDouble;
use super::peer::{self, Session};
use super::place::{Family, Site, StopOnDrop, netns, number_of, progress, route};
use super::sender::{Job, Make, Sender, speaker};
use crate::http::Call;
use crate::process::Process;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What it came to, for one sender.
pub(super) struct Measured {
    /// Milliseconds of each change.
    pub(super) quiet: Vec<f64>,
    /// The same with many changes; of the speaker alone.
    pub(super) busy: Option<Busy>,
}

/// With [`BUSY_RATE`] changes a second.
pub(super) struct Busy {
    /// Milliseconds of each change.
    pub(super) times: Vec<f64>,
    /// How many a second there were in fact.
    pub(super) rate: f64,
}

/// Changes a second of the busy case.
pub(super) const BUSY_RATE: u32 = 100;

/// Measures so many changes one after the other, and of the speaker for so long many of them.
pub(super) fn measure(
    site: &Site<'_>,
    make: Make,
    changes: usize,
    busy: Duration,
) -> Result<Measured> {
    match make {
        Make::Speaker => of_speaker(site, changes, busy),
        Make::Frr | Make::Bird | Make::GoBgp => {
            progress(&format!("{}: changes told by its own means", make.name()));
            let quiet = alone(site, make, changes.min(OTHERS_MAX))?;
            Ok(Measured { quiet, busy: None })
        }
    }
}

fn of_speaker(site: &Site<'_>, changes: usize, busy: Duration) -> Result<Measured> {
    progress("speaker: changes told by the API");
    let mut watched = Watched::start(site)?;
    let quiet = watched.quiet(changes)?;
    progress(&format!("speaker: {BUSY_RATE} changes a second"));
    let (times, rate) = watched.busy(busy)?;
    watched.process.stop()?;
    Ok(Measured {
        quiet,
        busy: Some(Busy { times, rate }),
    })
}

/// A speaker on an API server's double, and its peer.
struct Watched {
    double: ApiDouble,
    process: Process,
    session: Session,
    /// Changes so far.
    changed: usize,
}

impl Watched {
    fn start(site: &Site<'_>) -> Result<Self> {
        let peers = [super::place::peer(0, Family::V4)];
        let listening = peer::listen(&netns(&site.pair.client), &peers)?;
        let mut double = ApiDouble::start(site.setting, &site.home, &site.pair.client)?;
        fill(&mut double, peers[0])?;
        let folder = site.folder()?;
        let mut command = site.place().netns.command(&site.setting.speaker);
        command.args(["run", "--node-name", NODE, "--insecure-gossip"]);
        command.args(["--port", "0", "--health-probe-port", "0"]);
        command.args(["--namespace", "metallb-system", "--kubeconfig"]);
        command.arg(&double.kubeconfig_far);
        command.arg("--run-dir").arg(folder.join("run"));
        command.arg("--bpffs").arg(site.home.folder("bpf"));
        let mut process = Process::start(&mut command, &folder.join("speaker.log"))?;
        let mut session = listening[0].accept(|| process.check())?;
        session.open(0)?;
        session.collect(SERVICES, Instant::now())?;
        Ok(Self {
            double,
            process,
            session,
            changed: 0,
        })
    }

    /// One service after the other loses its endpoint, or gets it back.
    fn quiet(&mut self, changes: usize) -> Result<Vec<f64>> {
        let mut times = Vec::new();
        for number in 0..changes {
            let (service, is_there) = turn(self.changed);
            self.changed += 1;
            let start = Instant::now();
            self.double.text(&patch(service, is_there))?;
            until(&mut self.session, service, is_there)?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
            // Not in step with anything that waits for quiet.
            std::thread::sleep(Duration::from_millis(20 + number as u64 * 7 % 60));
        }
        Ok(times)
    }

    /// The same at an even pace, whatever has arrived.
    fn busy(&mut self, span: Duration) -> Result<(Vec<f64>, f64)> {
        let count = (span.as_secs_f64() * f64::from(BUSY_RATE)) as usize;
        let first = self.changed;
        let (seen, arrivals) = mpsc::channel();
        let Self {
            double, session, ..
        } = self;
        let stop = AtomicBool::new(false);
        let handle = session.handle()?;
        let told = std::thread::scope(|scope| {
            let reader = scope.spawn(|| read(session, &stop, &seen));
            let told = {
                let _stop = StopOnDrop(&stop);
                let told = tell(double, first, count, span);
                std::thread::sleep(LATE);
                told
            };
            handle.shutdown(std::net::Shutdown::Both)?;
            match reader.join() {
                Ok(read) => read?,
                Err(_) => bail!("a thread of the bench panicked"),
            }
            told
        })?;
        drop(seen);
        let first = told.first().context("there are changes")?;
        let lasted = told.last().map_or(span, |last| last.at - first.at);
        let rate = (told.len() - 1) as f64 / lasted.as_secs_f64();
        Ok((
            pair(&told, &arrivals.into_iter().collect::<Vec<_>>())?,
            rate,
        ))
    }
}

/// A moment at which a service was to have a route or to lose it.
#[derive(Clone, Copy, Debug)]
struct Moment {
    service: usize,
    is_there: bool,
    at: Instant,
}

fn read(session: &mut Session, stop: &AtomicBool, seen: &mpsc::Sender<Moment>) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        let read = session.changes(|change| {
            let (service, is_there) = (change.route, change.is_there);
            let at = Instant::now();
            // Whoever asked waits until the end.
            let _ = seen.send(Moment {
                service,
                is_there,
                at,
            });
        });
        if !stop.load(Ordering::Relaxed) {
            read?;
        }
    }
    Ok(())
}

fn tell(double: &mut ApiDouble, first: usize, count: usize, span: Duration) -> Result<Vec<Moment>> {
    let (start, mut told) = (Instant::now(), Vec::new());
    for number in 0..count {
        let due = span.mul_f64(number as f64 / count as f64);
        std::thread::sleep(due.saturating_sub(start.elapsed()));
        let (service, is_there) = turn(first + number);
        let at = Instant::now();
        told.push(Moment {
            service,
            is_there,
            at,
        });
        double.text(&patch(service, is_there))?;
    }
    Ok(told)
}

/// How long each took: to the first arrival that is no older.
fn pair(told: &[Moment], arrivals: &[Moment]) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for moment in told {
        let fits = |seen: &&Moment| {
            seen.service == moment.service
                && seen.is_there == moment.is_there
                && seen.at >= moment.at
        };
        let seen = arrivals.iter().find(fits);
        let seen = seen.with_context(|| format!("a change never arrived: {moment:?}"))?;
        times.push((seen.at - moment.at).as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// Of each change by number: all services lose their endpoint, and then get it back.
const fn turn(number: usize) -> (usize, bool) {
    (number % SERVICES, number / SERVICES % 2 == 1)
}

fn until(session: &mut Session, route: usize, is_there: bool) -> Result<()> {
    let mut is_seen = false;
    while !is_seen {
        session
            .changes(|change| is_seen |= change.route == route && change.is_there == is_there)?;
    }
    Ok(())
}

fn patch(service: usize, is_ready: bool) -> Call {
    let name = speaker::name(service);
    let endpoints = speaker::slice(&name, is_ready)["endpoints"].take();
    let path = format!("{SLICES}/{name}-1");
    Call::send("PATCH", path, &json!({"endpoints": endpoints}))
}

fn fill(double: &mut ApiDouble, peer: IpAddr) -> Result<()> {
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "metallb-system"}});
    let node = speaker::node_object(NODE, crate::net::NODE_IP);
    let bgp = "/apis/metallb.io/v1beta2/namespaces/metallb-system/bgppeers";
    let metallb = "/apis/metallb.io/v1beta1/namespaces/metallb-system";
    let (pools, told) = (
        format!("{metallb}/ipaddresspools"),
        format!("{metallb}/bgpadvertisements"),
    );
    for (collection, object) in [
        ("/api/v1/namespaces", namespace),
        ("/api/v1/nodes", node),
        (&pools, speaker::pool()),
        (&told, speaker::advertisement()),
        (bgp, speaker::peer(0, peer)),
    ] {
        double.make(collection, std::iter::once(object))?;
    }
    for number in 0..SERVICES {
        let [mut service, slice] =
            speaker::announced(&speaker::name(number), route(number, Family::V4));
        let status = service["status"].take();
        let made: Value = double.ask(&Call::send("POST", SERVICES_AT, &service))?;
        double.ask(&status_write(made, status))?;
        double.make(SLICES, std::iter::once(slice))?;
    }
    Ok(())
}

fn status_write(mut service: Value, status: Value) -> Call {
    let name = service["metadata"]["name"].as_str().unwrap_or_default();
    let path = format!("{SERVICES_AT}/{name}/status?fieldManager=bench");
    service["status"] = status;
    Call::send("PUT", path, &service)
}

/// Another sender: the route beyond its own comes and goes.
fn alone(site: &Site<'_>, make: Make, changes: usize) -> Result<Vec<f64>> {
    let peers = vec![super::place::peer(0, Family::V4)];
    let listening = peer::listen(&netns(&site.pair.client), &peers)?;
    let job = Job {
        place: site.place(),
        family: Family::V4,
        routes: SERVICES,
        peers,
        has_bfd: false,
        has_graceful_restart: false,
    };
    let mut sender = Sender::start(site, make, job)?;
    let mut session = listening[0].accept(|| sender.check())?;
    session.open(sender.hold_seconds())?;
    session.collect(SERVICES, Instant::now())?;
    let changed = route(SERVICES, Family::V4);
    let mut times = Vec::new();
    for number in 0..changes {
        let is_there = number % 2 == 0;
        let start = Instant::now();
        sender.change(changed, is_there)?;
        until(&mut session, SERVICES, is_there)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(Duration::from_millis(20 + number as u64 * 7 % 60));
    }
    debug_assert!(matches!(changed, IpAddr::V4(ip) if number_of(ip) == Some(SERVICES)));
    Ok(times)
}

const NODE: &str = "bench";
/// All of them change in turn; a change of one is over before its next.
const SERVICES: usize = 200;
const SERVICES_AT: &str = "/api/v1/namespaces/default/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
/// FRR takes about a second for each.
const OTHERS_MAX: usize = 30;
/// What arrives later than this after the last change is missing.
const LATE: Duration = Duration::from_secs(3);
const _: () = assert!(SERVICES as u32 > BUSY_RATE);
