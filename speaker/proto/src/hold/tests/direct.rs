//! One machine, and others that say what no well-timed network would: late, twice, or in another order.

use super::super::message::{Message, NO_AGE, Say, decode, encode};
use super::super::*;
use super::world::{by_number, id, key, mac, name, vip, wish};
use crate::member::{Boot, HeldEntry, HeldState, Member, MemberLink, Profile, Standing};
use crate::{Machine, Span, Time};

/// Node 1, with the others' sides played by the test.
struct One {
    holds: Holds,
    now: Time,
    roster: Roster,
}

const ME: usize = 1;
const NEVER: [u32; 4] = [NO_AGE; 4];

impl One {
    fn new(adopted: &[u8]) -> Self {
        let holds = Holds::new(Start {
            me: id(ME),
            name: name(ME),
            adopted: adopted.iter().map(|n| (vip(*n), Epoch(5))).collect(),
            is_armed: true,
            drain_window: Span::s(3),
            rank: by_number,
            nonce: 0,
        });
        let mut roster = Roster {
            is_settled: true,
            ..Roster::default()
        };
        for other in [0, 2, 3] {
            roster.members.insert(id(other), Arc::new(member(other)));
        }
        let mut one = Self {
            holds,
            now: Time::ms(10_000),
            roster,
        };
        one.input(Input::Roster(Arc::new(one.roster.clone())));
        one
    }

    fn input(&mut self, input: Input) -> Vec<Output> {
        self.holds.input(self.now, input);
        std::iter::from_fn(|| self.holds.output()).collect()
    }

    fn pass(&mut self, ms: u64) -> Vec<Output> {
        let end = self.now + Span::ms(ms);
        let mut outputs = Vec::new();
        while let Some((at, _)) = self.holds.deadline().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.holds.expire(self.now);
            outputs.extend(std::iter::from_fn(|| self.holds.output()));
        }
        self.now = end;
        outputs
    }

    fn wish(&mut self, owner: Option<usize>, vips: &[u8]) -> Vec<Output> {
        let wishes = [(key(vips[0]), wish(owner, vips))];
        self.input(Input::Wishes(wishes.into_iter().collect()))
    }

    /// Another node becomes like this.
    fn other(&mut self, node: usize, change: impl FnOnce(&mut Member)) -> Vec<Output> {
        let mut member = (*self.roster.members[&id(node)]).clone();
        change(&mut member);
        self.roster.members.insert(id(node), Arc::new(member));
        self.input(Input::Roster(Arc::new(self.roster.clone())))
    }

    fn says(&mut self, node: usize, n: u8, entry: Option<(HeldState, u64)>) -> Vec<Output> {
        self.other(node, |member| {
            let mut held = (*member.held).clone();
            match entry {
                Some((state, epoch)) => {
                    let epoch = Epoch(epoch);
                    held.insert(key(n), HeldEntry { epoch, state });
                }
                None => {
                    held.remove(&key(n));
                }
            }
            member.held = Arc::new(held);
            member.held_version = member.held_version.next();
        })
    }

    /// All others have what was published last.
    fn all_ack(&mut self) -> Vec<Output> {
        let version = self.holds.published().0;
        let mut outputs = Vec::new();
        for node in [0, 2, 3] {
            outputs.extend(self.other(node, |member| member.acked = version));
        }
        outputs
    }

    fn told(&mut self, from: usize, n: u8, nonce: u64, say: Say) -> Vec<Output> {
        let vip = vip(n);
        let payload = encode(&[Message { vip, nonce, say }]).remove(0);
        self.input(Input::Told(id(from), payload))
    }

    fn applied(&mut self) -> Vec<Output> {
        self.input(Input::Applied(self.holds.version()))
    }

    fn hold(&self, n: u8) -> Hold {
        let holding = self.holds.held().get(&key(n));
        holding.map_or(Hold::Free, |holding| holding.hold)
    }

    fn published(&self, n: u8) -> Option<HeldState> {
        self.holds.published().1.get(&key(n)).map(|e| e.state)
    }
}

fn member(node: usize) -> Member {
    let link = MemberLink {
        name: "eth0".into(),
        mac: mac(node),
        has_arp: true,
        has_ndp: true,
    };
    Member {
        boot: Boot([1; 16]),
        profile: Arc::new(Profile {
            links: vec![link],
            macs: vec![mac(node)],
            ..Profile::of(name(node))
        }),
        standing: Standing::Alive,
        held: Arc::default(),
        held_version: HeldVersion(1),
        acked: HeldVersion(0),
        is_reachable: true,
        is_in_grace: false,
        has_met: true,
    }
}

