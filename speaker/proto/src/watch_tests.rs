//! What an heir sees, second by second.

use super::*;
use crate::Vip;
use std::net::Ipv4Addr;

const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
const HOLDER: Mac = Mac([2, 0, 0, 0, 0, 2]);
const STRANGER: Mac = Mac([2, 0, 0, 0, 0, 3]);

fn vip(n: u32) -> Vip {
    Vip(Ipv4Addr::from(0x0a00_0000 + n).into())
}

fn group(n: u32) -> GroupKey {
    GroupKey(vip(n).0)
}

fn watched(places: &[Place]) -> Watched {
    Watched {
        places: places.iter().map(|place| (*place, OWN)).collect(),
        holder: BTreeSet::from([HOLDER]),
        only: None,
        interval: HEIR_INTERVAL,
    }
}

fn watch(groups: impl IntoIterator<Item = (GroupKey, Watched)>) -> Input {
    Input::Watch(Arc::new(groups.into_iter().collect()))
}

/// Lets time run from deadline to deadline with a segment that `answers` probes; what else came out, and when in milliseconds.
fn run(
    machine: &mut Watch,
    from: u64,
    until: u64,
    answers: impl Fn(&Probe) -> Option<Mac>,
) -> (Vec<u64>, Vec<(u64, Output)>) {
    let (mut sent, mut seen) = (Vec::new(), Vec::new());
    let mut now = Time::ms(from);
    loop {
        while let Some(output) = machine.output() {
            let at = now.ns() / 1_000_000;
            match output {
                Output::Send(probe) => {
                    sent.push(at);
                    if let Some(mac) = answers(&probe) {
                        machine.input(now, Input::Heard(probe.place, mac));
                    }
                }
                other => seen.push((at, other)),
            }
        }
        match machine.deadline() {
            Some((due, _)) if due <= Time::ms(until) => now = now.max(due),
            Some(_) | None => return (sent, seen),
        }
        machine.expire(now);
    }
}

fn missing(was_answered: bool) -> Output {
    Output::Missing {
        group: group(1),
        was_answered,
        is_among_others: false,
    }
}

fn missing_among_others() -> Output {
    Output::Missing {
        group: group(1),
        was_answered: true,
        is_among_others: true,
    }
}

#[test]
fn l6_7_a_holder_that_answers_is_asked_once_a_second_and_nothing_is_told() {
    let mut machine = Watch::new();
    machine.input(Time::ms(500), watch([(group(1), watched(&[(vip(1), 2)]))]));
    let (sent, seen) = run(&mut machine, 500, 5500, |_| Some(HOLDER));
    assert_eq!(sent, [500, 1500, 2500, 3500, 4500, 5500]);
    assert_eq!(seen, []);
    let counts = machine.counts();
    assert_eq!((counts.answered, counts.missed), (6, 0));
}

#[test]
fn l6_7_three_misses_are_told_once_and_so_is_their_end() {
    let mut machine = Watch::new();
    let list = || watch([(group(1), watched(&[(vip(1), 2)]))]);
    machine.input(Time::ms(0), list());
    run(&mut machine, 0, 5000, |_| Some(HOLDER));
    let (_, seen) = run(&mut machine, 5001, 7999, |_| None);
    assert_eq!(seen, [], "two misses are none");
    machine.input(Time::ms(8000), list());
    let (_, seen) = run(&mut machine, 8000, 20_000, |_| None);
    assert_eq!(
        seen,
        [(9000, missing(true))],
        "the same list changes nothing"
    );
    let (_, seen) = run(&mut machine, 20_001, 30_000, |_| Some(HOLDER));
    assert_eq!(seen, [(21_000, Output::Answering(group(1)))]);
}

