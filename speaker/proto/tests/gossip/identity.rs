//! Boots, restarts, recordings and names that are used twice.

use crate::cluster::{Cluster, Net};
use speaker_proto::Span;
use speaker_proto::gossip::Received;
use speaker_proto::member::{HeldEntry, HeldSet, HeldState, Standing};
use speaker_proto::{Epoch, GroupKey};

fn one_group() -> HeldSet {
    let entry = HeldEntry {
        epoch: Epoch(3),
        state: HeldState::Holding,
    };
    HeldSet::from([(GroupKey([203, 0, 113, 1].into()), entry)])
}

#[test]
fn a_restart_is_not_a_death() {
    let mut cluster = Cluster::settled(1, Net::lan(0.01), 4);
    cluster.publish(0, 1, one_group());
    cluster.run(Span::ms(100));
    let id = cluster.nodes[0].id;
    let old = cluster.nodes[1].roster.members[&id].boot;
    cluster.kill(0);
    cluster.run(Span::ms(100));
    cluster.start_holding(0, one_group());
    cluster.run_until(Span::ms(300), "the new boot is known to all", |cluster| {
        cluster.nodes[1..].iter().all(|node| {
            let member = &node.roster.members[&id];
            assert!(
                *member.held == one_group(),
                "what it held is known all the time"
            );
            member.boot != old && member.held_version.0 > 0
        })
    });
    cluster.run(Span::s(2));
    assert!(cluster.verdicts.is_empty() && cluster.is_whole());
    assert!(cluster.nodes.iter().all(|node| !node.roster.is_name_taken));
}

#[test]
fn a_machine_that_booted_again_is_believed() {
    let mut cluster = Cluster::settled(2, Net::lan(0.01), 4);
    cluster.kill(0);
    cluster.run(Span::s(5));
    cluster.reboot(0);
    cluster.run_until(Span::s(3), "it is back", Cluster::is_whole);
    cluster.run(Span::s(12));
    assert!(cluster.nodes.iter().all(|node| !node.roster.is_name_taken));
    assert!(cluster.nodes[0].roster.is_settled);
    assert!(cluster.is_whole());
}

#[test]
fn a_name_that_two_processes_use_is_noticed_by_both() {
    for others in [0, 3] {
        let mut cluster = Cluster::settled(3, Net::lan(0.0), others + 1);
        let twin = cluster.add_twin(0);
        let all: Vec<_> = cluster.nodes.iter().map(|node| node.address).collect();
        for at in [0, twin] {
            let own = cluster.nodes[at].address;
            let seeds = all.iter().copied().filter(|seed| *seed != own).collect();
            cluster.nodes[at].seeds = seeds;
        }
        let seeds = cluster.nodes[0].seeds.clone();
        cluster.input(0, speaker_proto::gossip::Input::Seeds(seeds));
        cluster.start(twin);
        let took = cluster.run_until(Span::s(15), "both know", |cluster| {
            cluster.nodes[0].roster.is_name_taken && cluster.nodes[twin].roster.is_name_taken
        });
        println!("{others}: {took:?}");
        let others = &cluster.nodes[1..twin];
        assert!(others.iter().all(|node| !node.roster.is_name_taken));
        cluster.kill(twin);
        cluster.run_until(Span::s(40), "it is over", |cluster| {
            !cluster.nodes[0].roster.is_name_taken
        });
    }
}

/// Records what node 0 says to everybody, and kills it.
fn recorded(cluster: &mut Cluster) -> Vec<(usize, Received)> {
    cluster.recording = Some(Vec::new());
    cluster.run(Span::s(3));
    let id = cluster.nodes[0].id;
    let recording = cluster.recording.take().unwrap_or_default();
    cluster.kill(0);
    cluster.run(Span::s(2));
    recording
        .into_iter()
        .filter(|(_, r)| r.sender == id)
        .collect()
}

fn assert_stays_dead(cluster: &mut Cluster, recording: &[(usize, Received)]) {
    for (_, received) in recording {
        for to in 1..cluster.nodes.len() {
            cluster.inject(to, received.clone());
        }
        cluster.run(Span::ms(1));
        for by in 1..cluster.nodes.len() {
            let standing = cluster.standing(by, 0);
            assert!(!matches!(standing, Some(Standing::Alive)), "{by}");
        }
    }
}

#[test]
fn a_recording_does_not_revive_a_dead_node() {
    let mut cluster = Cluster::settled(4, Net::lan(0.0), 4);
    let recording = recorded(&mut cluster);
    assert!(recording.len() > 100);
    assert_stays_dead(&mut cluster, &recording);
    let replayed = cluster.nodes[1]
        .gossip
        .as_ref()
        .map(|g| g.counts().replayed);
    assert!(replayed > Some(0));
}

#[test]
fn a_recording_does_not_revive_a_node_that_a_newcomer_only_heard_of() {
    let mut cluster = Cluster::settled(5, Net::lan(0.0), 4);
    let recording = recorded(&mut cluster);
    let new = cluster.add();
    cluster.nodes[new].seeds = cluster.nodes[1..4]
        .iter()
        .map(|node| node.address)
        .collect();
    cluster.start(new);
    cluster.kill(2);
    cluster.start(2);
    cluster.run(Span::s(2));
    assert!(matches!(
        cluster.standing(new, 0),
        Some(Standing::Dead { .. })
    ));
    assert_stays_dead(&mut cluster, &recording);
    let unproven = cluster.nodes[new]
        .gossip
        .as_ref()
        .map(|g| g.counts().unproven);
    assert!(unproven > Some(0));
}

#[test]
fn a_recording_of_an_earlier_boot_says_nothing() {
    let mut cluster = Cluster::settled(6, Net::lan(0.0), 4);
    let recording = recorded(&mut cluster);
    cluster.start(0);
    cluster.run(Span::s(2));
    let boot = |cluster: &Cluster| cluster.nodes[1].roster.members[&cluster.nodes[0].id].boot;
    let present = boot(&cluster);
    for (to, received) in recording {
        cluster.inject(to, received);
        cluster.run(Span::ms(1));
        assert_eq!(boot(&cluster), present);
    }
    assert!(cluster.is_whole());
    assert!(cluster.nodes.iter().all(|node| !node.roster.is_name_taken));
}

#[test]
fn foreign_bytes_are_counted_and_change_nothing() {
    let mut cluster = Cluster::settled(7, Net::lan(0.0), 3);
    let before = std::sync::Arc::clone(&cluster.nodes[1].roster);
    let from = cluster.nodes[0].address;
    let roster = &cluster.nodes[1].roster.members[&cluster.nodes[0].id];
    let (sender, boot) = (cluster.nodes[0].id, roster.boot);
    let unknown = [&[1, 200][..], &cluster.nodes[1].id.0.to_be_bytes()].concat();
    let misdirected = vec![1, 2, 0, 0, 0, 0, 0, 0, 0, 9];
    for body in [vec![], vec![1, 2, 3], vec![2, 1], unknown, misdirected] {
        cluster.inject(
            1,
            Received {
                from,
                sender,
                boot,
                number: u64::MAX,
                key: 0,
                body,
            },
        );
    }
    cluster.run(Span::ms(100));
    let counts = cluster.nodes[1].gossip.as_ref().map(|g| *g.counts());
    let counts = counts.map(|c| (c.malformed, c.other_protocol, c.unknown_kind, c.misdirected));
    assert_eq!(counts, Some((2, 1, 1, 1)));
    assert_eq!(*cluster.nodes[1].roster, *before);
}