/// What was told to whom.
fn tells(outputs: &[Output]) -> Vec<(NodeId, u64, Say)> {
    let mut tells = Vec::new();
    for output in outputs {
        if let Output::Tell(to, payload) = output {
            let messages = decode(payload).unwrap();
            tells.extend(messages.into_iter().map(|m| (*to, m.nonce, m.say)));
        }
    }
    tells
}

fn ask_nonce(outputs: &[Output]) -> u64 {
    let tells = tells(outputs);
    let ask = tells.iter().find(|(_, _, say)| *say == Say::Ask);
    ask.unwrap().1
}

#[test]
fn l3_1a_a_node_says_that_it_prepares_before_it_asks() {
    let mut one = One::new(&[]);
    one.says(0, 1, Some((HeldState::Holding, 7)));
    let outputs = one.wish(Some(ME), &[1]);
    let published = outputs
        .iter()
        .position(|o| matches!(o, Output::Publish(..)));
    let told = outputs.iter().position(|o| matches!(o, Output::Tell(..)));
    assert!(published.is_some() && published < told, "{outputs:?}");
    assert_eq!(one.published(1), Some(HeldState::Preparing));
}

#[test]
fn l3_1a_a_yield_to_an_earlier_attempt_is_refused() {
    let mut one = One::new(&[]);
    one.says(0, 1, Some((HeldState::Holding, 7)));
    let first = ask_nonce(&one.wish(Some(ME), &[1]));
    one.wish(Some(2), &[1]);
    let second = ask_nonce(&one.wish(Some(ME), &[1]));
    assert!(second > first);
    let outputs = one.told(0, 1, first, Say::Yield(Epoch(8), NEVER));
    assert_eq!(tells(&outputs), [(id(0), first, Say::Refuse)]);
    one.told(0, 1, second, Say::Yield(Epoch(8), NEVER));
    assert_eq!(one.hold(1), Hold::Holding);
    let twice = one.told(0, 1, second, Say::Yield(Epoch(8), NEVER));
    assert_eq!(tells(&twice), [(id(0), second, Say::Took)]);
}

#[test]
fn l3_1a_a_yield_waits_while_another_prepares() {
    let mut one = One::new(&[]);
    one.says(0, 1, Some((HeldState::Holding, 7)));
    let nonce = ask_nonce(&one.wish(Some(ME), &[1]));
    one.says(2, 1, Some((HeldState::Preparing, 9)));
    one.told(0, 1, nonce, Say::Yield(Epoch(8), NEVER));
    assert_ne!(one.hold(1), Hold::Holding);
    // It stands back, for it sees who was given it.
    one.says(2, 1, None);
    assert_eq!(one.hold(1), Hold::Holding);
}

#[test]
fn l3_1a_what_cannot_be_taken_goes_back_and_is_let_be_for_a_while() {
    let mut one = One::new(&[]);
    one.says(0, 1, Some((HeldState::Holding, 7)));
    let nonce = ask_nonce(&one.wish(Some(ME), &[1]));
    one.says(2, 1, Some((HeldState::Preparing, 9)));
    one.told(0, 1, nonce, Say::Yield(Epoch(8), NEVER));
    let outputs = one.pass(1_500);
    assert!(tells(&outputs).contains(&(id(0), nonce, Say::Refuse)));
    assert_eq!(one.published(1), None);
    one.says(0, 1, Some((HeldState::Holding, 10)));
    assert_eq!(tells(&one.pass(8_000)), []);
    assert!(!tells(&one.pass(2_000)).is_empty());
}

#[test]
fn l3_1b_what_is_let_be_for_a_while_is_taken_when_its_holder_dies() {
    let mut one = One::new(&[]);
    one.says(0, 1, Some((HeldState::Holding, 7)));
    let nonce = ask_nonce(&one.wish(Some(ME), &[1]));
    one.says(2, 1, Some((HeldState::Preparing, 9)));
    one.told(0, 1, nonce, Say::Yield(Epoch(8), NEVER));
    one.pass(1_500);
    one.says(2, 1, None);
    one.says(0, 1, Some((HeldState::Holding, 10)));
    assert_eq!(one.published(1), None);
    let silent_at = one.now;
    one.other(0, |member| member.standing = Standing::Dead { silent_at });
    one.all_ack();
    assert_eq!(one.hold(1), Hold::Holding);
}

