//! Sends what was ordered by live frames of BPF_PROG_TEST_RUN: millions a second from each CPU, made in the kernel.

use crate::net::{CLIENT_LINK, Pair, SPARE_LINK};
use crate::object::{Counts, Kit};
use crate::{cpu, raw};
use anyhow::{Context, Result, bail};
use aya::programs::{TestRun, TestRunAttrs, TestRunOptions, Xdp, XdpMode};
use std::time::{Duration, Instant};

/// What is sent, and what counts as having come back: the programs for both ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    generator: &'static str,
    sink: &'static str,
}

/// ARP requests, and their answers.
pub(crate) const REQUESTS: Traffic = Traffic {
    generator: "bench_gen",
    sink: "bench_sink",
};

/// Packets, and those that were sent on to a node.
pub(crate) const FLOWS: Traffic = Traffic {
    generator: "bench_gen_flows",
    sink: "bench_sink_ip",
};

/// How much is sent for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Requests a second, from CPU 0; `None`: as many as all CPUs can make.
    pub(crate) rate: Option<u64>,
    /// For how long.
    pub(crate) span: Duration,
}

/// What came of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Yield {
    /// Requests sent.
    pub(crate) sent: u64,
    /// Good answers.
    pub(crate) answers: u64,
    /// How long it took.
    pub(crate) span: Duration,
    /// CPU time that it took on all CPUs: asking, answering and counting.
    pub(crate) used: Duration,
}

impl Yield {
    /// Answers a second.
    pub(crate) fn rate(&self) -> f64 {
        self.answers as f64 / self.span.as_secs_f64()
    }

    /// CPU nanoseconds per request sent.
    pub(crate) fn ns_per_request(&self) -> f64 {
        self.used.as_nanos() as f64 / self.sent as f64
    }

    /// CPU nanoseconds per answer, when sending a request alone costs `own` nanoseconds.
    pub(crate) fn ns_per_answer(&self, own: f64) -> f64 {
        (self.used.as_nanos() as f64 - self.sent as f64 * own) / self.answers as f64
    }

    /// Requests without an answer.
    pub(crate) fn lost(&self) -> u64 {
        self.sent - self.answers.min(self.sent)
    }
}

/// Attaches the sink to the client's link; it stays as long as `kit`.
///
/// The generator goes to a link that is down: the kernel waits for an RCU grace period twice per test run of an XDP
/// program that is attached nowhere, which takes longer than most of the runs here.
pub(crate) fn attach(kit: &mut Kit, pair: &Pair, traffic: Traffic) -> Result<()> {
    pair.client.run(|| {
        let generator = kit.xdp(traffic.generator)?;
        generator
            .attach(SPARE_LINK, XdpMode::Driver)
            .context("failed to attach the generator")?;
        let sink = kit.xdp(traffic.sink)?;
        sink.attach(CLIENT_LINK, XdpMode::Driver)
            .context("failed to attach the sink")?;
        Ok(())
    })
}

/// Sends `load` in the client's namespace.
pub(crate) fn send(kit: &mut Kit, pair: &Pair, traffic: Traffic, load: Load) -> Result<Yield> {
    let before = kit.counts()?;
    let (start, used) = (Instant::now(), cpu::used()?);
    let generator: &Xdp = kit.xdp(traffic.generator)?;
    match load.rate {
        None => flood(generator, pair, load.span)?,
        Some(rate) => pair.client.run(|| pace(generator, rate, load.span))?,
    }
    let span = start.elapsed();
    // What is still in a queue is answered, not lost.
    std::thread::sleep(Duration::from_millis(60));
    let used = cpu::used()?.saturating_sub(used);
    let Counts { sent, answers, .. } = kit.counts()?;
    Ok(Yield {
        sent: sent - before.sent,
        answers: answers - before.answers,
        span,
        used,
    })
}

/// Sends one request.
pub(crate) fn ask(kit: &mut Kit, pair: &Pair) -> Result<()> {
    let generator: &Xdp = kit.xdp(REQUESTS.generator)?;
    pair.client
        .run(|| shoot(generator, raw::ifindex(CLIENT_LINK)?, 1))
}

fn flood(generator: &Xdp, pair: &Pair, span: Duration) -> Result<()> {
    let one = |cpu| {
        pair.client.run(|| {
            cpu::pin(cpu)?;
            let ifindex = raw::ifindex(CLIENT_LINK)?;
            let start = Instant::now();
            while start.elapsed() < span {
                shoot(generator, ifindex, 16_384)?;
            }
            Ok(())
        })
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cpu::count())
            .map(|cpu| scope.spawn(move || one(cpu)))
            .collect();
        let mut ends = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        ends.try_for_each(|end| end.unwrap_or_else(|_| bail!("a generator panicked")))
    })
}

/// Batches in equal steps; a late step is made up for, so that the mean rate is kept.
fn pace(generator: &Xdp, rate: u64, span: Duration) -> Result<()> {
    cpu::pin(0)?;
    let ifindex = raw::ifindex(CLIENT_LINK)?;
    let batch = (rate / STEPS_PER_SECOND).clamp(1, 256) as u32;
    let step = Duration::from_secs_f64(f64::from(batch) / rate as f64);
    let start = Instant::now();
    let mut due = Duration::ZERO;
    while due < span {
        if let Some(early) = due.checked_sub(start.elapsed()) {
            std::thread::sleep(early);
        }
        shoot(generator, ifindex, batch)?;
        due += step;
    }
    Ok(())
}

/// Short enough a step that no queue of 256 frames overflows by the pacing alone.
const STEPS_PER_SECOND: u64 = 4_000;

fn shoot(generator: &Xdp, ifindex: u32, frames: u32) -> Result<()> {
    let data = [0; FRAME_BYTES];
    let context = xdp_context(FRAME_BYTES as u32, ifindex);
    let options = TestRunOptions {
        data_in: Some(&data),
        ctx_in: Some(&context),
        repeat: frames,
        attrs: TestRunAttrs::new().xdp_live_frames(frames.min(64)),
        ..TestRunOptions::default()
    };
    generator
        .test_run(options)
        .context("failed to send live frames (Linux 5.18 and later can)")?;
    Ok(())
}

/// `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
pub(crate) fn xdp_context(len: u32, ifindex: u32) -> Vec<u8> {
    [0, len, 0, ifindex, 0, 0]
        .iter()
        .flat_map(|field: &u32| field.to_ne_bytes())
        .collect()
}

const FRAME_BYTES: usize = 60;
