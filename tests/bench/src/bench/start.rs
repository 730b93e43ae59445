//! From the start of the process to the first answer, on a node that nothing of it was on before.

use super::Setting;
use super::speaker::{Home, Speaker};
use crate::figure::{Figure, percentile};
use crate::frame;
use crate::generator::{self, REQUESTS};
use crate::net::Pair;
use crate::object::Kit;
use crate::sheet::Sheet;
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

/// The name of this bench.
pub(crate) const NAME: &str = "start";

/// Measures.
pub(crate) fn run(setting: &Setting, sheet: &mut Sheet<'_>) -> Result<()> {
    let times: Result<Vec<f64>> = (0..ROUNDS).map(|_| once(setting)).collect();
    let times = times?;
    let figure = |name: &str, share| {
        Figure::new(
            NAME,
            format!("process start to first answer, {name}"),
            percentile(times.clone(), share),
            "ms",
        )
    };
    sheet.extend([figure("p50", 0.5), figure("max", 1.0)])
}

const ROUNDS: usize = 10;

fn once(setting: &Setting) -> Result<f64> {
    let home = Home::create()?;
    let pair = Pair::create()?;
    let mut kit = Kit::load(&setting.kit)?;
    kit.order(&frame::arp_request(), 1, false)?;
    generator::attach(&mut kit, &pair, REQUESTS)?;
    let before = kit.counts()?.answers;
    let start = Instant::now();
    let mut speaker = Speaker::start(&setting.speaker, &home, &pair)?;
    while kit.counts()?.answers == before {
        speaker.check()?;
        ensure!(
            start.elapsed() < START_MAX,
            "no answer within 20 s of the start"
        );
        generator::ask(&mut kit, &pair)?;
        std::thread::sleep(Duration::from_micros(500));
    }
    let took = start.elapsed();
    speaker.stop()?;
    Ok(took.as_secs_f64() * 1e3)
}

const START_MAX: Duration = Duration::from_secs(20);