#[test]
fn l3_1a_a_yield_does_not_stand_in_for_another_holder_that_died() {
    let mut one = One::new(&[]);
    one.says(0, 1, Some((HeldState::Holding, 7)));
    one.says(2, 1, Some((HeldState::Holding, 6)));
    let nonce = ask_nonce(&one.wish(Some(ME), &[1]));
    let silent_at = one.now + Span::ms(400);
    one.other(2, |member| member.standing = Standing::Dead { silent_at });
    one.told(0, 1, nonce, Say::Yield(Epoch(8), NEVER));
    assert_ne!(one.hold(1), Hold::Holding);
    one.pass(401);
    assert_eq!(one.hold(1), Hold::Holding);
}

#[test]
fn l3_1a_a_yield_does_not_stand_in_for_another_live_holder() {
    let mut one = One::new(&[]);
    one.says(0, 1, Some((HeldState::Holding, 7)));
    one.says(2, 1, Some((HeldState::Holding, 6)));
    let nonce = ask_nonce(&one.wish(Some(ME), &[1]));
    one.told(0, 1, nonce, Say::Yield(Epoch(8), NEVER));
    assert_ne!(one.hold(1), Hold::Holding);
    one.told(2, 1, nonce, Say::Clear(Epoch(8)));
    assert_eq!(one.hold(1), Hold::Holding);
}

#[test]
fn l3_1_what_a_process_said_is_void_when_another_runs() {
    let mut one = One::new(&[]);
    one.says(0, 1, Some((HeldState::Yielded(id(3)), 7)));
    let nonce = ask_nonce(&one.wish(Some(ME), &[1]));
    one.told(0, 1, nonce, Say::Clear(Epoch(100)));
    assert_eq!(one.hold(1), Hold::Preparing);
    one.other(0, |member| member.boot = Boot([2; 16]));
    one.says(0, 1, Some((HeldState::Holding, 50)));
    assert_eq!(one.hold(1), Hold::Asking);
}

#[test]
fn l3_1_a_later_taking_is_not_covered_by_an_earlier_answer() {
    let mut one = One::new(&[]);
    one.says(0, 1, Some((HeldState::Yielded(id(3)), 7)));
    let nonce = ask_nonce(&one.wish(Some(ME), &[1]));
    one.told(0, 1, nonce, Say::Clear(Epoch(8)));
    assert_eq!(one.hold(1), Hold::Preparing);
    one.says(0, 1, Some((HeldState::Holding, 9)));
    assert_eq!(one.hold(1), Hold::Asking);
}

#[test]
fn l3_1c_only_who_knows_this_very_preparing_has_acknowledged_it() {
    let mut one = One::new(&[]);
    one.all_ack();
    let before = one.wish(Some(ME), &[1]);
    assert!(!before.iter().any(|o| matches!(o, Output::Probe { .. })));
    let outputs = one.all_ack();
    assert!(outputs.iter().any(|o| matches!(o, Output::Probe { .. })));
}

#[test]
fn l3_1b_a_death_does_not_hide_what_another_dead_member_took_last() {
    let mut one = One::new(&[]);
    one.says(0, 1, Some((HeldState::Holding, 7)));
    let (first, later) = (one.now, one.now + Span::ms(300));
    one.other(0, |m| m.standing = Standing::Dead { silent_at: first });
    one.other(2, |m| m.standing = Standing::Dead { silent_at: later });
    one.wish(Some(ME), &[1]);
    one.all_ack();
    assert_ne!(one.hold(1), Hold::Holding);
    one.pass(301);
    assert_eq!(one.hold(1), Hold::Holding);
}

/// It may have come back meanwhile and have it again, unheard (seed 8007138).
#[test]
fn l3_1b_who_takes_from_one_that_fell_silent_long_ago_asks_the_segment_first() {
    for (ms, is_asked) in [(0, false), (199, false), (200, true), (60_000, true)] {
        let mut one = One::new(&[]);
        one.says(0, 1, Some((HeldState::Holding, 7)));
        let silent_at = one.now;
        one.other(0, |member| member.standing = Standing::Dead { silent_at });
        one.pass(ms);
        let mut outputs = one.wish(Some(ME), &[1]);
        outputs.extend(one.all_ack());
        let asks = outputs.iter().any(|o| matches!(o, Output::Probe { .. }));
        assert_eq!(asks, is_asked, "{ms}");
        assert_eq!(one.hold(1) == Hold::Holding, !is_asked, "{ms}");
    }
}

