//! A stop in order fits into the time that a pod is given.

use super::*;
use crate::settings::args::{Cli, Command};
use clap::Parser;

/// What a pod that is deleted is given (spec.terminationGracePeriodSeconds).
fn granted() -> Duration {
    let manifest = include_str!("../../../deploy/manifests/5-speaker.yaml");
    let mut lines = manifest.lines().map(str::trim);
    let seconds = lines.find_map(|line| line.strip_prefix("terminationGracePeriodSeconds: "));
    Duration::from_secs(seconds.unwrap().parse().unwrap())
}

/// How long the flows of a VIP may go on, unless it is said otherwise.
fn window() -> Span {
    let cli = Cli::parse_from(["speaker", "run", "--node-name", "n1"]);
    let Command::Run(args) = cli.command else {
        panic!("it is `run`");
    };
    Span::s(args.drain_window)
}

#[test]
fn a_pod_has_the_time_to_drain() {
    let spans = [ASK_MAX, window(), DRAIN_SLACK].map(Duration::from);
    let calls = [CALL_MAX, CALL_MAX, LEAVE_TOLD, PROMISED_OR_CLEANED];
    let needed: Duration = spans.into_iter().chain(calls).sum();
    assert!(needed <= granted(), "{needed:?} of {:?}", granted());
}

#[test]
fn ending_bgp_and_then_bfd_takes_no_longer_than_giving_vips_away() {
    let given: Duration = [window(), DRAIN_SLACK].map(Duration::from).iter().sum();
    let ended = super::super::bgp::STOP_MAX + Duration::from(crate::drive::bfd::LEAVE_MAX);
    assert!(ended <= given, "{ended:?} of {given:?}");
}

/// What comes after everything was given away.
const PROMISED_OR_CLEANED: Duration = Duration::from_secs(2);
