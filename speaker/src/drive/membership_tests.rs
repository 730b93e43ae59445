//! Speakers that meet over real sockets on loopback, with the real machine and seal.

use super::super::wake::Wake;
use super::*;
use crate::edge::gossip::Secret;
use speaker_proto::gossip::Input;
use speaker_proto::member::Profile;
use speaker_proto::pulse::PERIOD;
use speaker_proto::{Boot, NodeName};
use std::sync::mpsc::{Receiver, sync_channel};
use zeroize::Zeroizing;

struct Node {
    id: NodeId,
    members: Membership,
    address: SocketAddr,
    heard: Receiver<Heard>,
    roster: Arc<Roster>,
    told: Vec<(NodeId, Vec<u8>)>,
    board: MembersBoard,
    next_beat: Time,
}

fn keys(text: &str) -> Keys {
    let secret = Secret::new(Zeroizing::new(text.as_bytes().to_vec()));
    Keys::Shared(secret.unwrap())
}

/// A node whose inbox takes so many.
fn node(last: u8, inbox: usize) -> Node {
    let name: NodeName = format!("n{last}").parse().unwrap();
    let id = NodeId(last.into());
    let sockets = Sockets::open(Some([127, 0, 0, 1].into()), 0).unwrap();
    let address = sockets.addresses()[0];
    let profile = Profile {
        addresses: vec![address],
        ..Profile::of(name)
    };
    let (hear, heard) = sync_channel(inbox);
    let board = MembersBoard::default();
    let start = Start {
        me: id,
        boot: Boot([last; 16]),
        profile: Arc::new(profile),
        held: Arc::default(),
        seed: last.into(),
        now: now(),
    };
    let members = Membership::new(Parts {
        start,
        sockets,
        hear: Box::new(move |what| hear.try_send(what).is_ok()),
        board: board.clone(),
    });
    Node {
        id,
        members,
        address,
        heard,
        roster: Arc::default(),
        told: Vec::new(),
        board,
        next_beat: now(),
    }
}

impl Node {
    fn knows_alive(&self, other: NodeId) -> bool {
        let member = self.roster.members.get(&other);
        member.is_some_and(|member| member.is_alive())
    }

    fn turn(&mut self) {
        let turn = now();
        self.members.receive(turn);
        if turn >= self.next_beat {
            self.next_beat = turn + PERIOD;
            self.members.beat(turn);
        }
        self.members.expire(turn);
        for heard in self.heard.try_iter() {
            match heard {
                Heard::Roster(roster) => self.roster = roster,
                Heard::Told(from, message) => self.told.push((from, message)),
            }
        }
    }
}

/// Lets all of them live until `done`, at most some seconds.
#[track_caller]
fn live(nodes: &mut [Node], done: impl Fn(&[Node]) -> bool) {
    let wake = Wake::new().unwrap();
    let until = now() + Span::s(20);
    while !done(nodes) {
        assert!(now() < until, "it did not happen in time");
        let beat = nodes.iter().map(|node| node.next_beat).min();
        let fds = nodes.iter().flat_map(|node| node.members.descriptors());
        wake.wait(fds, beat.unwrap().min(now() + PERIOD));
        nodes.iter_mut().for_each(Node::turn);
    }
}

fn know_each_other(nodes: &[Node]) -> bool {
    let [a, b] = nodes else { return false };
    a.knows_alive(b.id) && b.knows_alive(a.id) && a.roster.is_settled && b.roster.is_settled
}

/// Two nodes, of which the second knows of the first.
fn two(keys_of: [Option<Keys>; 2]) -> [Node; 2] {
    let mut nodes = [node(1, 64), node(2, 64)];
    for (node, keys) in nodes.iter_mut().zip(keys_of) {
        if let Some(keys) = keys {
            node.members.install(now(), keys);
        }
    }
    let first = nodes[0].address;
    let [one, two] = &mut nodes;
    one.members.input(now(), Input::Seeds([].into()));
    two.members.input(now(), Input::Seeds([first].into()));
    nodes
}

#[test]
fn speakers_that_share_a_secret_meet_and_talk() {
    let mut nodes = two([Some(keys("a")), Some(keys("a"))]);
    live(&mut nodes, know_each_other);
    let to = nodes[1].id;
    nodes[0]
        .members
        .input(now(), Input::Tell(to, b"hello".to_vec()));
    live(&mut nodes, |nodes| !nodes[1].told.is_empty());
    assert_eq!(nodes[1].told, [(nodes[0].id, b"hello".to_vec())]);
    let heartbeats = nodes[0].members.beat(now());
    assert_eq!((heartbeats.observers, heartbeats.accepted()), (1, 1));
}

#[test]
fn speakers_without_a_secret_meet_when_both_do_without() {
    let mut nodes = two([Some(Keys::None), Some(Keys::None)]);
    live(&mut nodes, know_each_other);
}

