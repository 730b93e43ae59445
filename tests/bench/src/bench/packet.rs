//! Nanoseconds per packet by test run, against a program that does nothing.
//!
//! A test run hands the same packet to the program again and again, as the program left it. Frames that are answered in
//! place therefore go through a wrapper that restores them and goes on by tail call; what wrapper and call cost is
//! measured with the empty program at their end, and taken off. Every verdict is checked before its case is measured.

use super::Setting;
use crate::figure::{Aim, Figure, median};
use crate::frame::{self, VIP6};
use crate::net::{NODE_LINK, Pair, VIP};
use crate::object::{Kit, Subject};
use crate::raw;
use crate::sheet::Sheet;
use anyhow::{Context, Result, ensure};
use aya::programs::{ProgramError, TestRun, TestRunOptions, TestRunResult};
use speaker_ebpf::abi::steer::OWN_NODE;
use speaker_ebpf::abi::{Addr, Bucket, Entry, Mode, SteerValue};
use std::net::{IpAddr, Ipv4Addr};

/// The name of this bench.
pub(crate) const NAME: &str = "packet";

/// Measures.
pub(crate) fn run(setting: &Setting, sheet: &mut Sheet<'_>) -> Result<()> {
    let pair = Pair::create()?;
    let mut kit = Kit::load(&setting.kit)?;
    kit.fill()?;
    pair.node.run(|| {
        let ifindex = raw::ifindex(NODE_LINK)?;
        let mut subject = subject(setting, ifindex)?;
        let tc = Hook {
            name: "TC",
            context: skb(ifindex),
            next: NEXT,
            drop: SHOT,
            reply: REDIRECT,
        };
        let xdp = Hook {
            name: "XDP",
            context: Vec::new(),
            next: PASS,
            drop: DROP,
            reply: TX,
        };
        sheet.extend(tc.measure(&mut kit, &mut subject)?)?;
        sheet.extend(xdp.measure(&mut kit, &mut subject)?)?;
        sheet.extend(checks(&tc, &mut subject)?)?;
        sheet.extend(helpers(&tc, &mut kit)?)
    })
}

/// One VIP of each family in every state, on the link and on the loopback one where XDP test runs come in.
fn subject(setting: &Setting, ifindex: u32) -> Result<Subject> {
    // A bucket that refills faster than any test run empties it: its cost is part of an answer.
    let mut subject = Subject::load(&setting.object, 1)?;
    for ifindex in [ifindex, LOOPBACK] {
        let slots = ifindex * 8;
        let entry = |mode, slot| Entry::new(mode, 1, slots + slot);
        subject.link(ifindex)?;
        subject.put(v4(VIP), ifindex, entry(Mode::Answer, 0))?;
        subject.put(
            Addr::from(IpAddr::V6(VIP6)),
            ifindex,
            entry(Mode::Answer, 1),
        )?;
        subject.put(v4(KNOWN), ifindex, entry(Mode::Known, 2))?;
        subject.put(v4(LAPSED), ifindex, entry(Mode::Answer, 3).until(1))?;
        subject.put(v4(FENCED), ifindex, entry(Mode::Answer, 4))?;
        subject.fence(slots + 4, true)?;
        subject.mark(v4(MARKED))?;
        spread(&mut subject, ifindex, slots + 5)?;
    }
    Ok(subject)
}

/// Two VIPs that are spread, and one whose share is this node's.
fn spread(subject: &mut Subject, ifindex: u32, slot: u32) -> Result<()> {
    let cases = [
        (ONE, NODE, NODE),
        (TWO, NODE, OTHER),
        (HERE, OWN_NODE, OWN_NODE),
    ];
    for (at, (vip, current, previous)) in (0..).zip(cases) {
        let row = at as u16 + 1;
        let entry = Entry::new(Mode::Answer, 1, slot + at).steered(row);
        subject.put(v4(vip), ifindex, entry)?;
        subject.table(at, Bucket { current, previous })?;
        // The window never ends: what is remembered is looked up, and what is not is remembered.
        subject.spread(row, SteerValue::new(at, u64::MAX))?;
    }
    for node in [NODE, OTHER] {
        subject.target(ifindex, node, [2, 0, 0, 0, 1, node as u8])?;
    }
    Ok(())
}

