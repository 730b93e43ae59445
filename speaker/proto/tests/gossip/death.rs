//! Who is found dead, when, and who is not (L2.1, L3.1 b).

use crate::cluster::{Cluster, Net, Verdict};
use speaker_proto::gossip::Input;
use speaker_proto::member::{HeldEntry, HeldSet, HeldState, Standing};
use speaker_proto::{Epoch, GroupKey, Span};

fn of(cluster: &Cluster, node: usize) -> Vec<Verdict> {
    let verdicts = cluster.verdicts.iter();
    verdicts.filter(|v| v.of == node).copied().collect()
}

fn wrong(cluster: &Cluster) -> Vec<Verdict> {
    let verdicts = cluster.verdicts.iter();
    verdicts.filter(|v| !v.is_true).copied().collect()
}

#[test]
fn l2_1_a_dead_node_is_found_dead_within_its_bounds() {
    for count in [3, 10] {
        let mut spans = Vec::new();
        for seed in 0..20 {
            let mut cluster = Cluster::settled(seed, Net::lan(0.01), count);
            let after = Span::from_ns(cluster.random() % 50_000_000);
            cluster.run(after);
            cluster.kill(0);
            let died = cluster.now;
            cluster.run(Span::ms(900));
            let seen = of(&cluster, 0);
            assert_eq!(seen.len(), count - 1, "everybody knows");
            spans.extend(seen.iter().map(|verdict| verdict.at.since(died)));
        }
        spans.sort();
        let p99 = spans[spans.len() * 99 / 100];
        assert!(spans[0] >= Span::ms(550), "{:?}", spans[0]);
        assert!(p99 <= Span::ms(700), "{p99:?}");
    }
}

#[test]
fn l2_1_lost_datagrams_make_nobody_dead() {
    for (count, minutes) in [(2, 5), (3, 5), (10, 1)] {
        let mut net = Net::lan(0.05);
        net.twice = 0.02;
        let mut cluster = Cluster::settled(7, net, count);
        cluster.run(Span::s(60 * minutes));
        assert!(cluster.verdicts.is_empty(), "{:?}", cluster.verdicts);
        assert!(cluster.is_whole());
    }
}

#[test]
fn l3_1b_a_kernel_is_never_taken_for_silent_too_early() {
    for seed in 0..20 {
        // Without loss, but late, doubled and out of order.
        let net = Net {
            delay: Span::ms(1),
            jitter: Span::ms(8),
            loss: 0.0,
            twice: 0.1,
        };
        let mut cluster = Cluster::settled(seed, net, 4);
        let after = Span::from_ns(cluster.random() % 50_000_000);
        cluster.run(after);
        cluster.kill(1);
        cluster.run(Span::s(3));
        let seen = of(&cluster, 1);
        assert_eq!(seen.len(), 3);
        for verdict in seen {
            let bound = verdict.last_beat + Span::ms(500) + Span::ms(100);
            assert!(verdict.silent_at >= bound, "{seed}: {verdict:?}");
        }
    }
}

#[test]
fn l3_1b_lost_last_heartbeats_are_covered_by_the_margin() {
    for seed in 0..20 {
        let mut cluster = Cluster::settled(seed, Net::lan(0.05), 3);
        let after = Span::from_ns(cluster.random() % 50_000_000);
        cluster.run(after);
        cluster.kill(1);
        cluster.run(Span::s(3));
        for verdict in of(&cluster, 1) {
            assert!(verdict.silent_at >= verdict.last_beat + Span::ms(500));
        }
    }
}

#[test]
fn l2_1_a_starved_agent_accuses_nobody() {
    let mut cluster = Cluster::settled(3, Net::lan(0.01), 5);
    for ms in [300, 900, 2_500, 10_000] {
        cluster.pause(2, Span::ms(ms));
        cluster.run(Span::ms(ms + 3_000));
        let votes = |at: usize| cluster.nodes[at].gossip.as_ref().map(|g| g.counts().votes);
        assert_eq!(votes(2), Some(0), "after {ms} ms");
        assert!(wrong(&cluster).is_empty(), "{:?}", wrong(&cluster));
        assert!(cluster.is_whole(), "it is back after {ms} ms");
    }
    assert!(!of(&cluster, 2).is_empty(), "who stood still was dead");
}

