//! A cluster's API: what the controller writes and how long it takes, what a speaker reads, and how long a webhook thinks.
//!
//! The binaries are those that ship; the API server is the double of `tests/api`, as a process of its own. A real server is slower
//! (it writes to a disk and agrees with others), so that ratios against it would be closer to one.

mod controller;
pub(in crate::bench) mod double;
mod hooks;
mod node;
mod objects;

use super::Setting;
use super::speaker::Home;
use crate::figure::{Aim, Figure, median, percentile};
use crate::net::Pair;
use crate::sheet::Sheet;
use anyhow::Result;
use controller::{Cost, Round, Writes};
use hooks::Latencies;
use node::{Measured, Traffic};

/// The name of this bench.
pub(crate) const NAME: &str = "api";

/// Measures.
pub(crate) fn run(setting: &Setting, sheet: &mut Sheet<'_>) -> Result<()> {
    let home = Home::create()?;
    let pair = Pair::create()?;
    let count = if setting.is_quick { 1 } else { ROUNDS };
    let rounds: Result<Vec<Round>> = (0..count)
        .map(|number| controller::round(setting, &home, &pair.client, number))
        .collect();
    let rounds = rounds?;
    sheet.extend(of_start(&rounds))?;
    sheet.extend(of_writes(&rounds))?;
    sheet.extend(of_memory(&rounds))?;
    sheet.extend(of_node(&node::measure(setting, &home, &pair)?))?;
    sheet.extend(of_hooks(hooks::measure(setting, &home, &pair.client)?))
}

const ROUNDS: usize = 3;
const QUIET: &str = "quiet";

fn figure(name: impl Into<String>, value: f64, unit: &'static str) -> Figure {
    Figure::new(NAME, name, value, unit)
}

fn middle(rounds: &[Round], value: impl Fn(&Round) -> f64) -> f64 {
    median(rounds.iter().map(value).collect())
}

/// How long it takes until all addresses are written, against who only writes them.
fn of_start(rounds: &[Round]) -> Vec<Figure> {
    let plain = format!("plain client, {} PUTs", objects::SIZE.services);
    let plain_events = format!("{plain} and as many POSTs");
    let value = |of: &dyn Fn(&Round) -> f64| middle(rounds, of);
    let ratio = |of: fn(&Round) -> f64, to: fn(&Round) -> f64| {
        middle(rounds, |round| of(round) / to(round))
    };
    let mut figures = Vec::new();
    for (name, of) in [
        (&plain, (|round| round.plain) as fn(&Round) -> Cost),
        (&plain_events, |round| round.plain_events),
    ] {
        figures.push(figure(name, value(&|round| of(round).wall), "s"));
        figures.push(figure(
            format!("{name}, CPU"),
            value(&|round| of(round).cpu),
            "s",
        ));
        figures.push(figure(
            format!("{name}, CPU of the server"),
            value(&|round| of(round).server),
            "s",
        ));
    }
    for (name, of, aim) in [
        (
            "cold start to all addresses",
            (|round| round.start) as fn(&Round) -> Cost,
            2.0,
        ),
        ("new pool to all addresses", |round| round.replaced, 3.0),
    ] {
        let wall = middle(rounds, |round| of(round).wall / round.plain.wall);
        let cpu = middle(rounds, |round| of(round).cpu / round.plain.cpu);
        figures.push(
            figure(name, value(&|round| of(round).wall), "s")
                .against(&plain, wall)
                .aim(Aim::AtMost(aim)),
        );
        figures.push(
            figure(format!("{name}, CPU"), value(&|round| of(round).cpu), "s").against(&plain, cpu),
        );
        figures.push(figure(
            format!("{name}, CPU of the server"),
            value(&|round| of(round).server),
            "s",
        ));
    }
    figures.push(
        figure(
            "cold start to all addresses and events",
            value(&|round| round.start_events_s),
            "s",
        )
        .against(
            &plain_events,
            ratio(
                |round| round.start_events_s,
                |round| round.plain_events.wall,
            ),
        ),
    );
    figures.push(figure(
        "restart to the next address",
        value(&|round| round.restart_s),
        "s",
    ));
    figures
}

