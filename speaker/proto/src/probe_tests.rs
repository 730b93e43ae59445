//! Askings, millisecond by millisecond.

use super::*;
use crate::Vip;
use std::net::Ipv4Addr;

const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);
const THIRD: Mac = Mac([2, 0, 0, 0, 0, 3]);

fn vip(n: u32) -> Vip {
    Vip(Ipv4Addr::from(0x0a00_0000 + n).into())
}

fn group(n: u32) -> GroupKey {
    GroupKey(vip(n).0)
}

/// The group `n`, of one VIP on link 2.
fn ask(n: u32, nonce: u64) -> Ask {
    Ask {
        group: group(n),
        nonce,
        places: BTreeMap::from([((vip(n), 2), OWN)]),
        only: None,
    }
}

/// Lets time run from deadline to deadline; what came out, and when in milliseconds.
fn run(machine: &mut Probes, from: Time, until: Time) -> Vec<(u64, Output)> {
    let mut seen = Vec::new();
    let mut now = from;
    for _ in 0..1_000_000 {
        while let Some(output) = machine.output() {
            seen.push((now.ns() / 1_000_000, output));
        }
        match machine.deadline() {
            Some((due, _)) if due <= until => now = now.max(due),
            Some(_) | None => return seen,
        }
        machine.expire(now);
    }
    panic!("the machine asks to be woken again and again at {now:?}");
}

fn sent(seen: &[(u64, Output)]) -> Vec<(u64, Place)> {
    let probe = |(at, output): &(u64, Output)| match output {
        Output::Send(probe) => Some((*at, probe.place)),
        Output::Probed { .. } => None,
    };
    seen.iter().filter_map(probe).collect()
}

fn probed(seen: &[(u64, Output)]) -> Vec<(u64, u64, Option<Mac>)> {
    let probed = |(at, output): &(u64, Output)| match output {
        Output::Send(_) => None,
        Output::Probed {
            nonce, answered, ..
        } => Some((*at, *nonce, *answered)),
    };
    seen.iter().filter_map(probed).collect()
}

#[test]
fn l3_1c_a_group_is_unanswered_after_two_probes_of_each_vip_on_each_link() {
    let mut machine = Probes::new();
    let places = [(vip(1), 2), (vip(1), 3), (vip(2), 2)];
    machine.input(
        Time::ms(1000),
        Input::Ask(Ask {
            places: places.iter().map(|place| (*place, OWN)).collect(),
            ..ask(1, 7)
        }),
    );
    let seen = run(&mut machine, Time::ms(1000), Time::ms(9000));
    for place in places {
        let times: Vec<u64> = sent(&seen)
            .iter()
            .filter(|(_, of)| *of == place)
            .map(|(at, _)| *at)
            .collect();
        assert_eq!(times, [1000, 1050]);
    }
    assert_eq!(probed(&seen), [(1100, 7, None)]);
    assert_eq!(machine.deadline(), None);
    assert_eq!(machine.counts().unanswered, 1);
}

#[test]
fn l3_3_the_first_answer_is_told_at_once_and_ends_the_asking() {
    let mut machine = Probes::new();
    machine.input(Time::ms(0), Input::Ask(ask(1, 7)));
    run(&mut machine, Time::ms(0), Time::ms(0));
    machine.input(Time::ms(3), Input::Heard((vip(1), 9), OTHER));
    machine.input(Time::ms(3), Input::Heard((vip(2), 2), OTHER));
    machine.input(Time::ms(3), Input::Heard((vip(1), 2), OWN));
    assert_eq!(
        machine.output(),
        None,
        "another link, another VIP, this node"
    );
    machine.input(Time::ms(4), Input::Heard((vip(1), 2), OTHER));
    machine.input(Time::ms(5), Input::Heard((vip(1), 2), THIRD));
    let seen = run(&mut machine, Time::ms(4), Time::ms(1000));
    assert_eq!(probed(&seen), [(4, 7, Some(OTHER))]);
    assert!(sent(&seen).is_empty(), "no second probe");
}

