//! The agent on a virtual clock: when it plans, what it holds, and in which order it releases, arms and takes.

use super::*;
use crate::allocator::Assignment;
use crate::election::Election;
use crate::key::{Kind, ObjectKey};
use crate::link::Link;
use crate::manifest;
use crate::plan::{BgpOutcome, Outcome};
use crate::service::ServiceId;
use speaker_ebpf::abi::Mode;
use speaker_proto::{Mac, NodeName};

const MANIFESTS: &str = r"
apiVersion: v1
kind: Node
metadata: {name: n1}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: p, namespace: metallb-system}
spec: {addresses: [192.0.2.0/24]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: l2, namespace: metallb-system}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {type: LoadBalancer, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.0.0.1], nodeName: n1}]
";

pub(crate) fn node() -> NodeName {
    "n1".parse().unwrap()
}

pub(crate) fn vip() -> Vip {
    Vip("192.0.2.1".parse().unwrap())
}

fn links() -> Input {
    links_with(true)
}

/// The one link, with carrier or without.
pub(crate) fn links_with(has_carrier: bool) -> Input {
    let link = Link {
        ifindex: 2,
        mac: Mac([2, 0, 0, 0, 0, 1]),
        is_up: true,
        has_carrier,
        has_arp: true,
        has_ndp: true,
        below: None,
    };
    Input::Links {
        announcing: BTreeMap::from([("eth0".into(), link)]),
        others: BTreeSet::new(),
    }
}

fn assignments() -> Input {
    let id = ServiceId {
        namespace: "default".into(),
        name: "web".into(),
    };
    let held = Assignment {
        ips: vec![vip().0],
        pool: "p".into(),
        sharing: None,
    };
    Input::Assignments(Arc::new(BTreeMap::from([(id, held)])))
}

/// A node that knows of no other, and that there is none.
pub(crate) fn agent(now: Time, adopted: BTreeMap<Vip, Epoch>, is_armed: bool) -> Agent {
    agent_with(now, Election::default(), adopted, is_armed)
}

fn agent_with(
    now: Time,
    election: Election,
    adopted: BTreeMap<Vip, Epoch>,
    is_armed: bool,
) -> Agent {
    let mut local = Local::new(node());
    local.rules.election = election;
    let start = Start {
        local,
        adopted,
        is_armed,
        spread: BTreeMap::new(),
        last_deadline: None,
        drain_window: Span::s(30),
        seed: 1,
    };
    let mut agent = Agent::new(start, now);
    let alone = Roster {
        is_settled: true,
        ..Roster::default()
    };
    agent.input(now, Input::Roster(Arc::new(alone)));
    agent
}

/// Does what is asked and due, as the driver does: every plan is applied at once, and nobody answers a probe.
pub(crate) fn drain(agent: &mut Agent, now: Time) -> Vec<Output> {
    let mut outputs = Vec::new();
    loop {
        while let Some(output) = agent.output() {
            match &output {
                Output::Apply(_) => agent.input(now, Input::Applied(Ok(()))),
                Output::Probe { group, nonce, .. } => {
                    let probed = Input::Probed {
                        group: *group,
                        nonce: *nonce,
                        answered: None,
                    };
                    agent.input(now, probed);
                }
                _ => {}
            }
            outputs.push(output);
        }
        if agent.deadline().is_none_or(|(due, _)| due > now) {
            return outputs;
        }
        agent.expire(now);
    }
}

fn feed(agent: &mut Agent, now: Time) -> Vec<Output> {
    agent.input(now, links());
    agent.input(now, assignments());
    for object in manifest::read("all.yaml", MANIFESTS, "metallb-system").objects {
        agent.input(now, Input::Object(object));
    }
    drain(agent, now)
}

fn sync(agent: &mut Agent, now: Time) -> Vec<Output> {
    for kind in Kind::ALL {
        agent.input(now, Input::Synced(kind));
    }
    settle(agent, now)
}

/// Lets pass the time that a later change waits.
pub(crate) fn settle(agent: &mut Agent, now: Time) -> Vec<Output> {
    agent.expire(now + SETTLE);
    drain(agent, now + SETTLE)
}