#[test]
fn l6_7_a_holder_that_never_answered_may_be_on_another_segment() {
    let mut machine = Watch::new();
    let (near, far) = ((vip(1), 2), (vip(1), 3));
    machine.input(Time::ms(0), watch([(group(1), watched(&[near, far]))]));
    let (_, seen) = run(&mut machine, 0, 5000, |probe| {
        (probe.place == near).then_some(HOLDER)
    });
    assert_eq!(seen, [(3000, missing(false))]);
    let (_, seen) = run(&mut machine, 5001, 12_000, |_| None);
    assert_eq!(seen, [(9000, missing(true))]);
    let (_, seen) = run(&mut machine, 12_001, 15_000, |probe| {
        (probe.place == near).then_some(HOLDER)
    });
    assert_eq!(seen, [(13_000, missing(false))]);
}

#[test]
fn l6_7_other_hardware_that_answers_is_told_of_once_in_ten_seconds() {
    let mut machine = Watch::new();
    machine.input(Time::ms(0), watch([(group(1), watched(&[(vip(1), 2)]))]));
    let (_, seen) = run(&mut machine, 0, 19_000, |probe| {
        assert_eq!((probe.from, probe.to), (OWN, None));
        Some(STRANGER)
    });
    let told = |at| {
        let stranger = Output::Unexpected {
            group: group(1),
            mac: STRANGER,
        };
        (at, stranger)
    };
    let missing = Output::Missing {
        group: group(1),
        was_answered: false,
        is_among_others: true,
    };
    assert_eq!(seen, [told(0), (3000, missing), told(10_000)]);
    machine.input(Time::ms(19_001), Input::Heard((vip(1), 2), OWN));
    machine.input(Time::ms(19_001), Input::Heard((vip(9), 2), STRANGER));
    assert_eq!(machine.output(), None, "this node, and another VIP");
}

#[test]
fn l6_3_a_promise_is_asked_for_by_unicast_ten_times_a_second() {
    let mut machine = Watch::new();
    let asked = Watched {
        only: Some(HOLDER),
        interval: PROMISE_INTERVAL,
        ..watched(&[(vip(1), 2)])
    };
    machine.input(Time::ms(0), watch([(group(1), asked)]));
    let (sent, seen) = run(&mut machine, 0, 1000, |probe| {
        assert_eq!(probe.to, Some(HOLDER));
        Some(HOLDER)
    });
    assert_eq!((sent.len(), seen.len()), (11, 0));
    let (_, seen) = run(&mut machine, 1001, 2000, |_| None);
    assert_eq!(seen, [(1400, missing(true))]);
}

/// A second VIP, of a witness, which `answers` or not.
fn with_witness(machine: &mut Watch, from: u64, until: u64, answers: bool) -> Vec<(u64, Output)> {
    let (_, seen) = run(machine, from, until, |probe| {
        (probe.group == group(2) && answers).then_some(STRANGER)
    });
    let of_holder = |(_, output): &(u64, Output)| !matches!(output, Output::Missing { group: of, .. } | Output::Answering(of) if *of == group(2));
    seen.into_iter().filter(of_holder).collect()
}

#[test]
fn l6_7_who_hears_nobody_may_itself_have_lost_the_segment() {
    let mut machine = Watch::new();
    let witness = Watched {
        holder: BTreeSet::from([STRANGER]),
        ..watched(&[(vip(2), 2)])
    };
    let list = [(group(1), watched(&[(vip(1), 2)])), (group(2), witness)];
    machine.input(Time::ms(0), watch(list));
    run(&mut machine, 0, 5000, |probe| {
        Some(if probe.group == group(1) {
            HOLDER
        } else {
            STRANGER
        })
    });
    let seen = with_witness(&mut machine, 5001, 12_000, false);
    assert_eq!(seen, [(9000, missing(true))]);
    let seen = with_witness(&mut machine, 12_001, 15_000, true);
    assert_eq!(seen, [(14_000, missing_among_others())]);
    let seen = with_witness(&mut machine, 15_001, 30_000, false);
    assert_eq!(seen, [], "it was seen to be the holder's fault");
}

