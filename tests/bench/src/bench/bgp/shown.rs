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

/// A part that one make could not do.
pub(super) fn failed(what: &str, make: Make, why: &anyhow::Error) -> Figure {
    let name = format!("{what}, {}", make.name());
    Figure::failed(NAME, name, &format!("{why:#}"))
}

/// One value of a make; of another make than the speaker the speaker's too, as a ratio. `aim` bounds that against BIRD from below.
pub(super) fn beside(
    what: &str,
    unit: &'static str,
    make: Make,
    own: Option<f64>,
    value: f64,
    aim: Option<f64>,
) -> Vec<Figure> {
    let name = |make: Make| format!("{what}, {}", make.name());
    let mut figures = vec![figure(name(make), value, unit)];
    if let Some(own) = own.filter(|_| make != Make::Speaker) {
        // A clock tick may be all that there is.
        let ratio = value / own.max(f64::MIN_POSITIVE);
        let against = format!("{} / this", name(make));
        let figure = figure(name(Make::Speaker), own, unit).against(against, ratio);
        figures.push(match aim.filter(|_| make == Make::Bird) {
            Some(least) => figure.aim(Aim::AtLeast(least)),
            None => figure,
        });
    }
    figures
}

/// How much is sent to how many.
pub(super) fn title(size: Size) -> String {
    let (routes, peers) = (size.routes, size.peers);
    format!(
        "{routes} /{} to {peers} peer{}",
        size.family.bits(),
        if peers == 1 { "" } else { "s" }
    )
}

/// A large table to one peer.
pub(super) fn of_one_peer(
    size: Size,
    make: Make,
    own: Option<&Measured>,
    one: &Measured,
) -> Vec<Figure> {
    let title = title(size);
    let row = |what: &str, unit, of: fn(&Measured) -> f64, aim| {
        let what = format!("{title}: {what}");
        beside(&what, unit, make, own.map(of), of(one), aim)
    };
    let mut figures = row("time", "ms", |one| one.took, Some(1.0));
    figures.extend(row("CPU", "ms", |one| one.cpu, Some(1.0)));
    let least = match size.family {
        Family::V4 => 800.0,
        Family::V6 => 230.0,
    };
    let name = format!(
        "/{} in the fullest message, {}",
        size.family.bits(),
        make.name()
    );
    let fullest = figure(name, f64::from(one.fullest), "routes");
    figures.push(match make {
        Make::Speaker => fullest.aim(Aim::AtLeast(least)),
        Make::Frr | Make::Bird | Make::GoBgp => fullest,
    });
    figures.extend(row("messages", "", |one| f64::from(one.messages), None));
    figures
}

/// A table to many peers.
pub(super) fn of_many_peers(
    size: Size,
    make: Make,
    own: Option<&Measured>,
    one: &Measured,
) -> Vec<Figure> {
    let title = title(size);
    let row = |what: &str, unit, of: fn(&Measured) -> f64, aim| {
        let what = format!("{title}: {what}");
        beside(&what, unit, make, own.map(of), of(one), aim)
    };
    let mut figures = row("time", "ms", |one| one.took, Some(1.0));
    figures.extend(row("CPU", "ms", |one| one.cpu, None));
    let peak = |one: &Measured| one.memory_peak;
    figures.extend(row("resident at most", "MiB", peak, Some(1.0)));
    let name = format!("{title}: resident for each peer, {}", make.name());
    figures.push(figure(name, one.memory_peer, "KiB"));
    if let (Make::Bird, Some(added)) = (make, own.and_then(|own| own.memory_added)) {
        // All of BIRD is routes and sessions; a speaker holds the services that they come from, whatever it announces them by.
        let name = format!("{title}: resident, added by routes and sessions, speaker");
        let ratio = one.memory / added.max(f64::MIN_POSITIVE);
        let against = format!("{title}: resident, BIRD / this");
        figures.push(
            figure(name, added, "MiB")
                .against(against, ratio)
                .aim(Aim::AtLeast(1.0)),
        );
    }
    figures
}

/// What a small cluster takes.
pub(super) fn of_memory(
    size: Size,
    make: Make,
    own: Option<&Measured>,
    one: &Measured,
) -> Vec<Figure> {
    let what = format!("{}: resident", title(size));
    let own = own.map(|own| own.memory);
    beside(&what, "MiB", make, own, one.memory, None)
}