#[test]
fn l3_1_two_that_publish_it_leave_it_to_the_later_taking_and_then_to_precedence() {
    // Adopted in epoch 5; node 0 goes before this one, node 2 after it.
    for (other, epoch, is_kept) in [(0, 4, true), (0, 5, false), (2, 5, true), (2, 6, false)] {
        let mut one = One::new(&[1]);
        one.wish(Some(ME), &[1]);
        one.says(other, 1, Some((HeldState::Holding, epoch)));
        assert_eq!(one.hold(1) == Hold::Holding, is_kept, "{other} {epoch}");
    }
}

#[test]
fn l6_1_what_is_released_is_published_until_the_kernel_is_silent() {
    let mut one = One::new(&[1]);
    one.wish(Some(ME), &[1]);
    one.wish(None, &[1]);
    assert_eq!(one.hold(1), Hold::Free);
    assert_eq!(one.published(1), Some(HeldState::Holding));
    assert_eq!(
        tells(&one.told(0, 1, 9, Say::Ask)),
        [],
        "neither yes nor no"
    );
    let late = Say::Yield(Epoch(4), NEVER);
    assert_eq!(tells(&one.told(0, 1, 9, late)), []);
    one.applied();
    assert_eq!(one.published(1), None);
    let clear = tells(&one.told(0, 1, 9, Say::Ask));
    assert!(matches!(clear[..], [(_, 9, Say::Clear(until))] if until >= Epoch(5)));
}

#[test]
fn l6_1_nothing_is_yielded_before_the_kernel_is_silent() {
    let mut one = One::new(&[1]);
    one.wish(Some(0), &[1]);
    assert_eq!(tells(&one.told(0, 1, 9, Say::Ask)), []);
    assert_eq!(one.hold(1), Hold::Draining);
    assert_eq!(one.published(1), Some(HeldState::Holding));
    assert_eq!(tells(&one.pass(1_000)), []);
    let outputs = one.applied();
    assert_eq!(one.published(1), Some(HeldState::Yielded(id(0))));
    assert!(matches!(tells(&outputs)[..], [(_, 9, Say::Yield(..))]));
    let repeated = tells(&one.pass(500));
    assert_eq!(repeated.len(), 4, "after 20, 40, 240 and 440 ms");
}

#[test]
fn l6_1_a_question_that_comes_late_does_not_bring_back_what_was_refused() {
    let mut one = One::new(&[1]);
    one.wish(Some(0), &[1]);
    one.told(0, 1, 8, Say::Ask);
    one.applied();
    one.told(0, 1, 9, Say::Ask);
    one.told(0, 1, 8, Say::Ask);
    one.told(0, 1, 8, Say::Refuse);
    assert_eq!(one.hold(1), Hold::Draining, "the yield to 9 may be taken");
    one.told(0, 1, 9, Say::Refuse);
    assert_eq!(one.hold(1), Hold::Holding);
}

#[test]
fn l6_1_nobody_else_gets_what_is_on_its_way_to_another() {
    let mut one = One::new(&[1]);
    one.wish(Some(0), &[1]);
    one.told(0, 1, 8, Say::Ask);
    one.applied();
    one.wish(Some(2), &[1]);
    let answer = tells(&one.told(2, 1, 3, Say::Ask));
    assert_eq!(answer, [(id(2), 3, Say::Keep(message::Why::NotYet))]);
    one.told(0, 1, 8, Say::Took);
    let answer = tells(&one.told(2, 1, 3, Say::Ask));
    assert!(matches!(answer[..], [(_, 3, Say::Clear(_))]));
}

#[test]
fn l6_1_a_refusal_takes_nothing_back_while_another_holds_it() {
    let mut one = One::new(&[1]);
    one.wish(Some(0), &[1]);
    one.told(0, 1, 8, Say::Ask);
    one.applied();
    one.says(2, 1, Some((HeldState::Holding, 20)));
    one.told(0, 1, 8, Say::Refuse);
    assert_eq!(one.hold(1), Hold::Free);
}