#[test]
fn l2_1_who_comes_back_is_alive_to_all_at_once() {
    let mut cluster = Cluster::settled(4, Net::lan(0.0), 20);
    cluster.pause(7, Span::s(3));
    cluster.run(Span::ms(2_999));
    assert_eq!(of(&cluster, 7).len(), 19);
    let took = cluster.run_until(Span::ms(200), "it is back", Cluster::is_whole);
    assert!(took <= Span::ms(100), "{took:?}");
}

#[test]
fn l2_1_nodes_that_die_together_are_found_by_those_who_are_left() {
    for (count, dead, within) in [(3, 2, 700), (10, 5, 1_600), (10, 9, 2_200), (30, 29, 3_000)] {
        let mut cluster = Cluster::settled(5, Net::lan(0.01), count);
        (0..dead).for_each(|at| cluster.kill(at));
        let took = cluster.run_until(Span::ms(within), "all dead are known", |cluster| {
            (dead..count).all(|by| {
                (0..dead).all(|of| matches!(cluster.standing(by, of), Some(Standing::Dead { .. })))
            })
        });
        println!("{dead} of {count}: {took:?}");
        assert!(wrong(&cluster).is_empty());
    }
}

#[test]
fn l2_1_one_deaf_observer_makes_nobody_dead() {
    let mut cluster = Cluster::settled(6, Net::lan(0.01), 5);
    cluster.cuts.insert((0, 1));
    cluster.run(Span::s(30));
    let votes = cluster.nodes[1].gossip.as_ref().map(|g| g.counts().votes);
    assert!(votes > Some(0), "it did miss it");
    let others = cluster.verdicts.iter().filter(|v| v.by != 1);
    assert_eq!(others.count(), 0, "{:?}", cluster.verdicts);
}

#[test]
fn l5_5_both_sides_of_a_partition_go_on_and_find_each_other_again() {
    let mut cluster = Cluster::settled(7, Net::lan(0.01), 7);
    cluster.part(&[0, 1, 2], &[3, 4, 5, 6]);
    cluster.run(Span::s(3));
    let sides = |at: usize| at < 3;
    for by in 0..7 {
        for of in (0..7).filter(|of| *of != by) {
            let is_alive = cluster.standing(by, of) == Some(Standing::Alive);
            assert_eq!(is_alive, sides(by) == sides(of), "{by} of {of}");
        }
    }
    cluster.cuts.clear();
    cluster.run_until(Span::s(3), "they are one again", Cluster::is_whole);
}

#[test]
fn a_network_that_loses_everything_for_a_while_heals() {
    for (count, span) in [(2, 3), (10, 3), (30, 10)] {
        let mut cluster = Cluster::settled(8, Net::lan(0.0), count);
        cluster.net.loss = 1.0;
        cluster.run(Span::s(span));
        assert_eq!(cluster.verdicts.len(), count * (count - 1));
        cluster.net.loss = 0.01;
        let took = cluster.run_until(Span::s(8), "all are one again", Cluster::is_whole);
        println!("{count}: {took:?}");
        let before = cluster.verdicts.len();
        cluster.run(Span::s(10));
        assert_eq!(cluster.verdicts.len(), before, "and stay so");
    }
}

#[test]
fn who_takes_leave_is_gone_at_once_and_stays_gone() {
    let mut cluster = Cluster::settled(9, Net::lan(0.05), 6);
    cluster.input(3, Input::Leave);
    cluster.run(Span::ms(200));
    cluster.kill(3);
    for by in (0..6).filter(|by| *by != 3) {
        assert_eq!(cluster.standing(by, 3), Some(Standing::Left));
    }
    cluster.run(Span::s(5));
    assert!(cluster.verdicts.is_empty(), "{:?}", cluster.verdicts);
    cluster.start(3);
    cluster.run_until(Span::s(2), "it is back", Cluster::is_whole);
}