/// The epoch in which the last plan answers for the VIP; `None`: it does not.
fn answering(agent: &Agent) -> Option<Epoch> {
    entry(agent).and_then(|(mode, epoch)| (mode == Mode::Answer).then_some(epoch))
}

/// What the last plan says of the VIP.
pub(crate) fn entry(agent: &Agent) -> Option<(Mode, Epoch)> {
    let entry = agent.plan().l2.get(&(vip(), "eth0".into()))?;
    Some((entry.mode, entry.epoch))
}

fn arms(outputs: &[Output]) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Arm))
}

fn plans(outputs: &[Output]) -> usize {
    outputs
        .iter()
        .filter(|output| matches!(output, Output::Apply(_)))
        .count()
}

/// An agent that has taken its VIP with a first deadline.
pub(crate) fn holding(now: Time) -> Agent {
    holding_with(now, Election::default())
}

/// The same with an order of election.
pub(crate) fn holding_with(now: Time, election: Election) -> Agent {
    let mut agent = agent_with(now, election, BTreeMap::new(), false);
    feed(&mut agent, now);
    assert!(arms(&sync(&mut agent, now)));
    agent.input(now + SETTLE, Input::Armed);
    drain(&mut agent, now + SETTLE);
    agent
}

#[test]
fn nothing_is_applied_before_every_kind_is_synced() {
    let now = Time::ms(1000);
    let mut agent = agent(now, BTreeMap::new(), false);
    assert_eq!(plans(&feed(&mut agent, now)), 0);
    for kind in Kind::ALL.into_iter().skip(1) {
        agent.input(now, Input::Synced(kind));
    }
    assert_eq!(plans(&settle(&mut agent, now)), 0);
    agent.input(now + SETTLE, Input::Synced(Kind::ALL[0]));
    assert_eq!(plans(&settle(&mut agent, now + SETTLE)), 1);
}

/// A plan for no links would take away what the last process left.
#[test]
fn nothing_is_applied_before_it_is_told_of_its_links() {
    let now = Time::ms(1_000);
    let adopted = BTreeMap::from([(vip(), Epoch(7))]);
    let mut agent = agent(now, adopted, true);
    let Input::Links { announcing, others } = links() else {
        unreachable!()
    };
    agent.local.links = announcing;
    agent.local.other_links = others;
    agent.input(now, assignments());
    for object in manifest::read("all.yaml", MANIFESTS, "metallb-system").objects {
        agent.input(now, Input::Object(object));
    }
    assert_eq!(plans(&sync(&mut agent, now)), 0);
    agent.input(now + SETTLE, links());
    assert_eq!(plans(&settle(&mut agent, now + SETTLE)), 1);
    assert_eq!(answering(&agent), Some(Epoch(7)));
}

#[test]
fn l5_1_a_fresh_node_is_armed_before_it_takes() {
    let now = Time::ms(1000);
    let mut agent = agent(now, BTreeMap::new(), false);
    feed(&mut agent, now);
    assert!(arms(&sync(&mut agent, now)));
    assert_eq!(entry(&agent), Some((Mode::Known, Epoch(0))));
    agent.input(now + SETTLE, Input::Armed);
    drain(&mut agent, now + SETTLE);
    assert!(answering(&agent) >= Some(Epoch(1)));
}

#[test]
fn l5_1_after_a_lapse_everything_is_released_then_taken_with_a_new_epoch() {
    let now = Time::ms(1000);
    let mut agent = holding(now);
    let before = answering(&agent);
    let later = Time::ms(5000);
    agent.input(
        later,
        Input::Lapsed {
            deadline: Time::ms(4000),
        },
    );
    let outputs = drain(&mut agent, later);
    assert_eq!(
        entry(&agent),
        Some((Mode::Known, Epoch(0))),
        "released at once"
    );
    let order: Vec<bool> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Apply(_) => Some(false),
            Output::Arm => Some(true),
            _ => None,
        })
        .collect();
    assert_eq!(
        order,
        [false, true],
        "armed only after the release was applied"
    );
    agent.input(later, Input::Armed);
    drain(&mut agent, later);
    assert!(answering(&agent) > before, "with a later epoch");
}