#[test]
fn l6_7_one_family_proves_nothing_of_the_other() {
    let mut machine = Watch::new();
    let v6 = (Vip("2001:db8::1".parse().unwrap()), 2);
    machine.input(
        Time::ms(0),
        watch([(group(1), watched(&[(vip(1), 2), v6]))]),
    );
    let (_, seen) = run(&mut machine, 0, 9_000, |probe| {
        (probe.place != v6).then_some(HOLDER)
    });
    assert_eq!(seen, [(3000, missing(false))]);
}

#[test]
fn l6_7_a_holder_that_was_met_on_a_link_is_known_there_whatever_it_holds_later() {
    let mut machine = Watch::new();
    machine.input(Time::ms(0), watch([(group(1), watched(&[(vip(1), 2)]))]));
    run(&mut machine, 0, 1000, |_| Some(HOLDER));
    machine.input(Time::ms(1001), watch([]));
    machine.input(Time::ms(9000), watch([(group(1), watched(&[(vip(1), 2)]))]));
    let (_, seen) = run(&mut machine, 9000, 15_000, |_| None);
    assert_eq!(seen, [(12_000, missing(true))]);
}

#[test]
fn a_probe_that_could_not_be_sent_is_not_missed() {
    let mut machine = Watch::new();
    let place = (vip(1), 2);
    machine.input(Time::ms(0), watch([(group(1), watched(&[place]))]));
    for second in 0..10 {
        machine.expire(Time::ms(second * 1000));
        assert!(matches!(machine.output(), Some(Output::Send(_))));
        assert_eq!(machine.output(), None);
        machine.input(Time::ms(second * 1000), Input::Unsent(group(1), place));
    }
    machine.input(Time::ms(9999), Input::Unsent(group(2), place));
    assert_eq!(machine.counts().missed, 0);
}

#[test]
fn another_holder_begins_anew() {
    let mut machine = Watch::new();
    let place = (vip(1), 2);
    machine.input(Time::ms(0), watch([(group(1), watched(&[place]))]));
    run(&mut machine, 0, 2999, |_| None);
    let moved = Watched {
        holder: BTreeSet::from([STRANGER]),
        ..watched(&[place])
    };
    machine.input(Time::ms(2999), watch([(group(1), moved)]));
    let (_, seen) = run(&mut machine, 2999, 5998, |_| None);
    assert_eq!(seen, []);
    machine.input(Time::ms(5998), watch([]));
    assert_eq!(machine.deadline(), None, "nothing is watched");
}

#[test]
fn l6_7_hundreds_of_vips_are_asked_for_at_200_a_second() {
    let mut machine = Watch::new();
    let groups = |n| (group(n), watched(&[(vip(n), 2)]));
    machine.input(Time::ms(0), watch((0..500).map(groups)));
    let (sent, seen) = run(&mut machine, 0, 20_000, |_| Some(HOLDER));
    assert_eq!(seen, []);
    for (first, last) in sent
        .iter()
        .zip(sent.iter().skip(PROBES_PER_SECOND_MAX as usize))
    {
        assert!(last - first >= 999, "{first} and {last} within a second");
    }
    assert!(sent.len() > 3700, "{}", sent.len());
    assert_eq!(machine.counts().missed, 0);
}

#[test]
fn what_there_is_no_room_for_is_left_out_and_counted() {
    let mut machine = Watch::new();
    let half: Vec<Place> = (0..PLACES_MAX as u32 / 2).map(|n| (vip(n), 2)).collect();
    let other: Vec<Place> = half.iter().map(|(vip, _)| (*vip, 3)).collect();
    let three = [
        (group(1), watched(&half)),
        (group(2), watched(&other)),
        (group(3), watched(&[(vip(1), 4)])),
    ];
    machine.input(Time::ms(0), watch(three.clone()));
    assert_eq!(machine.counts().left_out, 1);
    let [first, _, last] = three;
    machine.input(Time::ms(0), watch([first, last]));
    assert_eq!(machine.counts().left_out, 0);
}