const NODE: u16 = 1;
const OTHER: u16 = 2;

/// What a packet of a VIP that is spread may cost against an empty program.
const SPREAD: f64 = 5.0;
const LOOPBACK: u32 = 1;
const KNOWN: Ipv4Addr = Ipv4Addr::new(10, 85, 2, 1);
const LAPSED: Ipv4Addr = Ipv4Addr::new(10, 85, 2, 2);
const FENCED: Ipv4Addr = Ipv4Addr::new(10, 85, 2, 3);
/// Its bit is set in the filter, but it is not in the table.
const MARKED: Ipv4Addr = Ipv4Addr::new(10, 85, 2, 4);
/// Spread by a table whose slots name one node.
const ONE: Ipv4Addr = Ipv4Addr::new(10, 85, 3, 1);
/// Spread by a table whose slots name two.
const TWO: Ipv4Addr = Ipv4Addr::new(10, 85, 3, 2);
/// Spread by a table whose slots name this node.
const HERE: Ipv4Addr = Ipv4Addr::new(10, 85, 3, 3);
/// In no table and not in the filter.
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 85, 2, 5);

fn v4(address: Ipv4Addr) -> Addr {
    Addr::from(IpAddr::V4(address))
}

const NEXT: u32 = u32::MAX;
const SHOT: u32 = 2;
const REDIRECT: u32 = 7;
const DROP: u32 = 1;
const PASS: u32 = 2;
const TX: u32 = 3;

/// A hook's name, the context of its test runs and its verdicts.
struct Hook {
    name: &'static str,
    context: Vec<u8>,
    next: u32,
    drop: u32,
    reply: u32,
}

/// `struct __sk_buff` up to `ifindex`, its eleventh word.
fn skb(ifindex: u32) -> Vec<u8> {
    let words = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ifindex, 0];
    words
        .iter()
        .flat_map(|word: &u32| word.to_ne_bytes())
        .collect()
}

impl Hook {
    /// The cases that have an aim.
    fn measure(&self, kit: &mut Kit, subject: &mut Subject) -> Result<Vec<Figure>> {
        let is_tc = self.name == "TC";
        let (arp, ns) = (frame::arp_request(), frame::solicitation());
        let empty = match is_tc {
            true => self.time(kit.tc("bench_tc_empty")?, &arp, self.next)?,
            false => self.time(kit.xdp("bench_xdp_empty")?, &arp, self.next)?,
        };
        let against = format!("{}, empty program", self.name);
        let figure = |case: &str, ns: f64, aim: f64| {
            Figure::new(NAME, format!("{}, {case}", self.name), ns, "ns")
                .against(against.clone(), ns / empty)
                .aim(Aim::AtMost(aim))
        };
        let mut figures = vec![Figure::new(NAME, against.clone(), empty, "ns")];
        let plain = [
            ("IPv4 to another address", frame::tcp4(STRANGER), 1.3),
            (
                "IPv6 to another address",
                frame::tcp6("fd85::5".parse()?),
                1.3,
            ),
            ("IPv4 to a VIP", frame::tcp4(VIP), 3.0),
            ("IPv6 to a VIP", frame::tcp6(VIP6), 3.0),
            ("spread: this node's share", frame::segment4(HERE), SPREAD),
        ];
        for (case, frame, aim) in plain {
            let ns = match is_tc {
                true => self.time(subject.tc()?, &frame, self.next)?,
                false => self.time(subject.xdp()?, &frame, self.next)?,
            };
            figures.push(figure(case, ns, aim));
        }
        for (case, frame, wrapper, aim) in [
            ("ARP answered", arp, "arp", 7.0),
            ("NS answered", ns, "ns", 8.0),
            (
                "spread: TCP by its slot",
                frame::segment4(ONE),
                "ip",
                SPREAD,
            ),
            (
                "spread: TCP as remembered",
                frame::segment4(TWO),
                "ip",
                SPREAD,
            ),
            ("spread: UDP as remembered", frame::udp4(ONE), "ip", SPREAD),
        ] {
            let restored = self.restored(kit, subject, wrapper, &frame)?;
            figures.push(figure(case, restored + empty, aim));
        }
        Ok(figures)
    }

