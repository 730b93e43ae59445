//! What was measured as figures: the speaker's value of each, and for each other make how many times that it takes.
//!
//! Ratios are the other's value by the speaker's, so that more than one is in the speaker's favour; the aims are on those against BIRD,
//! or on the speaker's value where there is no sense in a ratio.

use super::NAME;
use super::change::{self, BUSY_RATE};
use super::liveness;
use super::losses::{self, Case};
use super::place::Family;
use super::sender::Make;
use super::table::{Measured, Size};
use super::watch::DETECTION;
use crate::figure::{Aim, Figure, percentile};
use std::time::Duration;

fn figure(name: impl Into<String>, value: f64, unit: &'static str) -> Figure {
    Figure::new(NAME, name, value, unit)
}

/// One value of each make, the speaker's as a ratio against each of the others. `aim` bounds the ratio against BIRD from below.
fn beside(what: &str, unit: &'static str, values: &[(Make, f64)], aim: Option<f64>) -> Vec<Figure> {
    let name = |make: Make| format!("{what}, {}", make.name());
    let of = |make: Make| values.iter().find(|(other, _)| *other == make);
    let own = of(Make::Speaker).map_or(0.0, |(_, value)| *value);
    let others = values.iter().filter(|(make, _)| *make != Make::Speaker);
    let mut figures = Vec::new();
    for (make, value) in others.clone() {
        // A clock tick may be all that there is.
        let ratio = value / own.max(f64::MIN_POSITIVE);
        let against = format!("{} / this", name(*make));
        let figure = figure(name(Make::Speaker), own, unit).against(against, ratio);
        figures.push(match aim.filter(|_| *make == Make::Bird) {
            Some(least) => figure.aim(Aim::AtLeast(least)),
            None => figure,
        });
    }
    figures.extend(others.map(|(make, value)| figure(name(*make), *value, unit)));
    figures
}

fn values(measured: &[Measured], of: fn(&Measured) -> f64) -> Vec<(Make, f64)> {
    measured.iter().map(|one| (one.make, of(one))).collect()
}

fn title(size: Size) -> String {
    let (routes, peers) = (size.routes, size.peers);
    format!(
        "{routes} /{} to {peers} peer{}",
        size.family.bits(),
        if peers == 1 { "" } else { "s" }
    )
}

/// A large table to one peer.
pub(super) fn of_one_peer(size: Size, measured: &[Measured]) -> Vec<Figure> {
    let title = title(size);
    let mut figures = beside(
        &format!("{title}: time"),
        "ms",
        &values(measured, |one| one.took),
        Some(1.0),
    );
    let cpu = values(measured, |one| one.cpu);
    figures.extend(beside(&format!("{title}: CPU"), "ms", &cpu, Some(1.0)));
    let least = match size.family {
        Family::V4 => 800.0,
        Family::V6 => 230.0,
    };
    for one in measured {
        let name = format!(
            "/{} in the fullest message, {}",
            size.family.bits(),
            one.make.name()
        );
        let fullest = figure(name, f64::from(one.fullest), "routes");
        figures.push(match one.make {
            Make::Speaker => fullest.aim(Aim::AtLeast(least)),
            Make::Frr | Make::Bird | Make::GoBgp => fullest,
        });
    }
    let messages = values(measured, |one| f64::from(one.messages));
    figures.extend(beside(&format!("{title}: messages"), "", &messages, None));
    figures
}

/// A table to many peers.
pub(super) fn of_many_peers(size: Size, measured: &[Measured]) -> Vec<Figure> {
    let title = title(size);
    let mut figures = beside(
        &format!("{title}: time"),
        "ms",
        &values(measured, |one| one.took),
        Some(1.0),
    );
    let cpu = values(measured, |one| one.cpu);
    figures.extend(beside(&format!("{title}: CPU"), "ms", &cpu, None));
    let peak = values(measured, |one| one.memory_peak);
    figures.extend(beside(
        &format!("{title}: resident at most"),
        "MiB",
        &peak,
        Some(1.0),
    ));
    figures
}

/// What a small cluster takes.
pub(super) fn of_memory(size: Size, measured: &[Measured]) -> Vec<Figure> {
    let memory = values(measured, |one| one.memory);
    beside(&format!("{}: resident", title(size)), "MiB", &memory, None)
}