#[test]
fn l6_3_a_promise_that_all_observers_noted_holds_them_back() {
    let mut cluster = Cluster::settled(10, Net::lan(0.05), 8);
    cluster.input(0, Input::Promise(Span::s(10)));
    cluster.run(Span::ms(200));
    assert_eq!(cluster.nodes[0].promised, Some(true));
    let promised = cluster.now;
    cluster.kill(0);
    cluster.run(Span::ms(9_900));
    assert!(cluster.verdicts.is_empty(), "{:?}", cluster.verdicts);
    cluster.run(Span::s(1));
    let seen = of(&cluster, 0);
    assert_eq!(seen.len(), 7, "it never came back");
    for verdict in seen {
        assert!(verdict.silent_at >= promised + Span::ms(9_900) + Span::ms(100));
    }
}

#[test]
fn l6_3_a_promise_that_an_observer_did_not_note_is_none() {
    let mut cluster = Cluster::settled(11, Net::lan(0.0), 3);
    cluster.cuts.insert((0, 2));
    cluster.input(0, Input::Promise(Span::s(10)));
    cluster.run(Span::ms(210));
    assert_eq!(cluster.nodes[0].promised, Some(false));
    cluster.cuts.clear();
    cluster.run(Span::ms(100));
    cluster.kill(0);
    cluster.run(Span::ms(700));
    assert_eq!(of(&cluster, 0).len(), 2, "the ordinary deadline stands");
}

#[test]
fn l6_3_who_noted_a_promise_that_failed_does_not_wait_for_its_end() {
    let mut cluster = Cluster::settled(13, Net::lan(0.0), 3);
    cluster.cuts.insert((0, 2));
    cluster.input(0, Input::Promise(Span::s(10)));
    while cluster.nodes[0].promised.is_none() {
        cluster.run(Span::ms(1));
    }
    cluster.kill(0);
    cluster.cuts.clear();
    cluster.run(Span::ms(900));
    assert_eq!(of(&cluster, 0).len(), 2, "the process ended at once");
}

#[test]
fn l6_3_a_successor_within_the_promise_is_alive_all_the_time() {
    let mut cluster = Cluster::settled(12, Net::lan(0.01), 4);
    cluster.input(0, Input::Promise(Span::s(10)));
    cluster.run(Span::ms(200));
    cluster.kill(0);
    cluster.run(Span::s(4));
    cluster.start(0);
    cluster.run(Span::s(2));
    assert!(cluster.verdicts.is_empty() && cluster.is_whole());
    cluster.kill(0);
    let died = cluster.now;
    cluster.run(Span::ms(900));
    let late = of(&cluster, 0).iter().map(|v| v.at.since(died)).max();
    assert!(
        late <= Some(Span::ms(700)),
        "the promise ended with the process: {late:?}"
    );
    assert!(
        of(&cluster, 0)
            .iter()
            .all(|v| v.silent_at < died + Span::s(1))
    );
}

/// Node 0 of six stopped with a promise that all noted, and is not heard any more.
fn in_grace(seed: u64) -> Cluster {
    stopped(Cluster::settled(seed, Net::lan(0.0), 6))
}

fn stopped(mut cluster: Cluster) -> Cluster {
    cluster.input(0, Input::Promise(Span::s(10)));
    cluster.run(Span::ms(200));
    assert_eq!(cluster.nodes[0].promised, Some(true));
    cluster.kill(0);
    cluster.run(Span::ms(300));
    let id = cluster.nodes[0].id;
    for node in &cluster.nodes[1..] {
        assert!(
            node.roster.members[&id].is_in_grace,
            "all others observe it"
        );
    }
    cluster
}

#[test]
fn l6_3_two_whose_kernel_probes_are_not_answered_void_a_promise_for_all() {
    let mut cluster = in_grace(20);
    let id = cluster.nodes[0].id;
    cluster.input(1, Input::Kernel(id, true));
    cluster.input(3, Input::Kernel(id, true));
    let voided = cluster.now;
    cluster.run(Span::ms(500));
    let seen = of(&cluster, 0);
    assert_eq!(seen.len(), 5, "{seen:?}");
    for verdict in seen {
        // Its last heartbeat is some 300 ms old, and counts as any other's.
        assert!(verdict.silent_at < voided + Span::ms(600), "{verdict:?}");
        assert!(verdict.silent_at >= verdict.last_beat + Span::ms(600));
    }
    assert!(wrong(&cluster).is_empty());
}