#[test]
fn another_secret_is_counted_and_not_believed() {
    let mut nodes = two([Some(keys("a")), Some(keys("b"))]);
    let dropped = |node: &Node| node.members.figures.dropped.values().sum::<u64>();
    live(&mut nodes, |nodes| dropped(&nodes[0]) >= 3);
    assert!(!nodes[0].knows_alive(nodes[1].id));
    assert_eq!(nodes[0].members.figures.received, 0);
}

#[test]
fn l2_4_without_its_secret_a_speaker_is_silent_and_goes_on_when_it_comes() {
    let mut nodes = two([Some(keys("a")), None]);
    nodes[1]
        .members
        .input(now(), Input::Tell(NodeId(1), vec![1]));
    for _ in 0..3 {
        nodes[1].next_beat = now();
        nodes[1].turn();
    }
    assert!(nodes[1].members.is_waiting());
    let figures = nodes[1].board.read();
    assert_eq!((figures.is_waiting, figures.sent), (true, 0));
    nodes[1].members.install(now(), keys("a"));
    live(&mut nodes, know_each_other);
    let figures = nodes[1].members.figures.clone();
    assert_eq!((figures.is_waiting, figures.messages_lost), (false, 1));
}

#[test]
fn l6_3_a_promise_is_kept_for_when_the_observers_know_of_it() {
    let mut nodes = two([Some(keys("a")), Some(keys("a"))]);
    live(&mut nodes, know_each_other);
    nodes[0].members.input(now(), Input::Promise(Span::s(10)));
    live(&mut nodes, |nodes| nodes[0].members.promised.is_some());
    assert_eq!(nodes[0].members.promised(), Some(true));
    let mut waiting = node(3, 1);
    waiting.members.input(now(), Input::Promise(Span::s(10)));
    assert_eq!(
        waiting.members.promised(),
        Some(false),
        "nobody can hear it"
    );
}

#[test]
fn a_roster_that_is_not_taken_is_told_again_and_a_message_is_lost() {
    let mut nodes = two([Some(keys("a")), Some(keys("a"))]);
    let (hear, heard) = sync_channel(0);
    nodes[1].members.parts.hear = Box::new(move |what| hear.try_send(what).is_ok());
    let deaf = |nodes: &[Node]| {
        let roster = nodes[1].members.roster.as_ref();
        roster.is_some_and(|roster| !roster.members.is_empty())
    };
    live(&mut nodes, |nodes| {
        deaf(nodes) && nodes[0].knows_alive(NodeId(2))
    });
    nodes[0]
        .members
        .input(now(), Input::Tell(NodeId(2), vec![1]));
    live(&mut nodes, |nodes| {
        nodes[1].members.figures.messages_lost == 1
    });
    drop(heard);
    let (hear, heard) = sync_channel(1);
    nodes[1].members.parts.hear = Box::new(move |what| hear.try_send(what).is_ok());
    nodes[1].turn();
    let Ok(Heard::Roster(roster)) = heard.try_recv() else {
        panic!("the newest roster is told as soon as it is taken");
    };
    assert!(roster.members.contains_key(&NodeId(1)));
    assert!(nodes[1].members.roster.is_none());
}

#[test]
fn what_others_send_to_the_port_is_counted_by_its_cause() {
    let mut nodes = [node(1, 64)];
    nodes[0].members.install(now(), keys("a"));
    let stranger = Sockets::open(Some([127, 0, 0, 1].into()), 0).unwrap();
    let long = [b"HGLO\x01".as_slice(), &[0; 1500]].concat();
    for datagram in [
        b"\x00memberlist".as_slice(),
        b"HGLO\x01\x01",
        b"HGLO\x02",
        &long,
    ] {
        stranger.send(nodes[0].address, datagram).unwrap();
    }
    live(&mut nodes, |nodes| {
        nodes[0].members.figures.dropped.values().sum::<u64>() == 4
    });
    let expected = [
        Dropped::Foreign,
        Dropped::Truncated,
        Dropped::TooLong,
        Dropped::Version,
    ];
    assert_eq!(
        nodes[0].members.figures.dropped,
        expected.map(|why| (why, 1)).into()
    );
    nodes[0].members.shown = Time::default();
    nodes[0].turn();
    assert_eq!(nodes[0].board.read().dropped.len(), 4);
}

#[test]
fn heartbeats_that_were_not_taken_count_against_the_observers() {
    let accepted = |accepted, refused, observers| {
        let heartbeats = Heartbeats {
            accepted,
            refused,
            observers,
        };
        heartbeats.accepted()
    };
    assert_eq!(accepted(5, 0, 5), 5);
    assert_eq!(accepted(7, 0, 5), 5, "two of them are no observers");
    assert_eq!(accepted(5, 2, 5), 3, "which two were refused is not known");
    assert_eq!(accepted(0, 5, 5), 0);
    assert_eq!(accepted(1, 0, 5), 1, "of the others no address is known");
}