#[test]
fn a_release_that_failed_to_apply_arms_nothing_and_is_tried_again() {
    let now = Time::ms(1000);
    let mut agent = holding(now);
    let later = Time::ms(5000);
    agent.input(
        later,
        Input::Lapsed {
            deadline: Time::ms(4000),
        },
    );
    while let Some(output) = agent.output() {
        assert!(!matches!(output, Output::Arm));
        if matches!(output, Output::Apply(_)) {
            agent.input(later, Input::Applied(Err("no memory".into())));
        }
    }
    assert_eq!(agent.deadline(), Some((later + RETRY, "settle")));
    agent.expire(later + RETRY);
    assert!(arms(&drain(&mut agent, later + RETRY)));
}

#[test]
fn a_restarted_agent_changes_no_entry() {
    let now = Time::ms(1000);
    let adopted = BTreeMap::from([(vip(), Epoch(7))]);
    let mut agent = agent(now, adopted, true);
    feed(&mut agent, now);
    let outputs = sync(&mut agent, now);
    assert!(!arms(&outputs), "the deadline is in force already");
    assert_eq!(entry(&agent), Some((Mode::Answer, Epoch(7))));
}

#[test]
fn what_was_left_with_a_lapsed_deadline_is_taken_anew() {
    let now = Time::ms(1000);
    let adopted = BTreeMap::from([(vip(), Epoch(7))]);
    let mut agent = agent(now, adopted, false);
    feed(&mut agent, now);
    sync(&mut agent, now);
    assert_eq!(entry(&agent), Some((Mode::Known, Epoch(0))));
    agent.input(now + SETTLE, Input::Armed);
    drain(&mut agent, now + SETTLE);
    let epoch = answering(&agent);
    assert!(epoch > Some(Epoch(7)), "later than any before: {epoch:?}");
}

#[test]
fn the_first_change_after_quiet_acts_at_once_and_a_burst_costs_one_plan() {
    let now = Time::ms(1000);
    let mut agent = holding(now);
    let later = Time::ms(9000);
    let key = ObjectKey::new(Kind::EndpointSlice, "default", "web-1");
    agent.input(later, Input::Gone(key));
    assert_eq!(plans(&drain(&mut agent, later)), 1);
    assert!(
        agent
            .plan()
            .l2
            .values()
            .all(|entry| entry.mode == Mode::Known)
    );
    let burst = manifest::read("all.yaml", MANIFESTS, "metallb-system").objects;
    for object in burst {
        agent.input(later, Input::Object(object));
    }
    agent.input(later, assignments());
    assert_eq!(
        plans(&drain(&mut agent, later)),
        0,
        "within the settling time"
    );
    assert_eq!(agent.deadline(), Some((later + SETTLE, "settle")));
    let plans = plans(&settle(&mut agent, later));
    assert_eq!(
        plans, 2,
        "one for the burst, one for the taking it leads to"
    );
    assert!(answering(&agent).is_some());
}

#[test]
fn what_changes_nothing_plans_nothing() {
    let now = Time::ms(1000);
    let mut agent = holding(now);
    let later = Time::ms(9000);
    for object in manifest::read("all.yaml", MANIFESTS, "metallb-system").objects {
        agent.input(later, Input::Object(object));
    }
    agent.input(later, links());
    agent.input(later, assignments());
    assert_eq!(plans(&drain(&mut agent, later)), 0);
    assert_eq!(agent.deadline(), None);
}

