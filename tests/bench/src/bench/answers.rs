//! ARP answers a second, and the CPU time of each.
//!
//! At overload every CPU sends what it can. A responder in user space drowns in that, so it is also tried at lower
//! loads with a CPU of its own; what it can do at best is shown beside. What sending and counting cost is measured
//! against a node that drops at once, at the same load, and taken off.

use super::Setting;
use super::stage::{Answerer, Stage};
use crate::cpu;
use crate::figure::{Aim, Figure, median};
use crate::generator::{Load, Yield};
use crate::hook::Hook;
use crate::sheet::Sheet;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::time::Duration;

/// The name of this bench.
pub(crate) const NAME: &str = "answers";

/// Measures.
pub(crate) fn run(setting: &Setting, sheet: &mut Sheet<'_>) -> Result<()> {
    let floods = flood_all(setting)?;
    let own = median(
        floods[&Answerer::Nobody]
            .iter()
            .map(Yield::ns_per_request)
            .collect(),
    );
    let best = best_in_user_space(setting)?;
    let at_best = format!("{} at its best", best.who);
    let rate = |who| median(floods[&who].iter().map(Yield::rate).collect());
    let cost = |who| {
        median(
            floods[&who]
                .iter()
                .map(|y: &Yield| y.ns_per_answer(own))
                .collect(),
        )
    };
    let rival = match rate(Answerer::Ring) > rate(Answerer::Batches) {
        true => Answerer::Ring,
        false => Answerer::Batches,
    };

    sheet.add(&Figure::new(
        NAME,
        "asking and counting alone",
        own,
        "ns/request",
    ))?;
    for who in measured() {
        let (figure, value) = (format!("{who}, at overload"), rate(who));
        let figure = Figure::new(NAME, figure, value, "answers/s");
        let figure = figure.against(format!("{rival}, at overload"), value / rate(rival));
        sheet.add(&aimed(figure, who))?;
    }
    for who in measured() {
        let (figure, value) = (format!("{who}, at overload"), cost(who));
        let figure = Figure::new(NAME, figure, value, "ns/answer");
        let against = format!("{rival}, at overload / this");
        sheet.add(&aimed(figure.against(against, cost(rival) / value), who))?;
    }
    sheet.add(&Figure::new(NAME, at_best.clone(), best.rate, "answers/s"))?;
    sheet.add(&Figure::new(
        NAME,
        at_best.clone(),
        best.ns_per_answer,
        "ns/answer",
    ))?;
    for who in OURS {
        let figure = Figure::new(NAME, format!("{who}, at overload"), rate(who), "answers/s");
        sheet.add(&figure.against(at_best.clone(), rate(who) / best.rate))?;
        let figure = Figure::new(NAME, format!("{who}, at overload"), cost(who), "ns/answer");
        sheet.add(&figure.against(format!("{at_best} / this"), best.ns_per_answer / cost(who)))?;
    }
    for who in OURS {
        sheet.add(&losses(setting, who, best.rate)?)?;
    }
    Ok(())
}

const OURS: [Answerer; 3] = [
    Answerer::Program(Hook::Tc),
    Answerer::Program(Hook::GenericXdp),
    Answerer::Program(Hook::NativeXdp),
];
const OTHERS: [Answerer; 3] = [Answerer::Kernel, Answerer::Batches, Answerer::Ring];

fn measured() -> impl Iterator<Item = Answerer> {
    OURS.into_iter().chain(OTHERS)
}

fn aimed(figure: Figure, who: Answerer) -> Figure {
    match who {
        Answerer::Program(Hook::Tc) => figure.aim(Aim::AtLeast(3.0)),
        Answerer::Program(Hook::GenericXdp | Hook::NativeXdp) => figure.aim(Aim::AtLeast(6.0)),
        Answerer::Nobody | Answerer::Kernel | Answerer::Batches | Answerer::Ring => figure,
    }
}

/// Rounds of all answerers in turn, so that a slow minute of the machine meets each of them.
fn flood_all(setting: &Setting) -> Result<BTreeMap<Answerer, Vec<Yield>>> {
    let mut floods: BTreeMap<_, Vec<Yield>> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for who in [Answerer::Nobody].into_iter().chain(measured()) {
            let mut stage = Stage::set(setting, who, None, false)?;
            stage.send(Load {
                rate: None,
                span: WARM_UP,
            })?;
            let flood = stage.send(Load {
                rate: None,
                span: SPAN,
            })?;
            ensure!(
                who == Answerer::Nobody || flood.answers > 0,
                "{who} answered nothing"
            );
            floods.entry(who).or_default().push(flood);
        }
    }
    Ok(floods)
}

const ROUNDS: usize = 3;
const WARM_UP: Duration = Duration::from_millis(100);
const SPAN: Duration = Duration::from_millis(1_500);

/// The best that a responder in user space can do.
struct Best {
    who: Answerer,
    rate: f64,
    ns_per_answer: f64,
}

/// Both responders at rising loads, each beside a node that drops the same load.
fn best_in_user_space(setting: &Setting) -> Result<Best> {
    let mut best: Option<Best> = None;
    for who in [Answerer::Batches, Answerer::Ring] {
        let mut stage = Stage::set(setting, who, Some(cpu::other()), false)?;
        let mut nobody = Stage::set(setting, Answerer::Nobody, None, false)?;
        for rate in (200_000..=1_200_000).step_by(100_000) {
            let load = Load {
                rate: Some(rate),
                span: STEP,
            };
            let result = stage.send(load)?;
            let own = nobody.send(load)?.ns_per_request();
            if best.as_ref().is_none_or(|best| result.rate() > best.rate) {
                let ns_per_answer = result.ns_per_answer(own);
                best = Some(Best {
                    who,
                    rate: result.rate(),
                    ns_per_answer,
                });
            }
        }
    }
    best.context("there are two responders in user space")
}

const STEP: Duration = Duration::from_millis(600);

/// Requests that `who` leaves without an answer at `rate`.
fn losses(setting: &Setting, who: Answerer, rate: f64) -> Result<Figure> {
    let mut stage = Stage::set(setting, who, None, false)?;
    let span = Duration::from_secs(2);
    let result = stage.send(Load {
        rate: Some(rate as u64),
        span,
    })?;
    let figure = format!("{who}, lost at that rate, of {}", result.sent);
    Ok(Figure::new(NAME, figure, result.lost() as f64, "requests").aim(Aim::AtMost(0.0)))
}
