//! The agent among other members: who goes on when two claim one VIP.

use super::super::tests::*;
use super::super::{Agent, Event, Input, Output};
use crate::election::{Candidate, Election, order};
use crate::members::node_id;
use crate::plan::{Passed, Unfit};
use speaker_ebpf::abi::Mode;
use speaker_proto::hold;
use speaker_proto::member::{
    Boot, HeldVersion, Member, MemberLink, Profile, Published, Roster, Standing,
};
use speaker_proto::{GroupKey, Mac, Machine, NodeName, Time};
use std::sync::Arc;

pub(crate) const OTHERS_MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

pub(crate) fn member(name: &NodeName) -> Member {
    Member {
        boot: Boot([1; 16]),
        profile: Arc::new(Profile {
            links: vec![MemberLink {
                name: "eth0".into(),
                mac: OTHERS_MAC,
                has_arp: true,
                has_ndp: true,
            }],
            macs: vec![OTHERS_MAC],
            ..Profile::of(name.clone())
        }),
        standing: Standing::Alive,
        held: Arc::default(),
        held_version: HeldVersion(1),
        acked: HeldVersion(1 << 32),
        is_reachable: true,
        is_in_grace: false,
        has_met: true,
    }
}

/// With one other member.
pub(crate) fn meet(agent: &mut Agent, now: Time, member: Member) {
    let id = node_id(&member.profile.name);
    let roster = Roster {
        members: [(id, Arc::new(member))].into(),
        is_settled: true,
        is_name_taken: false,
    };
    agent.input(now, Input::Roster(Arc::new(roster)));
}

/// Whether this node goes on when `other`, which cannot be asked, claims its VIP.
fn keeps_against(other: &NodeName, election: Election) -> bool {
    let now = Time::ms(1000);
    let mut agent = holding_with(now, election);
    let member = Member {
        is_reachable: false,
        ..member(other)
    };
    meet(&mut agent, now, member);
    drain(&mut agent, now);
    is_kept(&mut agent, now)
}

/// Whether an agent goes on when the other's hardware claims its VIP.
fn is_kept(agent: &mut Agent, now: Time) -> bool {
    let claimed = Input::Claimed {
        vip: vip(),
        mac: OTHERS_MAC,
    };
    agent.input(now, claimed);
    let outputs = drain(agent, now);
    let mut contests = outputs.iter().filter_map(|output| match output {
        Output::Event(Event::Hold {
            event: hold::Event::Contest { is_kept, .. },
            ..
        }) => Some(*is_kept),
        _ => None,
    });
    contests.next().expect("two claim one VIP")
}

#[test]
fn l5_2_who_goes_on_is_who_the_election_of_equals_puts_first_whatever_the_settings() {
    let mut kept = 0;
    for n in 2..20 {
        let other: NodeName = format!("n{n}").parse().unwrap();
        let both = [node(), other.clone()].map(|node| Candidate {
            node,
            score: 0.into(),
        });
        let ordered = order(Election::Sha256, GroupKey(vip().0), both.to_vec());
        let is_first = ordered[0].node == node();
        kept += usize::from(is_first);
        for election in [Election::Sha256, Election::Xxh3] {
            assert_eq!(keeps_against(&other, election), is_first, "{other}");
        }
    }
    assert!((1..18).contains(&kept), "either comes first: {kept}");
}

#[test]
fn l5_2_a_claim_that_comes_before_the_first_plan_is_asked_about() {
    let now = Time::ms(1000);
    let adopted = [(vip(), speaker_proto::Epoch(7))].into();
    let mut agent = agent(now, adopted, true);
    let other: NodeName = "n2".parse().unwrap();
    meet(&mut agent, now, member(&other));
    drain(&mut agent, now);
    let claimed = Input::Claimed {
        vip: vip(),
        mac: OTHERS_MAC,
    };
    agent.input(now, claimed);
    let outputs = drain(&mut agent, now);
    let asked = outputs.iter().any(|output| match output {
        Output::Tell(to, _) => *to == node_id(&other),
        _ => false,
    });
    assert!(asked, "{outputs:?}");
}

/// Gossip is cut since this node started, so that nobody was ever heard, and both took the VIP.
#[test]
fn l2_3_two_that_never_heard_each_other_settle_a_claim_by_what_they_published() {
    let now = Time::ms(1000);
    let mut kept = 0;
    for n in 2..20 {
        let other: NodeName = format!("n{n}").parse().unwrap();
        let mut agent = holding_with(now, Election::Sha256);
        assert!(!agent.macs().contains(&OTHERS_MAC));
        let published = Published {
            name: other.clone(),
            macs: [OTHERS_MAC].into(),
        };
        let directory = [(node_id(&other), published)].into();
        agent.input(now, Input::Published(Arc::new(directory)));
        drain(&mut agent, now);
        assert!(agent.macs().contains(&OTHERS_MAC), "it may claim");
        let is_kept = is_kept(&mut agent, now);
        assert_eq!(is_kept, keeps_against(&other, Election::Sha256), "{other}");
        kept += usize::from(is_kept);
    }
    assert!((1..18).contains(&kept), "either goes on: {kept}");
}

/// Nobody else may have it, and this node can answer nowhere.
#[test]
fn l1_1_a_node_without_any_link_holds_nothing_until_it_has_one() {
    let mut agent = holding(Time::ms(1000));
    let later = Time::ms(10_000);
    let none = Input::Links {
        announcing: [].into(),
        others: [].into(),
    };
    agent.input(later, none);
    let outputs = settle(&mut agent, later);
    assert!(agent.held().is_empty(), "{:?}", agent.held());
    let mut whys = outputs.iter().filter_map(|output| match output {
        Output::Event(Event::Hold {
            event: hold::Event::Given { to: None, .. },
            why,
            ..
        }) => Some(*why),
        _ => None,
    });
    assert_eq!(whys.next(), Some(Some(Passed::Unfit(Unfit::NoLink))));
    agent.input(Time::ms(11_000), links_with(true));
    settle(&mut agent, Time::ms(11_000));
    assert_eq!(entry(&agent).map(|(mode, _)| mode), Some(Mode::Answer));
}
