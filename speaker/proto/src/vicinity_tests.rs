//! Who is on the segment, by questions and answers.

use super::*;

const LINK: u32 = 3;
const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);

fn key(node: u64) -> Neighbour {
    Neighbour {
        ifindex: LINK,
        node: NodeId(node),
    }
}

fn mac(node: u64) -> Mac {
    Mac([2, 0, 0, 0, 1, u8::try_from(node).unwrap()])
}

fn ip(node: u64) -> IpAddr {
    IpAddr::from([192, 0, 2, u8::try_from(node).unwrap()])
}

fn targets(nodes: &[u64]) -> Targets {
    let target = |node: &u64| Target {
        from: OWN,
        mac: mac(*node),
        addresses: vec![ip(*node)],
    };
    nodes
        .iter()
        .map(|node| (key(*node), target(node)))
        .collect()
}

/// A machine on a segment where some nodes answer at once.
struct World {
    machine: Vicinity,
    now: Time,
    answering: BTreeSet<u64>,
    asked: Vec<(u64, Question)>,
    known: Vec<(u64, BTreeSet<Neighbour>)>,
}

impl World {
    fn new(answering: &[u64]) -> Self {
        Self {
            machine: Vicinity::new(),
            now: Time::ms(0),
            answering: answering.iter().copied().collect(),
            asked: Vec::new(),
            known: Vec::new(),
        }
    }

