//! How long an answer takes, on a quiet machine and with every CPU busy.
//!
//! Both ends of the measurement are in the kernel: the generator stamps a request as it leaves, the sink looks at the
//! clock as the answer comes in. So a client that waits for a CPU itself blurs nothing.

use super::Setting;
use super::stage::{Answerer, Stage};
use crate::cpu::Spinners;
use crate::figure::{Figure, percentile};
use crate::generator::Load;
use crate::hook::Hook;
use crate::sheet::Sheet;
use anyhow::{Result, ensure};
use std::time::Duration;

/// The name of this bench.
pub(crate) const NAME: &str = "latency";

/// Measures.
pub(crate) fn run(setting: &Setting, sheet: &mut Sheet<'_>) -> Result<()> {
    for is_busy in [false, true] {
        let reference = measure(setting, REFERENCE, is_busy)?;
        for who in WHO {
            let latencies = measure(setting, who, is_busy)?;
            sheet.extend(compare(who, is_busy, &latencies, &reference))?;
        }
        sheet.extend(compare(REFERENCE, is_busy, &reference, &reference))?;
    }
    Ok(())
}

/// A ring hands a block over when it is full or after a millisecond, so the other responder has the shorter latency.
const REFERENCE: Answerer = Answerer::Batches;
const WHO: [Answerer; 4] = [
    Answerer::Program(Hook::Tc),
    Answerer::Program(Hook::GenericXdp),
    Answerer::Program(Hook::NativeXdp),
    Answerer::Kernel,
];

/// Latencies in microseconds.
fn measure(setting: &Setting, who: Answerer, is_busy: bool) -> Result<Vec<f64>> {
    let mut stage = Stage::set(setting, who, None, true)?;
    stage.send(Load {
        rate: RATE,
        span: Duration::from_millis(200),
    })?;
    let from = stage.sent()?;
    let spinners = is_busy.then(Spinners::start);
    stage.send(Load {
        rate: RATE,
        span: SPAN,
    })?;
    drop(spinners);
    let samples = stage.take_samples(from, stage.sent()?)?;
    let latencies: Vec<f64> = samples
        .iter()
        .filter(|&&ns| ns > 0)
        .map(|&ns| ns as f64 / 1_000.0)
        .collect();
    ensure!(
        latencies.len() * 2 > samples.len(),
        "{who} left most requests unanswered"
    );
    Ok(latencies)
}

const RATE: Option<u64> = Some(2_000);
const SPAN: Duration = Duration::from_secs(5);

fn compare(who: Answerer, is_busy: bool, own: &[f64], reference: &[f64]) -> Vec<Figure> {
    let state = if is_busy { "every CPU busy" } else { "quiet" };
    let figure = |(name, share)| {
        let (value, other) = (
            percentile(own.to_vec(), share),
            percentile(reference.to_vec(), share),
        );
        let figure = Figure::new(NAME, format!("{who}, {state}, {name}"), value, "us");
        match who == REFERENCE {
            true => figure,
            false => figure.against(
                format!("{REFERENCE}, {state}, {name} / this"),
                other / value,
            ),
        }
    };
    [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)]
        .map(figure)
        .into()
}