/// From a change to the peer's having read it.
pub(super) fn of_changes(measured: &change::Measured) -> Vec<Figure> {
    let mut figures = Vec::new();
    let own = measured
        .quiet
        .iter()
        .find(|(make, _)| *make == Make::Speaker);
    let own = own.map_or(&[][..], |(_, times)| times);
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let at = |times: &[f64]| percentile(times.to_vec(), share);
        let quiet = measured
            .quiet
            .iter()
            .map(|(make, times)| (*make, at(times)));
        figures.extend(beside(
            &format!("a change, quiet, {name}"),
            "ms",
            &quiet.collect::<Vec<_>>(),
            None,
        ));
        let title = format!("a change, {BUSY_RATE} a second, {name}, speaker");
        figures.push(figure(title, at(&measured.busy), "ms"));
    }
    let bounds = [("quiet", own, 60.0), ("busy", &measured.busy, 250.0)];
    for (name, times, most) in bounds {
        let title = format!("a change, {name}, p99, speaker, to be at most");
        figures.push(figure(title, percentile(times.to_vec(), 0.99), "ms").aim(Aim::AtMost(most)));
    }
    figures
}

/// BFD under load, and deaths.
pub(super) fn of_liveness(
    sessions: usize,
    span: Duration,
    measured: &[liveness::Measured],
) -> Vec<Figure> {
    let title = format!(
        "BFD 3 x 50 ms, {sessions} sessions, every CPU busy for {} s",
        span.as_secs()
    );
    let each = |of: &dyn Fn(&liveness::Measured) -> f64| -> Vec<(Make, f64)> {
        measured.iter().map(|one| (one.make, of(one))).collect()
    };
    let gap = each(&|one| one.longest_gap);
    let mut figures = beside(&format!("{title}: longest gap"), "ms", &gap, None);
    for one in measured {
        let name = format!(
            "{title}: sessions with a gap above 150 ms, {}",
            one.make.name()
        );
        let gaps = figure(name, one.gaps as f64, "");
        figures.push(match one.make {
            Make::Speaker => gaps.aim(Aim::AtMost(0.0)),
            Make::Frr | Make::Bird | Make::GoBgp => gaps,
        });
    }
    let cpu = each(&|one| one.cpu);
    figures.extend(beside(&format!("{title}: CPU"), "% of one", &cpu, None));
    let most = DETECTION.as_secs_f64() * 1e3 + 10.0;
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let of = |times: &[f64]| percentile(times.to_vec(), share);
        let peer = each(&|one| of(&one.peer_death));
        figures.extend(beside(
            &format!("a peer's last packet to the end of its session, {name}"),
            "ms",
            &peer,
            None,
        ));
        if let Some(own) = measured
            .iter()
            .find(|one| one.make == Make::Speaker && share > 0.9)
        {
            let name = format!("the same, {name}, speaker, to be at most");
            figures.push(figure(name, of(&own.peer_death), "ms").aim(Aim::AtMost(most)));
        }
        let node = each(&|one| of(&one.node_death));
        figures.extend(beside(
            &format!("a node's death to its peers' noticing, {name}"),
            "ms",
            &node,
            None,
        ));
    }
    figures
}

/// What traffic loses.
pub(super) fn of_losses(measured: &[losses::Measured]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for one in measured {
        let name = format!(
            "{}: lost of {}, {}",
            one.case.name(),
            one.sent,
            one.make.name()
        );
        let lost = figure(name, one.lost as f64, "datagrams");
        let is_own = one.make == Make::Speaker;
        figures.push(match one.case {
            Case::GracefulRestart | Case::Restart | Case::Drain if is_own => {
                lost.aim(Aim::AtMost(0.0))
            }
            Case::GracefulRestart | Case::Restart | Case::Drain => lost,
        });
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_one_is_in_the_speakers_favour_and_the_aim_is_against_bird() {
        let values = [(Make::Speaker, 2.0), (Make::Frr, 8.0), (Make::Bird, 1.0)];
        let figures = beside("time", "ms", &values, Some(1.0));
        assert_eq!(figures.len(), 4);
        assert_eq!((figures[0].ratio, figures[0].met), (Some(4.0), None));
        assert_eq!((figures[1].ratio, figures[1].met), (Some(0.5), Some(false)));
        assert_eq!(figures[1].against.as_deref(), Some("time, BIRD / this"));
        assert_eq!((figures[2].value, figures[3].value), (8.0, 1.0));
    }
}
