//! How soon a dead node is found dead, how often a live one, and what membership costs: the machines of a whole cluster on a virtual clock.
//!
//! The network is the tests' own: 0.15 ms and exponential 0.15 ms one way, losses independent. Nothing here depends on the machine it runs on but
//! the time that it takes. It knows nothing of sockets and seals: bytes are those of bodies.

use super::Setting;
use crate::figure::{Aim, Figure, percentile};
use crate::members_cluster::{Cluster, Net, Verdict, Work};
use crate::sheet::Sheet;
use anyhow::{Result, ensure};
use speaker_proto::Span;
use std::collections::BTreeSet;
use std::time::Instant;

/// The name of this bench.
pub(crate) const NAME: &str = "members";

/// Measures.
pub(crate) fn run(setting: &Setting, sheet: &mut Sheet<'_>) -> Result<()> {
    for (nodes, minutes) in clusters(setting.nodes, setting.minutes) {
        for percent in [1, 5] {
            sheet.extend(measure(nodes, Span::s(60 * minutes), percent)?)?;
        }
    }
    Ok(())
}

/// Which clusters are watched, and for how many simulated minutes each.
fn clusters(nodes: Option<u16>, minutes: Option<u16>) -> Vec<(usize, u64)> {
    let usual = [(3, 120), (10, 120), (100, 120), (1_000, 10)];
    let usual_of = |nodes: usize| {
        let mut larger = usual.iter().filter(|(known, _)| *known >= nodes);
        larger.next().map_or(10, |(_, minutes)| *minutes)
    };
    let chosen = match nodes {
        Some(nodes) => vec![(nodes.into(), usual_of(nodes.into()))],
        None => usual.to_vec(),
    };
    let timed = chosen.into_iter();
    timed
        .map(|(nodes, usual)| (nodes, minutes.map_or(usual, u64::from)))
        .collect()
}

/// One cluster for `span`, in which every now and then one node dies and comes back.
fn measure(nodes: usize, span: Span, percent: u32) -> Result<Vec<Figure>> {
    let seed = nodes as u64;
    let mut cluster = Cluster::settled(seed, Net::lan(f64::from(percent) / 100.0), nodes);
    cluster.run_until(Span::s(60), "all know all", Cluster::is_whole);
    let cost = cost(&mut cluster);
    cluster.verdicts.clear();
    let round = Span::from_ns(span.ns() / DEATHS);
    let mut firsts = Vec::new();
    let mut lasts = Vec::new();
    let mut wrong = 0;
    let turns_before = sum(&cluster, TURNS);
    let started = Instant::now();
    for death in 1..=DEATHS {
        let after = Span::from_ns(cluster.random() % 50_000_000);
        cluster.run(after);
        let victim = (cluster.random() % nodes as u64) as usize;
        cluster.kill(victim);
        let died = cluster.now;
        cluster.run(DEAD_FOR);
        let verdicts = std::mem::take(&mut cluster.verdicts);
        let (right, others): (Vec<&Verdict>, _) = verdicts.iter().partition(|v| v.of == victim);
        ensure!(
            right.len() == nodes - 1,
            "{} of {nodes} found it dead",
            right.len()
        );
        let spans = || right.iter().map(|v| v.at.since(died).ns() as f64 / 1e6);
        firsts.extend(spans().min_by(f64::total_cmp));
        lasts.extend(spans().max_by(f64::total_cmp));
        cluster.start(victim);
        cluster.run(Span::from_ns(round.ns().saturating_sub(DEAD_FOR.ns())));
        let later = std::mem::take(&mut cluster.verdicts);
        let wrongly = others.into_iter().chain(&later).filter(|v| !v.is_true);
        wrong += wrongly.map(|v| v.of).collect::<BTreeSet<_>>().len() as u64;
        if death.is_multiple_of(TOLD) {
            let took = started.elapsed().as_secs();
            let left = took * (DEATHS - death) / death;
            eprintln!(
                "{nodes} nodes, {percent} % lost: {death} of {DEATHS} deaths in {took} s, {left} s to go"
            );
        }
    }
    let took_us = started.elapsed().as_secs_f64() * 1e6;
    let turn_us = took_us / (sum(&cluster, TURNS) - turns_before);
    let name = |what: &str| format!("{nodes} nodes, {percent} % lost: {what}");
    let figure = |what: &str, value, unit| Figure::new(NAME, name(what), value, unit);
    let hours = span.ns() as f64 / 3.6e12;
    let mut figures = Vec::new();
    for (who, spans) in [("the first", firsts), ("the last", lasts)] {
        let found = |share| percentile(spans.clone(), share);
        let p99 = figure(&format!("found dead by {who}, p99"), found(0.99), "ms");
        figures.extend([
            figure(&format!("found dead by {who}, soonest"), found(0.0), "ms"),
            figure(&format!("found dead by {who}, p50"), found(0.5), "ms"),
            p99.aim(Aim::AtMost(FOUND_MS_MAX)),
            figure(&format!("found dead by {who}, latest"), found(1.0), "ms"),
        ]);
    }
    let per_hour = wrong as f64 / hours;
    figures.push(figure("live nodes found dead", per_hour, "1/h").aim(Aim::AtMost(0.0)));
    let bound = poisson_max(wrong) / hours;
    figures.push(figure("the same, at most (95 %)", bound, "1/h"));
    figures.extend(cost.map(|(what, value, unit)| figure(what, value, unit)));
    figures.push(figure(
        "processor time of a turn, the network's part included",
        turn_us,
        "us",
    ));
    Ok(figures)
}

