//! A thousand datagrams a second through FRR over sixteen flows, and how many are lost while routes of others come and go, and while the speaker
//! of the only node that announces the address restarts or crashes. What a drain, a killed speaker beside others and a dead node cost is
//! counted by the tour (`super::rack`).

use super::frr::{BFD_NEIGHBOUR, BFDD, announced_by_all, bgpd, next_hops};
use super::restarts::{back, leave};
use super::{POOL, bfd_settled, peer, service};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;
use system_tests::lab::{TestLab, tell};
use xtask::lab::proxy::Frontend;
use xtask::lab::router::frr::Frr;
use xtask::lab::traffic::{Tally, Traffic};

#[test]
fn services_that_come_and_go_cost_another_service_no_datagram() {
    let (lab, frr, echo) = up("", "", "");
    announced_by_all(&lab, &frr, echo.vip);
    let traffic = flowing(&lab, &echo);
    let ((), tally) = under_load(&traffic, || {
        for round in 0..ROUNDS {
            let name = format!("late-{round}");
            lab.edit(&format!("{name}.yaml"), "", &service(&name));
            let late = lab.frontends_of(&format!("default/{name}"))[0].vip;
            announced_by_all(&lab, &frr, late);
            fs::remove_file(lab.manifests().join(format!("{name}.yaml"))).unwrap();
            lab.eventually("nobody announces it", || {
                let hops = next_hops(&frr, late);
                if hops.is_empty() { Ok(()) } else { Err(hops) }
            });
        }
    });
    none_lost(&format!("{ROUNDS} services came and went"), &tally);
}

/// No other node could stand in: a route that goes for a moment costs datagrams.
#[test]
fn a_restart_and_a_crash_of_the_only_speaker_cost_no_datagram_at_a_router_that_keeps_routes() {
    let only = "  enableGracefulRestart: true\n  bfdProfile: fast\n  nodeSelectors:\n    - matchLabels: {kubernetes.io/hostname: n1}\n";
    let (mut lab, frr, echo) = up(only, BFD_NEIGHBOUR, BFDD);
    let vip = echo.vip;
    let ways = || next_hops(&frr, vip);
    lab.eventually("the only way is there", || match ways() {
        ways if ways.len() == 1 => Ok(()),
        ways => Err(ways),
    });
    let traffic = flowing(&lab, &echo);
    for (what, is_crash) in [("restarted", false), ("crashed", true)] {
        bfd_settled(&lab, "router", || ());
        let ((), tally) = under_load(&traffic, || {
            sleep(LEAD);
            leave(&mut lab, is_crash);
            sleep(AWAY);
            back(&mut lab, || assert_eq!(ways().len(), 1, "the way is gone"));
            sleep(LEAD);
        });
        none_lost(&format!("the only speaker {what}"), &tally);
    }
}

/// FRR with a session to each node over IPv4, and the echo service in the routed pool.
#[track_caller]
fn up(spec: &str, neighbour: &str, bfdd: &str) -> (TestLab, Frr, Frontend) {
    let mut lab = routed_echo(&peer("router", "192.0.2.1", spec));
    let config = bgpd(&lab, neighbour);
    let frr = Frr::start(&mut lab, &config, bfdd).unwrap();
    lab.start_speakers().unwrap();
    let echo = lab.frontends_of("default/echo-udp").remove(0);
    (lab, frr, echo)
}

/// The lab with a router's namespace, these peers, and the echo service in the routed pool.
#[track_caller]
pub(super) fn routed_echo(peers: &str) -> TestLab {
    let manifest = format!("{POOL}{peers}");
    let into_pool = "  annotations:\n    metallb.io/address-pool: routed\n";
    let of = |name: &str| format!("  name: {name}\n  namespace: default\n  annotations:\n");
    let within = |name: &str| of(name).replace("  annotations:\n", into_pool);
    let [tcp, udp] = ["echo-tcp", "echo-udp"].map(|name| (of(name), within(name)));
    TestLab::routed(&[
        ("bgp.yaml", "", &manifest),
        ("echo.yaml", &tcp.0, &tcp.1),
        ("echo.yaml", &udp.0, &udp.1),
    ])
}

/// Flows from behind the router, each of which has been answered. One that came to a node before its proxy knew the service stays what it was for
/// as long as it is used (nf_conntrack translates by a flow's first packet), so that each try takes new ones.
#[track_caller]
fn flowing(lab: &TestLab, echo: &Frontend) -> Traffic {
    lab.eventually("every flow is answered", || {
        let traffic = Traffic::open(lab.topology().asker(), echo.address());
        traffic.and_then(|traffic| traffic.by_node().map(|_| traffic))
    })
}

/// What goes on beside a test until it is told to stop stops when this is dropped, so also where the test fails.
pub(crate) struct Ends<'a>(pub(crate) &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does something while traffic runs, which also ends when that fails.
pub(super) fn under_load<T>(traffic: &Traffic, act: impl FnOnce() -> T) -> (T, Tally) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let running = scope.spawn(|| traffic.run(&stop));
        let ends = Ends(&stop);
        let done = act();
        drop(ends);
        (done, running.join().unwrap())
    })
}

#[track_caller]
fn none_lost(what: &str, tally: &Tally) {
    let lost = tally.lost.len();
    tell(&format!(
        "{what} under 1 kpps: {lost} lost of {}",
        tally.sent
    ));
    assert_eq!(lost, 0, "{what}: {tally:?}");
}

const ROUNDS: usize = 5;
/// Traffic before something happens and after it.
const LEAD: Duration = Duration::from_secs(1);
/// How long the speaker is away, beside what it takes to start one.
const AWAY: Duration = Duration::from_secs(1);