/// Writes for each service.
fn of_writes(rounds: &[Round]) -> Vec<Figure> {
    let services = objects::SIZE.services as f64;
    let mut figures = Vec::new();
    for (name, of, aim) in [
        (
            "cold start",
            (|round| round.start_writes) as fn(&Round) -> Writes,
            2.0,
        ),
        (
            "restart, but for one new service",
            |round| round.restart_writes,
            0.0,
        ),
        ("new pool", |round| round.replaced_writes, 2.0),
    ] {
        let each =
            |count: fn(Writes) -> usize| middle(rounds, |round| count(of(round)) as f64 / services);
        figures.push(
            figure(format!("{name}: writes a service"), each(Writes::all), "")
                .aim(Aim::AtMost(aim)),
        );
        figures.push(figure(
            format!("{name}: of these statuses"),
            each(|writes| writes.statuses),
            "",
        ));
        figures.push(figure(
            format!("{name}: reads of a service"),
            each(|writes| writes.reads),
            "",
        ));
        figures.push(figure(
            format!("{name}: conflicts"),
            each(|writes| writes.conflicts),
            "",
        ));
    }
    figures
}

fn of_memory(rounds: &[Round]) -> Vec<Figure> {
    let held = middle(rounds, |round| round.held);
    let list = "a list of the services as JSON";
    let memory = |name: &str, of: fn(&Round) -> f64| {
        let value = middle(rounds, of);
        figure(name, value, "MiB").against(list, value / held)
    };
    vec![
        figure(list, held, "MiB"),
        memory("controller, resident", |round| round.memory),
        memory("controller, resident at most", |round| round.memory_peak),
    ]
}

fn of_node(measured: &Measured) -> Vec<Figure> {
    let list = "lists of services, slices and nodes as JSON";
    let memory =
        |name: &str, value: f64| figure(name, value, "MiB").against(list, value / measured.held);
    let mut figures = vec![
        figure(list, measured.held, "MiB"),
        memory("speaker, resident", measured.memory),
        memory("speaker, resident at most", measured.memory_peak),
    ];
    let changed = "JSON of the changed slices, 100 a second";
    figures.push(figure(changed, measured.changed / 1e3, "kB/s"));
    for (name, traffic) in [
        (QUIET, measured.quiet),
        ("100 endpoints a second", measured.busy),
    ] {
        let Traffic {
            requests,
            writes,
            received,
            sent,
            cpu,
        } = traffic;
        figures.push(figure(
            format!("speaker, {name}: requests"),
            requests,
            "1/s",
        ));
        figures.push(figure(
            format!("speaker, {name}: of these writes"),
            writes,
            "1/s",
        ));
        let in_all = figure(format!("speaker, {name}: received"), received / 1e3, "kB/s");
        figures.push(match name {
            QUIET => in_all,
            _busy => in_all.against(changed, received / measured.changed),
        });
        figures.push(figure(format!("speaker, {name}: sent"), sent / 1e3, "kB/s"));
        figures.push(figure(
            format!("speaker, {name}: CPU"),
            cpu * 100.0,
            "% of one",
        ));
    }
    figures
}

fn of_hooks(latencies: Latencies) -> Vec<Figure> {
    let Latencies { pool, peer, empty } = latencies;
    let at = |times: &[f64], share| percentile(times.to_vec(), share);
    let mut figures = Vec::new();
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let none = format!("webhook, path that is none, {name}");
        let alone = at(&empty, share);
        figures.push(figure(&none, alone, "ms"));
        for (what, times) in [("a pool among 100", &pool), ("a peer among 100", &peer)] {
            let value = at(times, share);
            figures.push(
                figure(format!("webhook, {what}, {name}"), value, "ms")
                    .against(&none, value / alone),
            );
        }
    }
    figures
}
