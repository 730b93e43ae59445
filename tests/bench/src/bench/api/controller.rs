//! The controller: all addresses of a cluster from nothing, a restart, and a pool that is replaced by another.
//!
//! Beside it a plain client writes the same statuses over as many connections, which is what the server alone takes.

use super::super::Setting;
use super::super::speaker::Home;
use super::double::{ApiDouble, Entry, wait_for};
use super::objects::{self, NAMESPACES, POOLS, SERVICES, SIZE};
use crate::http::Call;
use crate::net::Namespace;
use crate::process::{self, Process};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};

/// What one round measured.
pub(super) struct Round {
    pub(super) plain: Cost,
    /// The same with an event for each.
    pub(super) plain_events: Cost,
    pub(super) start: Cost,
    /// From the start of the process to the last event, in seconds.
    pub(super) start_events_s: f64,
    pub(super) start_writes: Writes,
    pub(super) memory: f64,
    pub(super) memory_peak: f64,
    /// MiB of JSON in a list of all services.
    pub(super) held: f64,
    pub(super) restart_writes: Writes,
    /// From the start of the process to the address of a service that was made meanwhile, in seconds.
    pub(super) restart_s: f64,
    pub(super) replaced: Cost,
    pub(super) replaced_writes: Writes,
}

/// What something took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// Seconds by the clock.
    pub(super) wall: f64,
    /// Seconds of CPU time of whoever did it.
    pub(super) cpu: f64,
    /// Seconds of CPU time of the server meanwhile.
    pub(super) server: f64,
}

/// Requests about services, by what they were.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Writes {
    pub(super) statuses: usize,
    pub(super) conflicts: usize,
    pub(super) events: usize,
    /// Of one service.
    pub(super) reads: usize,
}

impl Writes {
    fn of(entries: &[Entry]) -> Self {
        let count =
            |fits: &dyn Fn(&Entry) -> bool| entries.iter().filter(|entry| fits(entry)).count();
        let is_service = |entry: &Entry| entry.path.starts_with(SERVICES);
        Self {
            statuses: count(&|entry| {
                is_service(entry) && entry.verb != "get" && entry.verb != "create"
            }),
            conflicts: count(&|entry| is_service(entry) && entry.code == 409),
            events: count(&|entry| entry.path.starts_with(objects::EVENTS) && entry.verb != "get"),
            reads: count(&|entry| is_service(entry) && entry.verb == "get"),
        }
    }

    /// Everything that changes something.
    pub(super) fn all(self) -> usize {
        self.statuses + self.events
    }
}

/// Measures once, in a namespace.
pub(super) fn round(
    setting: &Setting,
    home: &Home,
    namespace: &Namespace,
    number: usize,
) -> Result<Round> {
    let mut double = ApiDouble::start(setting, home, namespace)?;
    fill(&mut double)?;
    let plain = plainly(&mut double, false)?;
    let plain_events = plainly(&mut double, true)?;
    let settled = objects(&mut double)?;
    ensure!(
        settled.iter().all(|service| addresses(service).is_empty()),
        "a status is left"
    );
    let mut controller = Controller {
        setting,
        home,
        namespace,
        number: 0,
    };
    let (process, began) = controller.start(&mut double)?;
    let (start, entries) = timed(&mut double, &process, began, SIZE.services)?;
    check(&mut double, "10.64.")?;
    let events = entries
        .iter()
        .filter(|entry| entry.path.starts_with(objects::EVENTS));
    let last_event = events.map(|entry| entry.micros).max().unwrap_or(began);
    let held = double.text(&Call::get("/api/v1/services"))?.len() as f64 / f64::from(1 << 20);
    let (memory, memory_peak) = (process.memory()?, process.memory_peak()?);
    process.stop()?;
    let (process, restart_s, restart_writes) = restart(&mut controller, &mut double)?;
    let (replaced, replaced_writes) = replace(&mut double, &process, number)?;
    process.stop()?;
    Ok(Round {
        plain,
        plain_events,
        start,
        start_events_s: seconds(began, last_event),
        start_writes: Writes::of(&entries),
        memory,
        memory_peak,
        held,
        restart_writes,
        restart_s,
        replaced,
        replaced_writes,
    })
}

/// Everything but addresses.
pub(super) fn fill(double: &mut ApiDouble) -> Result<()> {
    let namespace =
        |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    double.make(
        NAMESPACES,
        ["bench", "metallb-system"].into_iter().map(namespace),
    )?;
    double.make(POOLS, std::iter::once(pool("pool", "10.64.0.0/16")))?;
    double.make(objects::NODES, (0..SIZE.nodes).map(objects::node))?;
    double.make(SERVICES, (0..SIZE.services).map(objects::service))?;
    double.make(
        objects::SLICES,
        (0..SIZE.services).map(|number| objects::slice(number, true)),
    )
}

pub(super) fn pool(name: &str, range: &str) -> Value {
    json!({"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": {"name": name, "namespace": "metallb-system"}, "spec": {"addresses": [range]}})
}

fn objects(double: &mut ApiDouble) -> Result<Vec<Value>> {
    let mut list = double.ask(&Call::get(SERVICES))?;
    let Value::Array(items) = list["items"].take() else {
        anyhow::bail!("no list of services");
    };
    Ok(items)
}

