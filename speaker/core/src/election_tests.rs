//! The order of candidates against digests that MetalLB's own rule gives.

use super::*;
use proptest::prelude::*;

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

fn key(ip: &str) -> GroupKey {
    GroupKey(ip.parse().unwrap())
}

fn plain(names: &[&str]) -> Vec<Candidate> {
    let candidate = |name: &&str| Candidate {
        node: node(name),
        score: Score::default(),
    };
    names.iter().map(candidate).collect()
}

fn names(candidates: &[Candidate]) -> Vec<&str> {
    candidates.iter().map(|c| c.node.as_str()).collect()
}

fn hex(rank: Rank) -> String {
    rank.iter().map(|b| format!("{b:02x}")).collect()
}

const NODES: [&str; 5] = ["n1", "n2", "n3", "node-a", "worker-1.example"];

/// Computed with another implementation of SHA-256: node, address, digest.
const VECTORS: [(&str, &str, &str); 10] = [
    (
        "n1",
        "192.0.2.10",
        "9870ca2e99562e2044624725b11711d848b35680626dc334849a3dcce8e4fb1d",
    ),
    (
        "n2",
        "192.0.2.10",
        "6c55bbd10aba20e81c817baf0109b143f3331c8589d1308c9872be0568b38b89",
    ),
    (
        "n3",
        "192.0.2.10",
        "83d302abfa79ed025858e1da0e84d675010f01cca1ae693aba30951771e253f2",
    ),
    (
        "node-a",
        "192.0.2.10",
        "d4b84135501a6622f43f01422f65d768d1a4637914be8add4e31f107336b8068",
    ),
    (
        "worker-1.example",
        "192.0.2.10",
        "30bf3733488ce0d269750ec990d3eeb5cb479bab03e5a364d31a47fcf667e16f",
    ),
    (
        "n1",
        "2001:db8::10",
        "4cf83e1a77f1ea2c3e661592342fbbbcfab60689a5eea980555eb706e42f2a65",
    ),
    (
        "n2",
        "2001:db8::10",
        "a43bec36d245dbb1566c252af3bd13bce24bb26a40b0490d387982a8f4f8bcd3",
    ),
    (
        "n3",
        "2001:db8::10",
        "fa3f0f265876d0e274380b818645ff9351ea28bb90f8779e212268ba4d2a39c3",
    ),
    (
        "node-a",
        "2001:db8::10",
        "5525059d790ad6c9458aabead6068769eb0cbb13962eae2500ff38eb462569c2",
    ),
    (
        "worker-1.example",
        "2001:db8::10",
        "9a5900abe5b1ccac50fa7a60a033df92151aacd5d43d3f29563b6564f6c7e089",
    ),
];

#[test]
fn the_rank_is_the_digest_of_node_hash_address() {
    for (name, ip, digest) in VECTORS {
        let rank = Ranking::new(Election::Sha256, key(ip)).rank(&node(name));
        assert_eq!(hex(rank), digest, "{name}#{ip}");
    }
}

#[test]
fn l1_2_the_order_is_metallbs() {
    let ordered = order(Election::Sha256, key("192.0.2.10"), plain(&NODES));
    assert_eq!(
        names(&ordered),
        ["worker-1.example", "n2", "n3", "n1", "node-a"]
    );
    let ordered = order(Election::Sha256, key("2001:db8::10"), plain(&NODES));
    assert_eq!(
        names(&ordered),
        ["n1", "node-a", "worker-1.example", "n2", "n3"]
    );
}

#[test]
fn l1_2_a_preferred_node_comes_first_whatever_its_rank() {
    for preferred in 0..NODES.len() {
        let mut candidates = plain(&NODES);
        candidates[preferred].score = 1.into();
        let ordered = order(Election::Sha256, key("192.0.2.10"), candidates);
        assert_eq!(ordered[0].node.as_str(), NODES[preferred]);
    }
}

#[test]
fn the_two_elections_differ() {
    let keys: Vec<_> = (0..32).map(|i| key(&format!("192.0.2.{i}"))).collect();
    let winners = |election| -> Vec<_> {
        let first = |k: &GroupKey| order(election, *k, plain(&NODES))[0].node.clone();
        keys.iter().map(first).collect()
    };
    assert_ne!(winners(Election::Sha256), winners(Election::Xxh3));
}

#[test]
fn an_election_reads_as_it_is_written() {
    for election in [Election::Sha256, Election::Xxh3] {
        assert_eq!(election.to_string().parse(), Ok(election));
    }
    assert_eq!("md5".parse::<Election>(), Err(UnknownElection));
}

fn elections() -> impl Strategy<Value = Election> {
    prop_oneof![Just(Election::Sha256), Just(Election::Xxh3)]
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    proptest::collection::btree_map("[a-z]{1,6}", 0_u32..3, 2..20).prop_map(|map| {
        map.into_iter()
            .map(|(name, score)| Candidate {
                node: node(&name),
                score: score.into(),
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn l1_2_a_loser_leaving_moves_nothing(
        election in elections(),
        ip in any::<u32>(),
        candidates in candidates(),
        leaving in any::<prop::sample::Index>(),
    ) {
        let key = GroupKey(std::net::Ipv4Addr::from(ip).into());
        let before = order(election, key, candidates);
        let leaving = leaving.index(before.len());
        let mut without = before.clone();
        without.remove(leaving);
        prop_assert_eq!(&order(election, key, without.clone()), &without);
        if leaving > 0 {
            prop_assert_eq!(&without[0], &before[0]);
        }
    }

    #[test]
    fn the_order_does_not_depend_on_the_order_of_the_candidates(
        election in elections(),
        candidates in candidates().prop_shuffle(),
    ) {
        let key = key("2001:db8::1");
        let mut sorted = candidates.clone();
        sorted.sort();
        let winner = winner(election, key, &candidates).cloned();
        let ordered = order(election, key, candidates);
        prop_assert_eq!(winner.as_ref(), ordered.first());
        prop_assert_eq!(ordered, order(election, key, sorted));
    }
}