#[test]
fn a_lapse_ends_everything_and_gives_back_what_was_given() {
    let mut one = One::new(&[2]);
    one.says(0, 1, Some((HeldState::Holding, 7)));
    let wishes = [
        (key(1), wish(Some(ME), &[1])),
        (key(2), wish(Some(ME), &[2])),
    ];
    let outputs = one.input(Input::Wishes(wishes.into_iter().collect()));
    let nonce = ask_nonce(&outputs);
    one.says(3, 1, Some((HeldState::Preparing, 9)));
    one.told(0, 1, nonce, Say::Yield(Epoch(8), NEVER));
    let outputs = one.input(Input::Lapsed);
    assert_eq!(tells(&outputs), [(id(0), nonce, Say::Refuse)]);
    assert_eq!((one.hold(1), one.hold(2)), (Hold::Lapsed, Hold::Lapsed));
    assert!(one.holds.published().1.is_empty());
    one.input(Input::Armed);
    assert_eq!(one.published(2), Some(HeldState::Preparing));
}

#[test]
fn where_two_use_one_name_nothing_is_held() {
    let mut one = One::new(&[1]);
    one.wish(Some(ME), &[1]);
    one.roster.is_name_taken = true;
    one.input(Input::Roster(Arc::new(one.roster.clone())));
    one.applied();
    assert_eq!(one.hold(1), Hold::Free);
    assert!(one.holds.published().1.is_empty());
}

#[test]
fn what_cannot_be_read_is_counted() {
    let mut one = One::new(&[1]);
    one.input(Input::Told(id(0), vec![1, 2, 3]));
    one.input(Input::Told(id(0), vec![9]));
    assert_eq!(one.holds.malformed(), 2);
}

#[test]
fn many_groups_are_asked_for_in_parts_and_in_few_datagrams() {
    let mut one = One::new(&[]);
    let vips: Vec<_> = (0..10_000_u32)
        .map(|n| std::net::IpAddr::from((0x0a00_0000 + n).to_be_bytes()))
        .collect();
    let holding = |epoch| HeldEntry {
        epoch,
        state: HeldState::Holding,
    };
    let held: HeldSet = vips
        .iter()
        .map(|ip| (GroupKey(*ip), holding(Epoch(7))))
        .collect();
    one.other(0, |member| member.held = Arc::new(held));
    let wishes: Wishes = vips
        .iter()
        .map(|ip| {
            let mut wish = wish(Some(ME), &[]);
            wish.vips.insert(Vip(*ip));
            (GroupKey(*ip), wish)
        })
        .collect();
    let outputs = one.input(Input::Wishes(wishes));
    assert_eq!(
        one.holds.held().len(),
        1_000,
        "the rest wait for the next turns"
    );
    let sent = outputs.iter().filter(|o| matches!(o, Output::Tell(..)));
    assert!(sent.count() < 10);
    assert_eq!(tells(&outputs).len(), 256);
    let rest = tells(&one.pass(450));
    let asked: BTreeSet<_> = rest.iter().map(|(_, nonce, _)| *nonce).collect();
    assert!(asked.len() >= 10_000 - 256, "{}", asked.len());
}

#[test]
fn l3_1_what_this_kernel_may_still_answer_for_is_not_taken_anew() {
    let mut one = One::new(&[1]);
    one.wish(None, &[1]);
    one.wish(Some(ME), &[1]);
    assert_eq!(one.hold(1), Hold::Free);
    one.applied();
    assert_eq!(one.published(1), Some(HeldState::Preparing));
}

#[test]
fn l6_3_a_group_that_was_adopted_in_part_is_taken_by_the_rules() {
    let mut one = One::new(&[1]);
    one.wish(Some(ME), &[1, 2]);
    assert_eq!(one.hold(1), Hold::Free);
    assert_eq!(
        (one.published(1), one.published(2)),
        (Some(HeldState::Holding), None)
    );
    one.applied();
    assert_eq!(one.published(2), Some(HeldState::Preparing));
}

#[test]
fn l3_1a_whom_the_last_yield_names_goes_before_who_has_precedence() {
    // Node 0 goes before this one, this one before node 3.
    for (heir, rival, is_going_on) in [(ME, 0, true), (3, 3, false)] {
        let mut one = One::new(&[]);
        one.says(2, 1, Some((HeldState::Yielded(id(heir)), 8)));
        one.wish(Some(ME), &[1]);
        one.says(rival, 1, Some((HeldState::Preparing, 9)));
        assert_eq!(one.published(1).is_some(), is_going_on, "{heir}");
        if is_going_on {
            one.pass(3_000);
            assert_eq!(one.published(1), None, "they do not see the same yields");
        }
    }
}