    /// What answering `frame` costs beyond an empty program.
    fn restored(
        &self,
        kit: &mut Kit,
        subject: &mut Subject,
        wrapper: &str,
        frame: &[u8],
    ) -> Result<f64> {
        kit.order(frame, 1, false)?;
        let time = |kit: &mut Kit, verdict| match self.name {
            "TC" => self.time(kit.tc(&format!("bench_tc_{wrapper}"))?, frame, verdict),
            _ => self.time(kit.xdp(&format!("bench_xdp_{wrapper}"))?, frame, verdict),
        };
        kit.wrap_empty()?;
        let nothing = time(kit, self.next)?;
        kit.wrap_tc(subject.tc()?)?;
        kit.wrap_xdp(subject.xdp()?)?;
        Ok(time(kit, self.reply)? - nothing)
    }

    /// Median nanoseconds of `program` on `frame`, which must end in `verdict`.
    fn time<P>(&self, program: &P, frame: &[u8], verdict: u32) -> Result<f64>
    where
        P: for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = TestRunResult>,
    {
        let test = |repeat| -> Result<TestRunResult, ProgramError> {
            program.test_run(TestRunOptions {
                data_in: Some(frame),
                ctx_in: (!self.context.is_empty()).then_some(self.context.as_slice()),
                repeat,
                ..TestRunOptions::default()
            })
        };
        let once = test(1).context("failed to test-run")?.return_value;
        ensure!(
            once == verdict,
            "{}: verdict {once} instead of {verdict}",
            self.name
        );
        test(REPEAT)?;
        let runs = (0..ROUNDS).map(|_| Ok(test(REPEAT)?.duration.as_nanos() as f64));
        Ok(median(runs.collect::<Result<_>>()?))
    }
}

const REPEAT: u32 = 500_000;
const ROUNDS: usize = 9;

/// What an ARP request costs by how far it gets.
fn checks(hook: &Hook, subject: &mut Subject) -> Result<Vec<Figure>> {
    let mut malformed = frame::arp_request();
    malformed[18] = 8;
    // RFC 5227: a probe has no sender address, so nobody is remembered.
    let mut probe = frame::arp_request_for(KNOWN);
    probe[28..32].fill(0);
    let request = frame::arp_request_for;
    let cases = [
        ("ARP, malformed", malformed, hook.next),
        ("ARP, not in the filter", request(STRANGER), hook.next),
        (
            "ARP, in the filter, not in the table",
            request(MARKED),
            hook.next,
        ),
        ("ARP, another node's: dropped", request(KNOWN), hook.drop),
        ("ARP probe, another node's: dropped", probe, hook.drop),
        (
            "ARP, past the deadline: dropped",
            request(LAPSED),
            hook.drop,
        ),
        ("ARP, fenced: dropped", request(FENCED), hook.drop),
    ];
    let measure = |(case, frame, verdict): (&str, Vec<u8>, u32)| {
        let ns = hook
            .time(subject.tc()?, &frame, verdict)
            .with_context(|| case.to_owned())?;
        Ok(Figure::new(NAME, format!("TC, {case}"), ns, "ns"))
    };
    cases.into_iter().map(measure).collect()
}

/// What single helpers cost, on this machine, with the empty program's time in them.
fn helpers(hook: &Hook, kit: &mut Kit) -> Result<Vec<Figure>> {
    let cases = [
        ("boot clock alone", "bench_tc_clock"),
        ("hash lookup alone", "bench_tc_hash"),
        ("LRU update alone", "bench_tc_lru"),
        ("per-CPU count alone", "bench_tc_count"),
    ];
    let frame = frame::arp_request();
    let measure = |(case, program)| {
        let ns = hook.time(kit.tc(program)?, &frame, hook.next)?;
        Ok(Figure::new(NAME, case, ns, "ns"))
    };
    cases.into_iter().map(measure).collect()
}