#[test]
fn an_answer_to_the_second_probe_counts_until_its_time_is_over() {
    for (at, answered) in [(99, Some(OTHER)), (100, None)] {
        let mut machine = Probes::new();
        machine.input(Time::ms(0), Input::Ask(ask(1, 7)));
        let mut seen = run(&mut machine, Time::ms(0), Time::ms(at));
        machine.input(Time::ms(at), Input::Heard((vip(1), 2), OTHER));
        seen.extend(run(&mut machine, Time::ms(at), Time::ms(1000)));
        assert_eq!(probed(&seen), [(at, 7, answered)]);
    }
}

#[test]
fn l5_2_of_a_probe_to_one_station_only_its_own_answer_counts() {
    let mut machine = Probes::new();
    let only = Some(OTHER);
    machine.input(Time::ms(0), Input::Ask(Ask { only, ..ask(1, 7) }));
    let seen = run(&mut machine, Time::ms(0), Time::ms(0));
    let probe = Probe {
        group: group(1),
        place: (vip(1), 2),
        from: OWN,
        to: only,
    };
    assert_eq!(seen, [(0, Output::Send(probe))]);
    machine.input(Time::ms(1), Input::Heard((vip(1), 2), THIRD));
    let seen = run(&mut machine, Time::ms(1), Time::ms(1000));
    assert_eq!(probed(&seen), [(100, 7, None)]);
    machine.input(Time::ms(1000), Input::Ask(Ask { only, ..ask(1, 8) }));
    machine.input(Time::ms(1001), Input::Heard((vip(1), 2), OTHER));
    let seen = run(&mut machine, Time::ms(1001), Time::ms(2000));
    assert_eq!(probed(&seen), [(1001, 8, Some(OTHER))]);
}

#[test]
fn a_group_that_is_asked_for_again_is_answered_once_by_its_new_number() {
    let mut machine = Probes::new();
    machine.input(Time::ms(0), Input::Ask(ask(1, 7)));
    run(&mut machine, Time::ms(0), Time::ms(20));
    machine.input(Time::ms(20), Input::Ask(ask(1, 8)));
    let seen = run(&mut machine, Time::ms(20), Time::ms(1000));
    let times: Vec<u64> = sent(&seen).iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [20, 70]);
    assert_eq!(probed(&seen), [(120, 8, None)]);
}

#[test]
fn a_probe_that_cannot_be_sent_is_never_called_unanswered() {
    let mut machine = Probes::new();
    let place = (vip(1), 2);
    machine.input(Time::ms(0), Input::Ask(ask(1, 7)));
    // The second probe fails once.
    run(&mut machine, Time::ms(0), Time::ms(50));
    machine.input(Time::ms(50), Input::Unsent(group(1), place));
    let seen = run(&mut machine, Time::ms(50), Time::ms(1000));
    assert_eq!(sent(&seen), [(150, place)]);
    assert_eq!(probed(&seen), [(200, 7, None)]);
    // Every probe fails.
    machine.input(Time::ms(1000), Input::Ask(ask(1, 8)));
    let mut now = Time::ms(1000);
    let mut tries = 0;
    while let Some(output) = machine.output() {
        assert!(matches!(output, Output::Send(_)), "{output:?}");
        tries += 1;
        machine.input(now, Input::Unsent(group(1), place));
        if let Some((due, _)) = machine.deadline() {
            now = due;
            machine.expire(now);
        }
    }
    assert_eq!(tries, TRIES_MAX);
    assert_eq!((machine.counts().unsent, machine.deadline()), (1, None));
    machine.input(now, Input::Unsent(group(1), place));
    assert_eq!(machine.deadline(), None, "it is over");
}

#[test]
fn a_group_without_a_link_is_not_called_unanswered() {
    let mut machine = Probes::new();
    machine.input(
        Time::ms(0),
        Input::Ask(Ask {
            places: BTreeMap::new(),
            ..ask(1, 7)
        }),
    );
    assert_eq!((machine.output(), machine.deadline()), (None, None));
    assert_eq!(machine.counts().unsent, 1);
}