#[test]
fn l6_1_who_kept_its_part_is_asked_first_the_next_time() {
    let mut one = One::new(&[]);
    one.says(0, 1, Some((HeldState::Holding, 7)));
    one.says(2, 2, Some((HeldState::Holding, 7)));
    let nonce = ask_nonce(&one.wish(Some(ME), &[1, 2]));
    one.told(0, 1, nonce, Say::Yield(Epoch(8), NEVER));
    let outputs = one.told(2, 2, nonce, Say::Keep(message::Why::Disagree));
    assert_eq!(tells(&outputs), [(id(0), nonce, Say::Refuse)]);
    let again = tells(&one.says(0, 1, Some((HeldState::Holding, 10))));
    let asked: Vec<NodeId> = again.iter().map(|(to, ..)| *to).collect();
    assert_eq!(asked, [id(2)]);
}

#[test]
fn l6_1_who_gives_one_part_after_it_kept_both_is_not_taken_to_keep_the_other() {
    let mut one = One::new(&[]);
    one.says(0, 1, Some((HeldState::Holding, 7)));
    one.says(0, 2, Some((HeldState::Holding, 7)));
    let nonce = ask_nonce(&one.wish(Some(ME), &[1, 2]));
    one.told(0, 1, nonce, Say::Keep(message::Why::Disagree));
    one.told(0, 2, nonce, Say::Keep(message::Why::Disagree));
    one.pass(1_500);
    let first = one.told(0, 1, nonce, Say::Yield(Epoch(8), NEVER));
    assert_eq!(tells(&first), [(id(0), nonce, Say::Ask)], "for the other");
    one.told(0, 2, nonce, Say::Yield(Epoch(8), NEVER));
    assert_eq!(one.hold(1), Hold::Holding);
}

#[test]
fn l6_1_who_asked_long_stands_back_for_the_one_that_is_given_it() {
    // This node goes before node 3.
    let mut one = One::new(&[]);
    one.says(2, 1, Some((HeldState::Holding, 7)));
    one.wish(Some(ME), &[1]);
    one.pass(5_000);
    one.says(3, 1, Some((HeldState::Preparing, 9)));
    assert_eq!(one.published(1), Some(HeldState::Preparing));
    one.says(2, 1, Some((HeldState::Yielded(id(3)), 10)));
    assert_eq!(one.published(1), None);
}

#[test]
fn l5_2_who_lost_a_contest_asks_everybody_before_it_takes_what_the_dead_held() {
    let mut one = One::new(&[1]);
    one.wish(Some(ME), &[1]);
    one.says(0, 1, Some((HeldState::Holding, 3)));
    let silent_at = one.now;
    for node in [0, 2, 3] {
        one.other(node, |member| {
            member.is_reachable = false;
            member.standing = Standing::Dead { silent_at };
        });
    }
    let (group, by, mac) = (key(1), id(0), mac(0));
    one.input(Input::Claimed { group, by, mac });
    assert_eq!(one.hold(1), Hold::Contested);
    one.applied();
    let mut asked = Vec::new();
    for _ in 0..10 {
        let outputs = one.pass(200);
        let probes = outputs.iter().filter_map(|output| match output {
            Output::Probe { nonce, only, .. } => Some((*nonce, *only)),
            _ => None,
        });
        let probes: Vec<_> = probes.collect();
        for (nonce, only) in probes {
            asked.push(only);
            let answered = None;
            one.input(Input::Probed {
                group,
                nonce,
                answered,
            });
        }
    }
    assert_eq!(asked, [Some(mac), Some(mac), Some(mac), None]);
    assert_eq!(one.hold(1), Hold::Holding);
}