/// What the server alone takes; afterwards nothing has an address again.
fn plainly(double: &mut ApiDouble, with_events: bool) -> Result<Cost> {
    let services = objects(double)?;
    let writes = services.iter().enumerate().map(|(number, service)| {
        let address = format!("10.64.{}.{}", (number + 1) >> 8, (number + 1) & 255);
        let mut group = vec![objects::status_write(service.clone(), Some(address))];
        if with_events {
            group.push(objects::event(service, number));
        }
        group
    });
    let groups: Vec<_> = writes.collect();
    let (start, cpu, server) = (Instant::now(), process::own_cpu(), double.cpu()?);
    double.send_all(&groups)?;
    let cost = Cost {
        wall: start.elapsed().as_secs_f64(),
        cpu: (process::own_cpu() - cpu).as_secs_f64(),
        server: (double.cpu()? - server).as_secs_f64(),
    };
    let clear = |service: Value| vec![objects::status_write(service, None)];
    let groups: Vec<_> = objects(double)?.into_iter().map(clear).collect();
    double.send_all(&groups)?;
    Ok(cost)
}

/// Starts controllers, one after the other.
pub(super) struct Controller<'a> {
    pub(super) setting: &'a Setting,
    pub(super) home: &'a Home,
    pub(super) namespace: &'a Namespace,
    pub(super) number: usize,
}

impl Controller<'_> {
    /// Starts one. Returns when it was started, by the double's clock.
    pub(super) fn start(&mut self, double: &mut ApiDouble) -> Result<(Process, u64)> {
        self.number += 1;
        let mut command = Command::new(&self.setting.speaker);
        command.args(["controller", "--namespace", "metallb-system", "--port", "0"]);
        command
            .args(["--health-probe-port", "0", "--kubeconfig"])
            .arg(&double.kubeconfig);
        let log = self.home.folder(&format!("controller-{}.log", self.number));
        let began = double.mark()?;
        let process = self.namespace.run(|| Process::start(&mut command, &log))?;
        Ok((process, began))
    }
}

/// Waits until as many services are written and nothing more comes. What the writing took ends with the last status.
fn timed(
    double: &mut ApiDouble,
    process: &Process,
    began: u64,
    services: usize,
) -> Result<(Cost, Vec<Entry>)> {
    let (cpu, server) = (process.cpu()?, double.cpu()?);
    let mut entries = Vec::new();
    let mut written = BTreeSet::new();
    let mut last = began;
    wait_for(WRITTEN_MAX, "all services to be written", || {
        let new = double.entries()?;
        for entry in new.iter().filter(|entry| is_written(entry)) {
            written.insert(entry.path.clone());
            last = last.max(entry.micros);
        }
        entries.extend(new);
        Ok((written.len() >= services).then_some(()))
    })?;
    let cost = Cost {
        wall: seconds(began, last),
        cpu: (process.cpu()? - cpu).as_secs_f64(),
        server: (double.cpu()? - server).as_secs_f64(),
    };
    entries.extend(double.entries_until_quiet(QUIET)?);
    Ok((cost, entries))
}

fn is_written(entry: &Entry) -> bool {
    entry.code == 200 && entry.verb == "update" && entry.path.starts_with(SERVICES)
}

/// Another process takes over; a service that was made meanwhile shows when it has decided.
fn restart(
    controller: &mut Controller<'_>,
    double: &mut ApiDouble,
) -> Result<(Process, f64, Writes)> {
    let mut late = objects::service(0);
    late["metadata"]["name"] = json!("late");
    double.make(SERVICES, std::iter::once(late))?;
    let (process, began) = controller.start(double)?;
    let (cost, entries) = timed(double, &process, began, 1)?;
    let own = format!("{SERVICES}/late/status");
    ensure!(
        entries
            .iter()
            .any(|entry| is_written(entry) && entry.path == own),
        "the service that was made meanwhile has no address"
    );
    let mut writes = Writes::of(&entries);
    writes.statuses -= 1;
    writes.events -= 1;
    double.text(&Call::send(
        "DELETE",
        format!("{SERVICES}/late"),
        &Value::Null,
    ))?;
    double.entries_until_quiet(QUIET)?;
    Ok((process, cost.wall, writes))
}

/// The pool has another range from now on, so that every service needs another address.
fn replace(double: &mut ApiDouble, process: &Process, number: usize) -> Result<(Cost, Writes)> {
    let path = format!("{POOLS}/pool");
    let second = number + 65;
    let spec = json!({"spec": {"addresses": [format!("10.{second}.0.0/16")]}});
    let began = double.mark()?;
    double.text(&Call::send("PATCH", path, &spec))?;
    let (cost, entries) = timed(double, process, began, SIZE.services)?;
    check(double, &format!("10.{second}."))?;
    Ok((cost, Writes::of(&entries)))
}

/// Each service has an address of its own in that range.
fn check(double: &mut ApiDouble, prefix: &str) -> Result<()> {
    let mut holders = BTreeMap::new();
    for service in objects(double)? {
        let name = objects::name(&service).to_owned();
        let [address] = addresses(&service)[..] else {
            anyhow::bail!("{name} has addresses {:?}", addresses(&service));
        };
        ensure!(address.starts_with(prefix), "{name} has {address}");
        if let Some(other) = holders.insert(address.to_owned(), name.clone()) {
            anyhow::bail!("{name} and {other} have {address}");
        }
    }
    Ok(())
}

fn addresses(service: &Value) -> Vec<&str> {
    let ingress = service["status"]["loadBalancer"]["ingress"].as_array();
    ingress
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["ip"].as_str())
        .collect()
}

fn seconds(from: u64, to: u64) -> f64 {
    Duration::from_micros(to.saturating_sub(from)).as_secs_f64()
}

const WRITTEN_MAX: Duration = Duration::from_secs(300);
/// Events come after the statuses, and pools' statuses once a second.
const QUIET: Duration = Duration::from_secs(3);