/// From a change to the peer's having read it.
pub(super) fn of_changes(
    make: Make,
    own: Option<&change::Measured>,
    one: &change::Measured,
) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let at = |one: &change::Measured| percentile(one.quiet.clone(), share);
        let what = format!("a change, quiet, {name}");
        figures.extend(beside(&what, "ms", make, own.map(at), at(one), None));
    }
    let Some(busy) = &one.busy else {
        return figures;
    };
    let at = |share| percentile(busy.times.clone(), share);
    let title = |what: &str| format!("a change, {BUSY_RATE} a second, {what}, speaker");
    figures.push(figure(title("p50"), at(0.5), "ms"));
    figures.push(figure(title("p99"), at(0.99), "ms").aim(Aim::AtMost(250.0)));
    let rate = figure("changes of the busy case, speaker", busy.rate, "1/s");
    figures.push(rate.aim(Aim::AtLeast(0.95 * f64::from(BUSY_RATE))));
    let quiet = percentile(one.quiet.clone(), 0.99);
    let title = "a change, quiet, p99, speaker, to be at most";
    figures.push(figure(title, quiet, "ms").aim(Aim::AtMost(60.0)));
    figures
}

/// BFD under load, and deaths.
pub(super) fn of_liveness(
    sessions: usize,
    span: Duration,
    make: Make,
    own: Option<&liveness::Measured>,
    one: &liveness::Measured,
) -> Vec<Figure> {
    let mut figures = of_load(sessions, span, make, own, one);
    figures.extend(of_deaths(
        "a peer's last packet to the end of its session",
        make,
        own.map(|own| &own.peer_death),
        &one.peer_death,
    ));
    figures.extend(of_deaths(
        "a node's death to its peers' noticing",
        make,
        own.map(|own| &own.node_death),
        &one.node_death,
    ));
    if let (Make::Speaker, Ok(times)) = (make, &one.peer_death) {
        let name = "a peer's death, p99, speaker, to be at most";
        let most = DETECTION.as_secs_f64() * 1e3 + 10.0;
        let p99 = figure(name, percentile(times.clone(), 0.99), "ms");
        figures.push(p99.aim(Aim::AtMost(most)));
    }
    figures
}

fn of_load(
    sessions: usize,
    span: Duration,
    make: Make,
    own: Option<&liveness::Measured>,
    one: &liveness::Measured,
) -> Vec<Figure> {
    let title = format!(
        "BFD 3 x 50 ms, {sessions} sessions, every CPU busy for {} s",
        span.as_secs()
    );
    let load = match &one.load {
        Ok(load) => load,
        Err(error) => return vec![failed(&title, make, error)],
    };
    let own = own.and_then(|own| own.load.as_ref().ok());
    let row = |what: &str, unit, of: fn(&liveness::Load) -> f64| {
        let what = format!("{title}: {what}");
        beside(&what, unit, make, own.map(of), of(load), None)
    };
    let mut figures = row("longest gap", "ms", |load| load.longest_gap);
    let name = format!("{title}: sessions with a gap above 150 ms, {}", make.name());
    let gaps = figure(name, load.gaps as f64, "");
    figures.push(match make {
        Make::Speaker => gaps.aim(Aim::AtMost(0.0)),
        Make::Frr | Make::Bird | Make::GoBgp => gaps,
    });
    figures.extend(row("CPU", "% of one", |load| load.cpu));
    figures
}

fn of_deaths(
    what: &str,
    make: Make,
    own: Option<&anyhow::Result<Vec<f64>>>,
    one: &anyhow::Result<Vec<f64>>,
) -> Vec<Figure> {
    let times = match one {
        Ok(times) => times,
        Err(error) => return vec![failed(what, make, error)],
    };
    let own = own.and_then(|own| own.as_ref().ok());
    let mut figures = Vec::new();
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let at = |times: &Vec<f64>| percentile(times.clone(), share);
        let what = format!("{what}, {name}");
        figures.extend(beside(&what, "ms", make, own.map(at), at(times), None));
    }
    figures
}

/// What traffic loses.
pub(super) fn of_losses(make: Make, case: Case, one: &losses::Measured) -> Vec<Figure> {
    let name = format!("{}: lost of {}, {}", case.name(), one.sent, make.name());
    let lost = figure(name, one.lost as f64, "datagrams");
    vec![match make {
        Make::Speaker => lost.aim(Aim::AtMost(0.0)),
        Make::Frr | Make::Bird | Make::GoBgp => lost,
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_one_is_in_the_speakers_favour_and_the_aim_is_against_bird() {
        let of = |make, value| beside("time", "ms", make, Some(2.0), value, Some(1.0));
        let own = beside("time", "ms", Make::Speaker, None, 2.0, Some(1.0));
        assert_eq!((own.len(), own[0].value, own[0].met), (1, Some(2.0), None));
        let frr = of(Make::Frr, 8.0);
        assert_eq!((frr[0].value, frr[0].ratio), (Some(8.0), None));
        assert_eq!((frr[1].ratio, frr[1].met), (Some(4.0), None));
        let bird = of(Make::Bird, 1.0);
        assert_eq!((bird[1].ratio, bird[1].met), (Some(0.5), Some(false)));
        assert_eq!(bird[1].against.as_deref(), Some("time, BIRD / this"));
    }
}
