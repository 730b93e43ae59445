//! What reaches whom: profiles, held sets, acknowledgements, messages (L2.2).

use crate::cluster::{Cluster, Net};
use speaker_proto::gossip::Input;
use speaker_proto::member::{HeldEntry, HeldSet, HeldState, HeldVersion, Roster};
use speaker_proto::{Epoch, GroupKey, Span, Time};
use std::net::Ipv4Addr;
use std::sync::Arc;

fn group(n: u32) -> GroupKey {
    GroupKey(Ipv4Addr::from(0xcb00_0000 + n).into())
}

fn entry(epoch: u64, state: HeldState) -> HeldEntry {
    HeldEntry {
        epoch: Epoch(epoch),
        state,
    }
}

fn holding(groups: u32, epoch: u64) -> HeldSet {
    let entry = entry(epoch, HeldState::Holding);
    (0..groups).map(|n| (group(n), entry)).collect()
}

fn held(cluster: &Cluster, by: usize, of: usize) -> Option<Arc<HeldSet>> {
    let roster = &cluster.nodes[by].roster;
    let member = roster.members.get(&cluster.nodes[of].id)?;
    Some(Arc::clone(&member.held))
}

fn acked(cluster: &Cluster, by: usize, of: usize) -> u64 {
    let roster = &cluster.nodes[of].roster;
    let member = roster.members.get(&cluster.nodes[by].id);
    member.map_or(0, |member| member.acked.0)
}

#[test]
fn nodes_that_start_together_find_each_other() {
    for count in [1, 2, 3, 10] {
        let cluster = Cluster::settled(1, Net::lan(0.01), count);
        assert!(cluster.is_whole(), "{count}");
        for node in &cluster.nodes {
            assert!(node.roster.is_settled, "{count}");
            let observers = node.gossip.as_ref().map(|g| g.observers());
            assert_eq!(observers, Some(5.min(count - 1)));
        }
        assert!(cluster.verdicts.is_empty(), "{:?}", cluster.verdicts);
    }
}

#[test]
fn one_seed_is_enough() {
    let mut cluster = Cluster::new(2, Net::lan(0.02));
    for at in 0..12 {
        cluster.add();
        let first = cluster.nodes[0].address;
        cluster.nodes[at].seeds.extend((at > 0).then_some(first));
        cluster.start(at);
        cluster.run(Span::ms(100));
    }
    cluster.run_until(Span::s(4), "all know all", Cluster::is_whole);
    cluster.run(Span::s(2));
    assert!(cluster.nodes.iter().all(|node| node.roster.is_settled));
    assert!(cluster.verdicts.is_empty());
}

#[test]
fn addresses_that_lead_nowhere_are_tried_and_left() {
    let mut cluster = Cluster::new(2, Net::lan(0.0));
    for at in 0..8 {
        cluster.add();
        let dead_end = std::net::SocketAddr::from((Ipv4Addr::new(192, 0, 2, at as u8), 7946));
        cluster.nodes[at].dead_ends = vec![dead_end; 2];
        let first = cluster.nodes[0].address;
        cluster.nodes[at].seeds.extend((at > 0).then_some(first));
        cluster.start(at);
    }
    cluster.run(Span::s(5));
    assert!(cluster.is_whole());
    let astray = |c: &Cluster| c.nodes.iter().map(|node| node.work.astray).sum::<u64>();
    let before = astray(&cluster);
    cluster.publish(3, 1, holding(5, 1));
    cluster.run(Span::s(10));
    assert!(
        (1..8)
            .filter(|by| *by != 3)
            .all(|by| acked(&cluster, by, 3) == 1)
    );
    assert_eq!(astray(&cluster), before);
}

#[test]
fn l3_1c_a_newcomer_is_settled_when_it_knows_what_all_hold() {
    let mut cluster = Cluster::settled(3, Net::lan(0.0), 5);
    cluster.publish(1, 1, holding(3_000, 1));
    cluster.run(Span::s(2));
    let new = cluster.add();
    cluster.nodes[new].seeds = cluster.nodes[..5].iter().map(|node| node.address).collect();
    cluster.start(new);
    let took = cluster.run_until(Span::s(1), "it is settled", |c| {
        c.nodes[new].roster.is_settled
    });
    assert!(took < Span::ms(500), "all answered: {took:?}");
    assert_eq!(held(&cluster, new, 1).as_deref(), Some(&holding(3_000, 1)));
}