#[test]
fn l5_2_a_fence_from_before_is_not_lowered_before_it_is_known_who_there_is() {
    let unfenced = |outputs: &[Output]| outputs.contains(&Output::Unfence(key(1)));
    let mut one = One::new(&[1]);
    one.roster.is_settled = false;
    one.input(Input::Roster(Arc::new(one.roster.clone())));
    assert!(!unfenced(&one.wish(Some(ME), &[1])));
    assert!(!unfenced(&one.pass(1_000)));
    let (group, by, mac) = (key(1), id(0), mac(0));
    let asked = one.input(Input::Claimed { group, by, mac });
    assert!(matches!(tells(&asked)[..], [(_, _, Say::DidYouClaim)]));
    assert!(!unfenced(&asked), "its answer is waited for");
    one.pass(1_000);
    let mut one = One::new(&[1]);
    one.roster.is_settled = false;
    one.input(Input::Roster(Arc::new(one.roster.clone())));
    one.wish(Some(ME), &[1]);
    one.pass(1_000);
    one.roster.is_settled = true;
    let outputs = one.input(Input::Roster(Arc::new(one.roster.clone())));
    assert!(unfenced(&outputs));
}

#[test]
fn l6_3_whom_a_dead_holder_never_met_asks_its_kernel_before_it_takes() {
    let probes = |outputs: &[Output]| {
        let probes = outputs.iter().filter_map(|output| match output {
            Output::Probe { nonce, .. } => Some(*nonce),
            _ => None,
        });
        probes.collect::<Vec<_>>()
    };
    let mut one = One::new(&[]);
    one.says(0, 1, Some((HeldState::Holding, 7)));
    let silent_at = one.now;
    one.other(0, |member| {
        member.has_met = false;
        member.standing = Standing::Dead { silent_at };
    });
    one.wish(Some(ME), &[1]);
    let nonce = probes(&one.all_ack())[0];
    let group = key(1);
    let answered = Some(mac(0));
    one.input(Input::Probed {
        group,
        nonce,
        answered,
    });
    assert_ne!(
        one.hold(1),
        Hold::Holding,
        "it takes no claim of this node's for a member's"
    );
    let nonce = probes(&one.pass(1_000))[0];
    let answered = None;
    one.input(Input::Probed {
        group,
        nonce,
        answered,
    });
    assert_eq!(one.hold(1), Hold::Holding);
}

#[test]
fn l6_1_who_could_not_answer_does_not_take_back_what_is_refused() {
    let mut one = One::new(&[1]);
    one.wish(Some(0), &[1]);
    one.told(0, 1, 8, Say::Ask);
    one.applied();
    let lost = Wish {
        is_candidate: false,
        can_answer: false,
        ..wish(Some(0), &[1])
    };
    one.input(Input::Wishes([(key(1), lost)].into_iter().collect()));
    one.told(0, 1, 8, Say::Refuse);
    assert_eq!((one.hold(1), one.published(1)), (Hold::Free, None));
}

#[test]
fn l6_1_what_nobody_answers_to_is_nobodys_after_two_seconds() {
    let mut one = One::new(&[1]);
    one.wish(Some(0), &[1]);
    one.told(0, 1, 8, Say::Ask);
    one.applied();
    one.pass(2_100);
    let answer = tells(&one.told(2, 1, 3, Say::Ask));
    assert!(matches!(answer[..], [(_, 3, Say::Clear(_))]));
}

#[test]
fn l6_1_a_taking_that_is_seen_needs_no_answer() {
    let mut one = One::new(&[1]);
    one.wish(Some(0), &[1]);
    one.told(0, 1, 8, Say::Ask);
    one.applied();
    one.says(0, 1, Some((HeldState::Holding, 20)));
    assert_eq!(tells(&one.pass(1_000)), []);
    assert_eq!(one.hold(1), Hold::Draining);
}

#[test]
fn l3_2_a_stale_view_asks_no_fresh_holder() {
    let mut one = One::new(&[]);
    one.input(Input::Stale(true));
    one.says(0, 1, Some((HeldState::Holding, 7)));
    assert_eq!(tells(&one.wish(Some(ME), &[1])), []);
    assert_eq!(tells(&one.pass(5_000)), []);
    one.input(Input::Stale(false));
    assert!(!tells(&one.pass(1_000)).is_empty());
}

#[test]
fn l3_2_what_a_stale_view_gave_away_drains_to_its_end() {
    let mut one = One::new(&[1]);
    one.wish(Some(ME), &[1]);
    one.input(Input::Stale(true));
    one.told(0, 1, 8, Say::Ask);
    one.applied();
    one.says(0, 1, Some((HeldState::Holding, 20)));
    one.told(0, 1, 8, Say::Took);
    one.pass(2_900);
    assert_eq!(one.hold(1), Hold::Draining);
}