/// What a node says that holds one group.
fn holding(epoch: u64) -> HeldSet {
    let entry = HeldEntry {
        epoch: Epoch(epoch),
        state: HeldState::Holding,
    };
    HeldSet::from([(GroupKey([203, 0, 113, 1].into()), entry)])
}

/// Node 0 of six held a group and is in its grace, and two say that its kernel does not answer.
fn void(seed: u64) -> Cluster {
    let mut cluster = Cluster::settled(seed, Net::lan(0.0), 6);
    cluster.publish(0, 1, holding(1));
    cluster.run(Span::ms(100));
    let mut cluster = stopped(cluster);
    let id = cluster.nodes[0].id;
    cluster.input(1, Input::Kernel(id, true));
    cluster.input(3, Input::Kernel(id, true));
    cluster.run(Span::ms(500));
    assert_eq!(of(&cluster, 0).len(), 5);
    cluster
}

#[test]
fn l6_3_who_stands_in_for_a_void_promise_promises_nothing_while_that_may_last() {
    let mut cluster = void(26);
    cluster.publish(1, 1, holding(2));
    for (node, is_kept) in [(1, false), (2, true)] {
        cluster.input(node, Input::Promise(Span::ms(600)));
        cluster.run(Span::ms(200));
        assert_eq!(cluster.nodes[node].promised, Some(is_kept), "{node}");
    }
    cluster.run(Span::s(10));
    cluster.input(1, Input::Promise(Span::s(10)));
    cluster.run(Span::ms(200));
    assert_eq!(
        cluster.nodes[1].promised,
        Some(true),
        "that kernel is silent"
    );
}

#[test]
fn l6_3_what_is_taken_from_a_void_promise_while_observers_are_asked_counts_too() {
    let mut cluster = void(27);
    cluster.input(1, Input::Promise(Span::s(10)));
    cluster.publish(1, 1, holding(2));
    cluster.run(Span::ms(210));
    assert_eq!(cluster.nodes[1].promised, Some(false));
    cluster.kill(1);
    cluster.run(Span::ms(900));
    assert_eq!(of(&cluster, 1).len(), 4, "the ordinary deadline stands");
}

#[test]
fn l6_3_one_alone_voids_no_promise() {
    let mut cluster = in_grace(21);
    let id = cluster.nodes[0].id;
    cluster.input(1, Input::Kernel(id, true));
    cluster.run(Span::s(8));
    assert!(cluster.verdicts.is_empty(), "{:?}", cluster.verdicts);
}

#[test]
fn l6_3_a_kernel_that_answers_after_all_keeps_its_promise() {
    let mut cluster = in_grace(22);
    let id = cluster.nodes[0].id;
    cluster.input(1, Input::Kernel(id, true));
    cluster.run(Span::ms(300));
    cluster.input(1, Input::Kernel(id, false));
    cluster.run(Span::ms(300));
    cluster.input(3, Input::Kernel(id, true));
    cluster.run(Span::s(7));
    assert!(cluster.verdicts.is_empty(), "{:?}", cluster.verdicts);
}

#[test]
fn l6_3_who_is_back_is_alive_whatever_was_said_of_its_kernel() {
    let mut cluster = in_grace(23);
    let id = cluster.nodes[0].id;
    cluster.input(1, Input::Kernel(id, true));
    cluster.run(Span::ms(100));
    cluster.start(0);
    cluster.run(Span::ms(300));
    cluster.input(3, Input::Kernel(id, true));
    cluster.run(Span::s(3));
    assert!(cluster.verdicts.is_empty(), "{:?}", cluster.verdicts);
    assert!(cluster.is_whole());
}

#[test]
fn l6_3_of_who_promised_nothing_no_kernel_is_asked() {
    let mut cluster = Cluster::settled(24, Net::lan(0.0), 4);
    let id = cluster.nodes[0].id;
    cluster.kill(0);
    for _ in 0..10 {
        cluster.run(Span::ms(50));
        for node in &cluster.nodes[1..] {
            assert!(!node.roster.members[&id].is_in_grace);
        }
    }
    cluster.input(1, Input::Kernel(id, true));
    cluster.input(2, Input::Kernel(id, true));
    assert!(
        cluster.verdicts.is_empty(),
        "its heartbeat's promise stands"
    );
}