/// What it says of itself may come later than what it holds.
#[test]
fn l3_1c_whose_profile_is_not_there_yet_is_waited_for() {
    for seed in 0..40 {
        let mut cluster = Cluster::settled(seed, Net::lan(0.0), 4);
        let new = cluster.add();
        cluster.nodes[new].seeds = cluster.nodes[..4].iter().map(|node| node.address).collect();
        cluster.net.loss = 0.3;
        cluster.start(new);
        cluster.run_until(Span::s(9), "it is settled", |c| {
            c.nodes[new].roster.is_settled
        });
        let known = cluster.nodes[new].roster.members.len();
        assert_eq!(known, 4, "seed {seed}");
    }
}

#[test]
fn l3_1c_silent_seeds_are_waited_for() {
    let mut cluster = Cluster::new(4, Net::lan(0.0));
    let (node, other) = (cluster.add(), cluster.add());
    let silent = cluster.nodes[other].address;
    cluster.nodes[node].seeds.insert(silent);
    cluster.start(node);
    cluster.run(Span::ms(1_490));
    assert!(!cluster.nodes[node].roster.is_settled);
    cluster.run(Span::ms(100));
    assert!(cluster.nodes[node].roster.is_settled);
    let silent = cluster.nodes[node]
        .gossip
        .as_ref()
        .map(|g| g.silent_seeds().count());
    assert_eq!(silent, Some(1));
}

#[test]
fn l2_2_a_change_is_known_to_all_at_once() {
    let mut cluster = Cluster::settled(5, Net::lan(0.0), 10);
    cluster.publish(0, 1, holding(3, 1));
    let took = cluster.run_until(Span::ms(100), "all have it and said so", |cluster| {
        (1..10).all(|by| {
            held(cluster, by, 0).as_deref() == Some(&holding(3, 1)) && acked(cluster, by, 0) == 1
        })
    });
    assert!(took <= Span::ms(15), "{took:?}");
}

#[test]
fn l2_2_a_change_reaches_all_through_loss() {
    let mut cluster = Cluster::settled(6, Net::lan(0.3), 10);
    for version in 1..20 {
        cluster.publish(0, version, holding(version as u32 * 2, version));
        cluster.run(Span::ms(13));
    }
    cluster.run_until(Span::s(3), "all have the last and said so", |cluster| {
        (1..10).all(|by| {
            held(cluster, by, 0).as_deref() == Some(&holding(38, 19)) && acked(cluster, by, 0) == 19
        })
    });
}

#[test]
fn l2_2_a_change_of_many_groups_moves_only_the_change() {
    let mut cluster = Cluster::settled(7, Net::lan(0.0), 3);
    cluster.publish(0, 1, holding(5_000, 1));
    cluster.run(Span::s(2));
    assert_eq!(acked(&cluster, 1, 0), 1);
    let before = cluster.nodes[0].work.bytes;
    let mut set = holding(5_000, 1);
    set.insert(group(17), entry(2, HeldState::Yielded(cluster.nodes[1].id)));
    set.remove(&group(18));
    cluster.publish(0, 2, set.clone());
    cluster.run(Span::ms(20));
    assert_eq!(held(&cluster, 1, 0).as_deref(), Some(&set));
    assert_eq!(acked(&cluster, 1, 0), 2);
    let moved = cluster.nodes[0].work.bytes - before;
    assert!(moved < 1_000, "{moved} bytes");
}

#[test]
fn l2_2_what_a_cut_path_does_not_bring_others_do() {
    let mut cluster = Cluster::settled(8, Net::lan(0.01), 4);
    cluster.part(&[0], &[1]);
    cluster.publish(0, 1, holding(200, 5));
    cluster.run_until(Span::s(12), "it has come by others", |cluster| {
        held(cluster, 1, 0).as_deref() == Some(&holding(200, 5))
    });
    assert_eq!(acked(&cluster, 1, 0), 0, "but nobody said so");
}

/// It was told nothing while it was dead to the others, and who took something then cannot tell it any more.
#[test]
fn l6_3_who_said_nothing_for_a_while_asks_others_what_it_missed() {
    for seed in 20..30 {
        let mut cluster = Cluster::settled(seed, Net::lan(0.0), 5);
        cluster.input(0, Input::Steered(false));
        cluster.run(Span::s(1));
        assert_eq!(cluster.verdicts.len(), 4, "all take it for dead");
        cluster.publish(1, 1, holding(3, 5));
        cluster.input(1, Input::Promise(Span::s(10)));
        cluster.run(Span::ms(20));
        assert_eq!(cluster.nodes[1].promised, Some(true));
        cluster.kill(1);
        cluster.input(0, Input::Steered(true));
        cluster.run_until(Span::ms(300), "it knows", |cluster| {
            held(cluster, 0, 1).as_deref() == Some(&holding(3, 5))
        });
    }
}