#[test]
fn thousands_of_groups_make_no_storm_and_the_first_are_done_first() {
    let mut machine = Probes::new();
    for n in 0..2000 {
        machine.input(Time::ms(0), Input::Ask(ask(n, u64::from(n))));
    }
    let seen = run(&mut machine, Time::ms(0), Time::ms(60_000));
    let times: Vec<u64> = sent(&seen).iter().map(|(at, _)| *at).collect();
    assert_eq!(times.len(), 4000);
    for (first, last) in times
        .iter()
        .zip(times.iter().skip(PROBES_PER_SECOND_MAX as usize))
    {
        assert!(last - first >= 999, "{first} and {last} within a second");
    }
    let order: Vec<u64> = probed(&seen).iter().map(|(_, nonce, _)| *nonce).collect();
    assert_eq!(order.len(), 2000);
    for (turn, nonce) in (0..).zip(&order) {
        assert!(nonce.abs_diff(turn) <= IN_FLIGHT_MAX as u64);
    }
    assert!(probed(&seen)[0].0 < 200);
}

#[test]
fn what_is_asked_beyond_the_room_for_it_is_refused_and_counted() {
    let mut machine = Probes::new();
    let room = (IN_FLIGHT_MAX + WAITING_MAX) as u32;
    for n in 0..room + 3 {
        machine.input(Time::ms(0), Input::Ask(ask(n, 1)));
    }
    assert_eq!(machine.counts().refused, 3);
    machine.input(Time::ms(0), Input::Ask(ask(room - 1, 2)));
    assert_eq!(machine.counts().refused, 3, "it waits already");
}

#[test]
fn a_group_that_is_asked_for_again_while_its_probes_are_out_does_not_lose_its_turn() {
    let mut machine = Probes::new();
    for n in 0..500 {
        machine.input(Time::ms(0), Input::Ask(ask(n, 1)));
    }
    run(&mut machine, Time::ms(0), Time::ms(10));
    machine.input(Time::ms(10), Input::Ask(ask(0, 2)));
    let seen = run(&mut machine, Time::ms(10), Time::ms(1000));
    let mut nonces = probed(&seen).into_iter();
    let again = nonces.find(|(_, nonce, _)| *nonce == 2);
    assert!(again.is_some_and(|(at, ..)| at < 600), "{again:?}");
}

#[test]
fn l5_2_hundreds_of_lost_groups_are_probed_five_times_a_second_whatever_else_is_asked() {
    let mut machine = Probes::new();
    for n in 1000..3000 {
        machine.input(Time::ms(0), Input::Ask(ask(n, 9)));
    }
    for turn in 0..5 {
        let now = Time::ms(turn * 200);
        for n in 0..500 {
            let only = Some(OTHER);
            machine.input(
                now,
                Input::Ask(Ask {
                    only,
                    ..ask(n, turn)
                }),
            );
        }
        let seen = run(&mut machine, now, now + Span::ms(199));
        let done = probed(&seen).into_iter();
        assert_eq!(done.filter(|(_, nonce, _)| *nonce == turn).count(), 500);
    }
}

#[test]
fn a_group_is_asked_for_in_one_way_at_a_time() {
    let mut machine = Probes::new();
    for n in 0..100 {
        machine.input(Time::ms(0), Input::Ask(ask(n, 1)));
    }
    // One whose probes are out, and one that waits.
    for n in [0, 99] {
        let only = Some(OTHER);
        machine.input(Time::ms(1), Input::Ask(Ask { only, ..ask(n, 2) }));
    }
    let seen = run(&mut machine, Time::ms(1), Time::ms(5000));
    let nonces = |wanted| {
        probed(&seen)
            .into_iter()
            .filter(move |(_, n, _)| *n == wanted)
    };
    assert_eq!((nonces(1).count(), nonces(2).count()), (98, 2));
    assert!(machine.everybody.waiting.is_empty() && machine.everybody.order.is_empty());
}

#[test]
fn l3_1c_answers_that_are_read_late_are_answers_to_all_that_were_asked() {
    let mut machine = Probes::new();
    for n in 1..=2 {
        machine.input(Time::ms(0), Input::Ask(ask(n, n.into())));
    }
    run(&mut machine, Time::ms(0), Time::ms(60));
    let late = Time::ms(500);
    for n in 1..=2 {
        machine.input(late, Input::Heard((vip(n), 2), OTHER));
    }
    let seen = run(&mut machine, late, late);
    let answered = Some(OTHER);
    assert_eq!(probed(&seen), [(500, 1, answered), (500, 2, answered)]);
}
