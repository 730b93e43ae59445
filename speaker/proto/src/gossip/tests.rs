//! One machine at its bounds, spoken to in the words of others.

use super::peer::Life;
use super::wire::{Heartbeat, Item, Message, Part, Title, Told, Trace, What};
use super::*;
use crate::member::Standing;
use crate::{Mac, Machine};

const ME: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);
const BOOT: Boot = Boot([7; 16]);
/// The other's kernel may answer for ten seconds more.
const PROMISE: Message = Message::PromiseAsk {
    ms: 10_000,
    until: 7,
};

/// A machine, and one other node that it knows.
struct Pair {
    gossip: Gossip,
    now: Time,
    number: u64,
}

fn profile(name: &str) -> Profile {
    Profile {
        addresses: vec![([10, 0, 0, 9], 7946).into()],
        macs: vec![Mac([2, 0, 0, 0, 0, 1])],
        rules: 1,
        version: "1".to_owned(),
        ..Profile::of(name.parse().unwrap())
    }
}

impl Pair {
    fn new() -> Self {
        let now = Time::ms(5_000);
        let mut pair = Self {
            gossip: Gossip::new(Start {
                me: ME,
                boot: Boot([1; 16]),
                profile: Arc::new(profile("me")),
                held: Arc::default(),
                seed: 1,
                now,
            }),
            now,
            number: 0,
        };
        let mut challenges =
            pair.say(&Message::Join)
                .into_iter()
                .filter_map(|message| match message {
                    Message::Challenge(nonce) => Some(nonce),
                    _ => None,
                });
        let nonce = challenges
            .next_back()
            .expect("an unknown boot is challenged");
        pair.say(&Message::Response {
            nonce,
            generation: 1,
        });
        pair
    }

    /// The other says something; what the machine says to anyone.
    fn say(&mut self, message: &Message) -> Vec<Message> {
        self.number += 1;
        self.say_numbered(message, self.number)
    }

    fn say_numbered(&mut self, message: &Message, number: u64) -> Vec<Message> {
        self.hear_numbered(message, number);
        self.said()
    }

    /// The other says something, and what comes of it is left to be read.
    fn hear(&mut self, message: &Message) {
        self.number += 1;
        self.hear_numbered(message, self.number);
    }

    fn hear_numbered(&mut self, message: &Message, number: u64) {
        let received = Received {
            from: ([10, 0, 0, 2], 7946).into(),
            sender: OTHER,
            boot: BOOT,
            number,
            key: 0,
            body: message.encode(ME),
        };
        self.gossip.input(self.now, Input::Received(received));
    }

    /// What this node was told of its own promises.
    fn promised(&mut self) -> Vec<bool> {
        let outputs = std::iter::from_fn(|| self.gossip.output());
        let promised = outputs.filter_map(|output| match output {
            Output::Promised(is_noted) => Some(is_noted),
            _ => None,
        });
        promised.collect()
    }

    fn said(&mut self) -> Vec<Message> {
        let mut said = Vec::new();
        while let Some(output) = self.gossip.output() {
            if let Output::Send(datagram) = output {
                said.push(Message::decode(&datagram.body).unwrap().1);
            }
        }
        said
    }

    fn item(&mut self, node: u64, standing: Told) {
        let item = Item {
            node: NodeId(node),
            boot: BOOT,
            generation: 1,
            profile_version: 0,
            held_version: 0,
            standing,
            trace: Trace {
                number: 1,
                age_ms: 0,
                promise_ms: 500,
            },
        };
        let items = vec![item];
        self.say(&Message::Items {
            is_last: false,
            items,
        });
    }
}

fn part(node: NodeId, index: u16, count: u16, hash: u64) -> Message {
    Message::Part(Part {
        title: Title {
            node,
            boot: BOOT,
            what: What::Held,
            version: 1,
        },
        generation: 1,
        hash,
        index,
        count,
        bytes: vec![0; 10],
    })
}

#[test]
fn members_beyond_the_bound_are_refused_until_one_is_gone() {
    let mut pair = Pair::new();
    for node in 10..10 + MEMBERS_MAX as u64 {
        pair.item(node, Told::Alive);
    }
    assert_eq!(pair.gossip.peers.len(), MEMBERS_MAX - 1);
    let refused = pair.gossip.counts().roster_full;
    assert_eq!(refused, 2);
    pair.gossip.left(pair.now, NodeId(10));
    pair.item(50_000, Told::Alive);
    assert_eq!(pair.gossip.peers.len(), MEMBERS_MAX - 1);
    assert!(pair.gossip.peers.contains_key(&NodeId(50_000)));
    assert!(!pair.gossip.peers.contains_key(&NodeId(10)));
    assert_eq!(pair.gossip.counts().roster_full, refused);
}

#[test]
fn blobs_in_parts_are_bounded_and_those_that_stall_make_room() {
    let mut pair = Pair::new();
    for node in 10..40 {
        pair.item(node, Told::Alive);
        pair.say(&part(NodeId(node), 0, 2, 1));
    }
    assert_eq!(pair.gossip.assembling.len(), 16);
    assert_eq!(pair.gossip.counts().assemblies_full, 14);
    pair.now += Span::s(7);
    pair.gossip.expire(pair.now);
    assert_eq!(pair.gossip.assembling.len(), 0);
    pair.say(&part(NodeId(39), 0, 2, 1));
    assert_eq!(pair.gossip.assembling.len(), 1);
}

#[test]
fn a_blob_that_is_not_what_its_hash_says_is_not_taken() {
    let mut pair = Pair::new();
    pair.say(&part(OTHER, 0, 1, 1));
    assert_eq!(pair.gossip.counts().spoilt, 1);
    assert_eq!(pair.gossip.peers[&OTHER].held.version(BOOT), 0);
}