#[test]
fn a_change_of_outcome_is_told_once_with_its_reason() {
    let now = Time::ms(1000);
    let mut agent = holding(now);
    let later = Time::ms(9000);
    agent.input(
        later,
        Input::Gone(ObjectKey::new(
            Kind::L2Advertisement,
            "metallb-system",
            "l2",
        )),
    );
    let told: Vec<Event> = drain(&mut agent, later)
        .into_iter()
        .filter_map(|output| match output {
            Output::Event(event @ Event::Outcome { .. }) => Some(event),
            _ => None,
        })
        .collect();
    let [
        Event::Outcome {
            before,
            after,
            pool,
            ..
        },
    ] = told.as_slice()
    else {
        panic!("one event, not {told:?}");
    };
    assert!(matches!(before, Some(Outcome::Announced(_))));
    assert!(matches!(after, Some(Outcome::Silent(_))));
    assert_eq!(pool.as_deref(), Some("p"));
}

const BGP: &str = r"
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: ad, namespace: metallb-system}
spec: {aggregationLength: 28}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: tor, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.254}
";

/// What became of services in BGP, told by what is done at a time: before, from then on, and the pool.
fn told_of_bgp(
    agent: &mut Agent,
    at: Time,
    inputs: impl IntoIterator<Item = Input>,
) -> Vec<(Option<BgpOutcome>, Option<BgpOutcome>, Option<String>)> {
    inputs.into_iter().for_each(|input| agent.input(at, input));
    let outputs = settle(agent, at).into_iter();
    let told = outputs.filter_map(|output| match output {
        Output::Event(Event::BgpOutcome {
            before,
            after,
            pool,
            ..
        }) => Some((before, after, pool)),
        _ => None,
    });
    told.collect()
}

#[test]
fn metallb_2_9_what_bgp_announces_is_told_apart_with_its_addresses_and_reasons() {
    let mut agent = holding(Time::ms(1000));
    let objects = manifest::read("bgp.yaml", BGP, "metallb-system").objects;
    let told = told_of_bgp(
        &mut agent,
        Time::ms(9000),
        objects.into_iter().map(Input::Object),
    );
    let (_, Some(BgpOutcome::Announced(announced)), Some(pool)) = told.last().unwrap() else {
        panic!("it is announced, not {told:?}");
    };
    assert_eq!(
        (announced.vips.as_slice(), pool.as_str()),
        ([vip()].as_slice(), "p")
    );

    let gone = |kind, name: &str| Input::Gone(ObjectKey::new(kind, "metallb-system", name));
    let gone = [gone(Kind::BgpAdvertisement, "ad")];
    let told = told_of_bgp(&mut agent, Time::ms(19_000), gone);
    let [(Some(BgpOutcome::Announced(_)), Some(BgpOutcome::Silent(why)), _)] = told.as_slice()
    else {
        panic!("it is withdrawn, and why, not {told:?}");
    };
    assert_eq!(why.metallb_name(), "notOwner");
    assert_eq!(why.to_string(), "no BGPAdvertisement is for pool p");
}

#[test]
fn a_service_that_goes_is_withdrawn_from_bgp_without_a_reason() {
    let mut agent = holding(Time::ms(1000));
    let objects = manifest::read("bgp.yaml", BGP, "metallb-system").objects;
    told_of_bgp(
        &mut agent,
        Time::ms(9000),
        objects.into_iter().map(Input::Object),
    );
    let gone = Input::Gone(ObjectKey::new(Kind::Service, "default", "web"));
    let told = told_of_bgp(&mut agent, Time::ms(19_000), [gone]);
    assert!(
        matches!(told.as_slice(), [(Some(BgpOutcome::Announced(_)), None, _)]),
        "{told:?}"
    );
}

#[test]
fn a_malformed_edit_is_told_and_withdraws_nothing() {
    let now = Time::ms(1000);
    let mut agent = holding(now);
    let before = answering(&agent);
    let later = Time::ms(9000);
    let typo = MANIFESTS.replace("192.0.2.0/24", "192.0.2.0/240");
    for object in manifest::read("all.yaml", &typo, "metallb-system").objects {
        agent.input(later, Input::Object(object));
    }
    let outputs = drain(&mut agent, later);
    assert!(
        outputs
            .iter()
            .any(|output| matches!(output, Output::Event(Event::Problem(_))))
    );
    settle(&mut agent, later);
    assert_eq!(answering(&agent), before);
}