/// What each node does in a second when nothing happens.
fn cost(cluster: &mut Cluster) -> [(&'static str, f64, &'static str); 3] {
    let parts: [fn(&Work) -> u64; 3] = [|w| w.sent, |w| w.bytes, TURNS];
    let before = parts.map(|part| sum(cluster, part));
    cluster.run(Span::s(QUIET_S));
    let after = parts.map(|part| sum(cluster, part));
    let share = (QUIET_S * cluster.nodes.len() as u64) as f64;
    let [sent, bytes, turns] = [0, 1, 2].map(|at| (after[at] - before[at]) / share);
    [
        ("datagrams sent by a node", sent, "1/s"),
        ("bytes of their bodies", bytes, "1/s"),
        ("turns of a node, one each datagram and timer", turns, "1/s"),
    ]
}

/// Of all nodes.
fn sum(cluster: &Cluster, part: fn(&Work) -> u64) -> f64 {
    let nodes = cluster.nodes.iter();
    nodes.map(|node| part(&node.work)).sum::<u64>() as f64
}

/// One for each datagram and timer.
const TURNS: fn(&Work) -> u64 = |work| work.timers + work.heard;

/// The largest mean under which `seen` or fewer events have a chance of one in twenty.
fn poisson_max(seen: u64) -> f64 {
    let chance = |mean: f64| {
        let terms = (1..=seen).scan(1.0, |term, n| {
            *term *= mean / n as f64;
            Some(*term)
        });
        (-mean).exp() * (1.0 + terms.sum::<f64>())
    };
    let (mut low, mut high) = (0.0, 10.0 + 3.0 * seen as f64);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if chance(middle) > 0.05 {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// Deaths in each cluster.
const DEATHS: u64 = 300;
/// After so many it says how long the rest will take.
const TOLD: u64 = 50;
/// So long the dead stay dead.
const DEAD_FOR: Span = Span::ms(1_200);
const QUIET_S: u64 = 10;
const FOUND_MS_MAX: f64 = 700.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_cluster_can_be_watched_for_two_hours() {
        assert_eq!(clusters(Some(1_000), Some(120)), [(1_000, 120)]);
        assert_eq!(clusters(Some(300), None), [(300, 10)]);
        assert_eq!(clusters(None, None).len(), 4);
    }

    #[test]
    fn nothing_seen_bounds_the_mean_by_three() {
        assert!((poisson_max(0) - 2.996).abs() < 0.001);
        assert!((poisson_max(3) - 7.754).abs() < 0.001);
    }
}