#[test]
fn the_dead_are_forgotten_after_a_day() {
    let mut pair = Pair::new();
    pair.item(10, Told::Left);
    pair.now += Span::s(24 * 3_600 - 1);
    pair.gossip.expire(pair.now);
    assert!(pair.gossip.peers.contains_key(&NodeId(10)));
    pair.now += Span::s(2);
    pair.gossip.expire(pair.now);
    assert!(!pair.gossip.peers.contains_key(&NodeId(10)));
}

#[test]
fn l6_3_an_older_heartbeat_that_comes_late_takes_no_promise_back() {
    let mut pair = Pair::new();
    pair.number += 10;
    pair.say(&PROMISE);
    let beat = Message::Heartbeat(Heartbeat {
        promise_ms: 500,
        profile_version: 0,
        held_version: 0,
        held_hash: 0,
    });
    pair.say_numbered(&beat, pair.number - 1);
    assert_eq!(pair.gossip.peers[&OTHER].life.promise, Span::s(10));
    pair.say(&beat);
    assert_eq!(pair.gossip.peers[&OTHER].life.promise, Span::ms(500));
}

#[test]
fn l6_3_a_promise_that_something_later_overtook_is_noted_all_the_same() {
    let mut pair = Pair::new();
    pair.number += 10;
    pair.say(&Message::Probe);
    let said = pair.say_numbered(&PROMISE, pair.number - 1);
    assert_eq!(said, [Message::PromiseAck(7)]);
    assert_eq!(pair.gossip.peers[&OTHER].life.promise, Span::s(10));
}

/// The observer noted a promise that was taken back since, and its word came late; of the next one it knows nothing.
#[test]
fn l6_3_what_acknowledges_an_earlier_promise_is_none_of_the_next() {
    let mut pair = Pair::new();
    let promise = |pair: &mut Pair| {
        pair.gossip.input(pair.now, Input::Promise(Span::s(10)));
        let asked = pair.said().into_iter().find_map(|message| match message {
            Message::PromiseAsk { until, .. } => Some(until),
            _ => None,
        });
        asked.expect("its observer is asked")
    };
    let first = promise(&mut pair);
    pair.now += PROMISE_WAIT;
    pair.gossip.expire(pair.now);
    assert_eq!(pair.promised(), [false], "nobody noted it");
    let second = promise(&mut pair);
    pair.hear(&Message::PromiseAck(first));
    pair.gossip.expire(pair.now);
    assert_eq!(pair.promised(), []);
    pair.hear(&Message::PromiseAck(second));
    pair.gossip.expire(pair.now);
    assert_eq!(pair.promised(), [true]);
}

#[test]
fn l6_3_a_promise_that_was_noted_is_not_forgotten_for_one_that_another_missed() {
    let mut pair = Pair::new();
    pair.say(&PROMISE);
    let heard_later = Life {
        number: pair.number + 5,
        at: pair.now,
        promise: Span::ms(500),
    };
    pair.gossip.hear_of(pair.now, OTHER, heard_later);
    assert_eq!(pair.gossip.peers[&OTHER].life.promise, Span::s(10));
}

#[test]
fn l3_1b_what_a_voter_heard_counts_also_after_the_verdict() {
    let mut pair = Pair::new();
    pair.item(10, Told::Dead);
    let silent_at = |pair: &Pair| match pair.gossip.peers[&NodeId(10)].standing {
        Standing::Dead { silent_at } => silent_at,
        Standing::Alive | Standing::Left => panic!("it is dead"),
    };
    let first = silent_at(&pair);
    assert_eq!(first, pair.now + Span::ms(600));
    pair.now += Span::ms(300);
    pair.say(&Message::Vote(wire::Vote {
        subject: NodeId(10),
        boot: BOOT,
        trace: Trace {
            number: 1,
            age_ms: 100,
            promise_ms: 500,
        },
        is_late: true,
        is_void: false,
    }));
    assert_eq!(silent_at(&pair), first + Span::ms(200));
}

#[test]
fn an_acknowledgement_for_the_last_boot_is_not_malformed() {
    let mut pair = Pair::new();
    let acks = [Boot([9; 16]), pair.gossip.own.boot].map(|boot| {
        Message::Ack(wire::Ack {
            boot,
            profile_version: 0,
            held_version: 99,
            own_version: 0,
        })
    });
    let counted = acks.map(|ack| {
        pair.say(&ack);
        pair.gossip.counts().malformed
    });
    assert_eq!(counted, [0, 1]);
}

#[test]
fn a_spurious_expiry_is_harmless() {
    let mut pair = Pair::new();
    pair.gossip.expire(pair.now);
    pair.said();
    pair.gossip.expire(pair.now);
    assert_eq!(pair.said(), []);
}

#[test]
fn l2_1_last_words_that_another_heard_revive_nobody() {
    let mut pair = Pair::new();
    pair.item(10, Told::Dead);
    let told = |number, age_ms| {
        Message::Vote(wire::Vote {
            subject: NodeId(10),
            boot: BOOT,
            trace: Trace {
                number,
                age_ms,
                promise_ms: 500,
            },
            is_late: false,
            is_void: false,
        })
    };
    pair.now += Span::ms(100);
    pair.say(&told(5, 150));
    assert!(
        !pair.gossip.peers[&NodeId(10)].is_alive(),
        "heard before the verdict"
    );
    pair.say(&told(5, 50));
    assert!(!pair.gossip.peers[&NodeId(10)].is_alive(), "no news");
    pair.say(&told(6, 50));
    assert!(pair.gossip.peers[&NodeId(10)].is_alive());
}