/// Two nodes that prepare to take the same group at the same time: with the other's acknowledgement must come the other's preparing, at one of
/// them at least. Otherwise both would take it.
#[test]
fn l3_1c_of_two_that_prepare_at_least_one_knows() {
    let preparing = |at: u64| HeldSet::from([(group(1), entry(at, HeldState::Preparing))]);
    for seed in 0..150 {
        let net = Net {
            delay: Span::from_ns(100_000),
            jitter: Span::ms(5),
            loss: 0.2,
            twice: 0.1,
        };
        let mut cluster = Cluster::settled(seed, net, 2);
        cluster.publish(0, 1, preparing(1));
        let gap = Span::from_ns(cluster.random() % 12_000_000);
        cluster.run(gap);
        cluster.publish(1, 1, preparing(2));
        let mut blind = [false; 2];
        for _ in 0..200 {
            cluster.run(Span::ms(1));
            for (at, blind) in blind.iter_mut().enumerate() {
                let knows = held(&cluster, at, 1 - at).is_some_and(|h| h.contains_key(&group(1)));
                *blind |= acked(&cluster, 1 - at, at) >= 1 && !knows;
            }
        }
        assert_ne!(blind, [true, true], "seed {seed}");
    }
}

/// A claim that somebody has a version is true; rosters are told up to 10 ms late.
#[test]
fn l2_2_what_counts_as_acknowledged_is_there() {
    let net = Net {
        delay: Span::from_ns(100_000),
        jitter: Span::ms(4),
        loss: 0.15,
        twice: 0.1,
    };
    let mut cluster = Cluster::settled(9, net, 4);
    let mut versions = [0; 4];
    let mut claims: Vec<(Time, usize, usize, u64)> = Vec::new();
    for step in 0..4_000 {
        let at = (cluster.random() % 4) as usize;
        if cluster.random().is_multiple_of(20) {
            versions[at] += 1;
            cluster.publish(at, versions[at], holding(step % 50, versions[at]));
        }
        cluster.run(Span::ms(1));
        let now = cluster.now;
        for (by, of) in (0..16).map(|n| (n / 4, n % 4)).filter(|(a, b)| a != b) {
            claims.push((now + Span::ms(11), by, of, acked(&cluster, by, of)));
        }
        claims.retain(|(due, by, of, version)| {
            if *due > now {
                return true;
            }
            let roster: &Roster = &cluster.nodes[*by].roster;
            let here = roster.members[&cluster.nodes[*of].id].held_version;
            assert!(
                here > HeldVersion(*version) || *version == 0,
                "{by} has {here:?} of {of}"
            );
            false
        });
    }
    assert!(versions.iter().all(|version| *version > 10));
}

#[test]
fn a_message_reaches_the_other_deciding() {
    let mut cluster = Cluster::settled(10, Net::lan(0.0), 2);
    let to = cluster.nodes[1].id;
    cluster.input(0, Input::Tell(to, b"yours".to_vec()));
    cluster.input(0, Input::Tell(to, vec![0; 1_025]));
    cluster.run(Span::ms(10));
    let from = cluster.nodes[0].id;
    assert_eq!(cluster.nodes[1].told, [(from, b"yours".to_vec())]);
    let counts = cluster.nodes[0]
        .gossip
        .as_ref()
        .map(|g| g.counts().told_too_long);
    assert_eq!(counts, Some(1));
}

#[test]
fn a_profile_reaches_all() {
    let mut cluster = Cluster::settled(11, Net::lan(0.1), 6);
    let mut profile = cluster.profile(2);
    profile.is_draining = true;
    cluster.input(2, Input::Profile(Arc::new(profile)));
    let id = cluster.nodes[2].id;
    cluster.run_until(Span::s(1), "all know", |cluster| {
        let others = cluster.nodes.iter().filter(|node| node.id != id);
        let mut seen = others.map(|node| node.roster.members[&id].profile.is_draining);
        seen.all(|is_draining| is_draining)
    });
}
