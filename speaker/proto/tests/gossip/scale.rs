//! What membership costs in a larger cluster, and what happens at its bounds.

use crate::cluster::{Cluster, Net};
use speaker_proto::Span;

#[test]
fn l2_1_a_hundred_members_send_no_more_than_ten() {
    let mut rates = Vec::new();
    for count in [10, 100] {
        let mut cluster = Cluster::settled(1, Net::lan(0.01), count);
        cluster.run_until(Span::s(5), "all know all", Cluster::is_whole);
        let sent = |c: &Cluster| c.nodes.iter().map(|node| node.work.sent).sum::<u64>();
        let before = sent(&cluster);
        cluster.run(Span::s(4));
        let rate = (sent(&cluster) - before) / 4 / count as u64;
        assert!(
            (100..108).contains(&rate),
            "{count}: {rate} datagrams/s a node"
        );
        assert!(cluster.verdicts.is_empty());
        rates.push(rate);
    }
    println!("{rates:?}");
}

#[test]
fn l2_1_a_hundred_members_find_a_dead_one_as_fast_as_ten() {
    let mut cluster = Cluster::settled(2, Net::lan(0.01), 100);
    cluster.kill(17);
    let died = cluster.now;
    cluster.run(Span::ms(800));
    assert_eq!(cluster.verdicts.len(), 99);
    let spans = cluster.verdicts.iter().map(|v| v.at.since(died));
    assert!(spans.max() <= Some(Span::ms(700)));
}