    fn input(&mut self, input: Input) {
        self.machine.input(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.machine.output() {
            let at = self.now.ns() / 1_000_000;
            match output {
                Output::Ask(question) => {
                    self.asked.push((at, question));
                    let is_there = |node: &&u64| {
                        question.place == (Vip(ip(**node)), LINK) && question.to == mac(**node)
                    };
                    if let Some(node) = self.answering.iter().find(is_there).copied() {
                        let heard = Input::Heard(question.place, mac(node));
                        self.machine.input(self.now, heard);
                    }
                }
                Output::Known(known) => self.known.push((at, (*known).clone())),
            }
        }
    }

    fn pass(&mut self, span: Span) {
        let end = self.now + span;
        while let Some((due, _)) = self.machine.deadline().filter(|(due, _)| *due <= end) {
            self.now = self.now.max(due);
            self.machine.expire(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn known(&self) -> Vec<(u64, Vec<u64>)> {
        let nodes = |set: &BTreeSet<Neighbour>| set.iter().map(|key| key.node.0).collect();
        self.known
            .iter()
            .map(|(at, set)| (*at, nodes(set)))
            .collect()
    }
}

#[test]
fn nobody_is_asked_before_anybody_is_looked_for() {
    let mut world = World::new(&[1]);
    world.pass(Span::s(60));
    assert!(world.asked.is_empty() && world.known.is_empty());
}

#[test]
fn who_answers_from_its_own_address_is_there() {
    let mut world = World::new(&[1, 2]);
    world.input(Input::LookFor(targets(&[1, 2])));
    assert_eq!(world.known(), [(0, vec![1, 2])]);
    let question = world.asked[0].1;
    assert_eq!((question.from, question.to), (OWN, mac(1)));
}

#[test]
fn an_answer_from_other_hardware_proves_nothing() {
    let mut world = World::new(&[]);
    world.input(Input::LookFor(targets(&[1])));
    world.input(Input::Heard((Vip(ip(1)), LINK), mac(9)));
    world.input(Input::Heard((Vip(ip(1)), LINK + 1), mac(1)));
    world.pass(Span::s(20));
    assert_eq!(world.known(), [(1_000, vec![])]);
}

#[test]
fn the_first_account_waits_for_the_silent_but_not_long() {
    let mut world = World::new(&[1]);
    world.input(Input::LookFor(targets(&[1, 2])));
    assert_eq!(world.known(), []);
    world.pass(Span::s(5));
    assert_eq!(world.known(), [(1_000, vec![1])]);
}

/// What is late on a busy machine is this process, and the answers wait for it.
#[test]
fn who_was_not_asked_again_had_no_time_to_answer() {
    let mut world = World::new(&[]);
    world.input(Input::LookFor(targets(&[1])));
    world.now = Time::ms(5_000);
    world.machine.expire(world.now);
    world.drain();
    assert_eq!(world.known(), []);
    world.input(Input::Heard((Vip(ip(1)), LINK), mac(1)));
    assert_eq!(world.known(), [(5_000, vec![1])]);
}

#[test]
fn who_is_added_before_the_first_account_is_in_it() {
    let mut world = World::new(&[1]);
    world.input(Input::LookFor(targets(&[2])));
    world.pass(Span::ms(900));
    world.input(Input::LookFor(targets(&[2, 3])));
    world.pass(Span::ms(900));
    assert_eq!(world.known(), []);
    world.input(Input::Heard((Vip(ip(3)), LINK), mac(3)));
    assert_eq!(world.known(), [(1_800, vec![3])]);
}

#[test]
fn a_list_of_nobody_has_an_account_at_once() {
    let mut world = World::new(&[]);
    world.input(Input::LookFor(Targets::new()));
    assert_eq!(world.known(), [(0, vec![])]);
}

#[test]
fn a_proof_lasts_ten_seconds() {
    let mut world = World::new(&[1, 2]);
    world.input(Input::LookFor(targets(&[1, 2])));
    world.pass(Span::s(7));
    world.answering.remove(&2);
    world.pass(Span::s(20));
    // Asked at 0, 3 and 6 s; the last answer was at 6 s.
    assert_eq!(world.known()[1..], [(16_000, vec![1])]);
    assert_eq!(world.machine.counts().lost, 1);
    world.answering.insert(2);
    world.pass(Span::s(4));
    assert_eq!(world.known().last().unwrap().1, [1, 2]);
}

#[test]
fn one_that_is_silent_at_first_is_asked_again_soon_and_then_seldom() {
    let mut world = World::new(&[]);
    world.input(Input::LookFor(targets(&[1])));
    world.pass(Span::s(10));
    let at: Vec<_> = world.asked.iter().map(|(at, _)| *at).collect();
    assert_eq!(at, [0, 200, 400, 600, 800, 1_000, 4_000, 7_000, 10_000]);
}

#[test]
fn who_is_as_before_keeps_its_proof() {
    let mut world = World::new(&[1, 2]);
    world.input(Input::LookFor(targets(&[1])));
    let asked = world.asked.len();
    world.input(Input::LookFor(targets(&[1, 2])));
    assert_eq!(world.asked.len(), asked + 1);
    assert_eq!(world.known(), [(0, vec![1]), (0, vec![1, 2])]);
}

#[test]
fn who_is_looked_for_no_longer_is_gone_at_once() {
    let mut world = World::new(&[1, 2]);
    world.input(Input::LookFor(targets(&[1, 2])));
    world.input(Input::LookFor(targets(&[2])));
    assert_eq!(world.known().last().unwrap().1, [2]);
    assert_eq!(world.machine.counts().lost, 0);
}

#[test]
fn another_hardware_address_must_prove_itself_anew() {
    let mut world = World::new(&[1]);
    world.input(Input::LookFor(targets(&[1])));
    let mut moved = targets(&[1]);
    moved.values_mut().for_each(|target| target.mac = mac(7));
    world.input(Input::LookFor(moved));
    assert_eq!(world.known().last().unwrap().1, Vec::<u64>::new());
}

#[test]
fn questions_are_paced_and_nobody_is_left_out() {
    let mut world = World::new(&[]);
    let many: Vec<u64> = (0..200).collect();
    world.input(Input::LookFor(targets(&many)));
    assert_eq!(world.asked.len(), 50);
    world.pass(Span::ms(999));
    assert!(world.asked.len() <= 400, "{}", world.asked.len());
    world.pass(Span::s(5));
    let asked: BTreeSet<_> = world.asked.iter().map(|(_, q)| q.place).collect();
    assert_eq!(asked.len(), 200);
}

#[test]
fn more_than_there_is_room_for_are_counted() {
    let mut world = World::new(&[]);
    let count = NEIGHBOURS_MAX as u64 + 3;
    let target = |node: u64| Target {
        from: OWN,
        mac: mac(1),
        addresses: vec![IpAddr::from(
            node.to_be_bytes()
                .repeat(2)
                .first_chunk::<16>()
                .copied()
                .unwrap(),
        )],
    };
    let many = (0..count).map(|node| (key(node), target(node)));
    world.input(Input::LookFor(many.collect()));
    assert_eq!(world.machine.counts().left_out, 3);
}
