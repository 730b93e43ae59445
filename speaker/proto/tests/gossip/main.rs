//! Membership among several nodes, on a virtual clock.

mod cluster;

use cluster::{Cluster, Net};
use speaker_proto::gossip::Input;
use speaker_proto::member::{HeldEntry, HeldSet, HeldState, Standing};
use speaker_proto::{Epoch, GroupKey, Span, Time};

fn holding(groups: u32, epoch: u64) -> HeldSet {
    (0..groups)
        .map(|n| {
            let group = GroupKey(std::net::Ipv4Addr::from(0xcb00_0000 + n).into());
            let entry = HeldEntry {
                epoch: Epoch(epoch),
                state: HeldState::Holding,
            };
            (group, entry)
        })
        .collect()
}

#[test]
fn nodes_that_start_together_find_each_other() {
    for count in [2, 3, 10] {
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
            let seen: Vec<_> = cluster.verdicts.iter().filter(|v| v.of == 0).collect();
            assert_eq!(seen.len(), count - 1, "everybody knows");
            spans.extend(seen.iter().map(|verdict| verdict.at.since(died)));
        }
        spans.sort();
        let p99 = spans[spans.len() * 99 / 100];
        println!(
            "{count}: {:?} {:?} {p99:?}",
            spans[0],
            spans[spans.len() / 2]
        );
        assert!(
            spans[0] >= Span::ms(550) && p99 <= Span::ms(700),
            "{spans:?}"
        );
    }
}
