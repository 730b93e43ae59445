//! The table of frames through the loaded programs, byte for byte and counter for counter as the model has it.
//!
//! A test run gives the frame a device: the node's end of a wire, with an XDP program on it, without which it has no receive
//! queue to speak of.

use crate::net::Wire;
use crate::program::{Program, boot_ns, clear};
use aya::programs::xdp::XdpMode;
use model_tests::frames::{Case, Hook, LINK, MEMORIES, NOW, OWN, SLOT4, SLOT6, cases};
use speaker_ebpf::abi::{Opted, Steered, Tunnelled};
use speaker_ebpf::logic::Verdict;
use speaker_ebpf::model::{Limit, Tables};
use std::collections::BTreeSet;

#[test]
fn every_case_holds_at_tc() {
    each_case(Hook::Tc);
}

#[test]
fn every_case_holds_at_xdp() {
    each_case(Hook::Xdp);
}

#[test]
fn a_frame_cut_anywhere_gets_what_the_model_gives_it() {
    // Many a packet is spread by more than one table: once each is enough here.
    let mut spread = BTreeSet::new();
    let frames: Vec<_> = cases()
        .into_iter()
        .filter(|case| {
            let is_sent = matches!(case.verdict, Verdict::Reply | Verdict::Forward);
            let is_new = case.steered.is_none() || spread.insert(case.frame.clone());
            is_sent && is_new && case.frame.len() <= 128
        })
        .collect();
    with_program(|program| {
        for whole in &frames {
            // Neither hook ever sees less than a header and a byte.
            for length in 15..=whole.frame.len() {
                let mut case = whole.clone();
                case.frame.truncate(length);
                for hook in hooks(&case) {
                    same_as_model(program, &case, hook);
                }
            }
        }
    });
}

fn each_case(hook: Hook) {
    with_program(|program| {
        for case in cases() {
            if is_before_boot(&case) {
                println!(
                    "left out on a machine that was up for too short: {}",
                    case.name
                );
            } else if hooks(&case).contains(&hook) {
                let (verdict, bytes, after) = same_as_model(program, &case, hook);
                case.check(hook, verdict, &bytes, &after);
            }
        }
    });
}

/// Whether a deadline of the case would lie before this machine was started. Emulated ones have been up for seconds.
fn is_before_boot(case: &Case) -> bool {
    let deadline = case.tables.node_deadline_ns;
    deadline != 0 && NOW.saturating_sub(deadline) > boot_ns()
}

/// The hooks that a case can be run at: a test run of TC takes no packet that ends within its IP header.
fn hooks(case: &Case) -> Vec<Hook> {
    let shortest = match case.frame[12..14] {
        [0x08, 0x00] => 34,
        [0x86, 0xdd] => 54,
        _ => 15,
    };
    let mut hooks = vec![Hook::Tc, Hook::Xdp];
    hooks.retain(|hook| case.only.is_none_or(|only| only == *hook));
    hooks.retain(|hook| *hook == Hook::Xdp || case.frame.len() >= shortest);
    hooks
}

/// Plays a case in the kernel and asserts that the model does the same; what the kernel made of it.
fn same_as_model(program: &mut Program, case: &Case, hook: Hook) -> (Verdict, Vec<u8>, Tables) {
    clear(program, &case.tables, &SLOTS);
    program.write(&case.tables, boot_ns().wrapping_sub(NOW));
    let (verdict, bytes) = match hook {
        Hook::Tc => program.run_tc(LINK, &case.frame),
        Hook::Xdp => program.run_xdp(LINK, &case.frame),
    };
    let after = program.read(&SLOTS);
    let (expected, expected_bytes, model) = case.play(hook);
    let name = format!("{} ({hook:?}, {} bytes)", case.name, case.frame.len());
    assert_eq!(verdict, expected, "{name}: verdict");
    assert_eq!(bytes, expected_bytes, "{name}: bytes");
    for (global, count) in &after.globals {
        assert_eq!(*count, model.global(*global), "{name}: {global:?}");
    }
    for (passage, count) in &after.passages {
        assert_eq!(*count, model.passage(*passage), "{name}: {passage:?}");
    }
    let flows = |tables: &Tables| -> Vec<_> {
        let flows = tables.flows.iter();
        flows.map(|(key, value)| (*key, value.mac)).collect()
    };
    assert_eq!(flows(&after), flows(&model), "{name}: flows");
    same_spread(&name, &after, &model);
    for opted in Opted::ALL {
        assert_eq!(
            after.by_option(opted),
            model.by_option(opted),
            "{name}: {opted:?}"
        );
    }
    let claims = |tables: &Tables| -> Vec<_> {
        tables
            .claims
            .iter()
            .map(|claim| {
                (
                    claim.kind,
                    claim.slot,
                    claim.vip,
                    claim.mac,
                    claim.fence_gen,
                )
            })
            .collect()
    };
    assert_eq!(claims(&after), claims(&model), "{name}: claims");
    (verdict, bytes, after)
}

/// Compares what belongs to VIPs that are spread. Clocks differ, so what is remembered is compared without its times.
fn same_spread(name: &str, after: &Tables, model: &Tables) {
    for what in Tunnelled::ALL {
        assert_eq!(after.passing(what), model.passing(what), "{name}: {what:?}");
    }
    for steered in Steered::ALL {
        assert_eq!(
            after.way(steered),
            model.way(steered),
            "{name}: {steered:?}"
        );
    }
    assert_eq!(after.shares, model.shares, "{name}: shares");
    for memory in MEMORIES {
        let nodes = |tables: &Tables| -> Vec<_> {
            let streams = tables.memory(memory).iter();
            streams.map(|(key, value)| (*key, value.node)).collect()
        };
        assert_eq!(nodes(after), nodes(model), "{name}: {memory:?}");
    }
}

fn with_program(work: impl FnOnce(&mut Program) + Send) {
    let wire = Wire::new(LINK, OWN);
    wire.node.enter(|| {
        let mut program = Program::load(Limit::default());
        program.xdp().attach("eth0", XdpMode::Driver).unwrap();
        work(&mut program);
    });
}

const SLOTS: [u32; 2] = [SLOT4, SLOT6];
