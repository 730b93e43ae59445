//! The schedule of gratuitous frames and of telling askers, second by second.

use super::*;

fn place(ip: &str, link: u32) -> Place {
    (Vip(ip.parse().unwrap()), link)
}

fn answered(epoch: u64) -> Answered {
    Answered {
        mac: Mac([2, 0, 0, 0, 0, 1]),
        epoch: Epoch(epoch),
    }
}

fn answers(places: &[Place]) -> Input {
    Input::Answers(places.iter().map(|place| (*place, answered(1))).collect())
}

fn asker(place: Place, last: u8) -> Asker {
    Asker {
        place,
        client: [192, 0, 2, last].into(),
        mac: Mac([2, 0, 0, 0, 1, last]),
    }
}

/// Lets time run from deadline to deadline; what came out, and when in milliseconds.
fn run(machine: &mut Announce, from: Time, until: Time) -> Vec<(u64, Output)> {
    let mut seen = Vec::new();
    let mut now = from;
    for _ in 0..100_000 {
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

fn gratuitous(seen: &[(u64, Output)], of: Place) -> Vec<u64> {
    let is_of = |output: &Output| matches!(output, Output::Gratuitous(place, _) if *place == of);
    seen.iter()
        .filter(|(_, output)| is_of(output))
        .map(|(at, _)| *at)
        .collect()
}

fn frames_of(output: &Output) -> u64 {
    match output {
        Output::Gratuitous(place, _) => frames(*place),
        Output::Tell(..) => 1,
        Output::FindAskers(_) | Output::ClaimTo(..) => 0,
    }
}

#[test]
fn a_fresh_ipv4_entry_gets_a_burst_and_then_a_slow_refresh() {
    let mut machine = Announce::new();
    let vip = place("192.0.2.10", 2);
    machine.input(Time::ms(0), answers(&[vip]));
    let seen = run(&mut machine, Time::ms(0), Time::ms(130_000));
    assert_eq!(
        gratuitous(&seen, vip),
        [0, 100, 500, 1000, 2000, 4000, 64_000, 124_000]
    );
}

#[test]
fn rfc4861_7_2_6_three_advertisements_a_second_apart_and_then_only_refreshes() {
    let mut machine = Announce::new();
    let vip = place("2001:db8::10", 2);
    machine.input(Time::ms(0), answers(&[vip]));
    let seen = run(&mut machine, Time::ms(0), Time::ms(63_000));
    assert_eq!(gratuitous(&seen, vip), [0, 1000, 2000, 62_000]);
}

#[test]
fn saying_the_same_again_announces_nothing_again() {
    let mut machine = Announce::new();
    let vip = place("192.0.2.10", 2);
    machine.input(Time::ms(0), answers(&[vip]));
    run(&mut machine, Time::ms(0), Time::ms(5000));
    machine.input(Time::ms(5000), answers(&[vip]));
    assert!(run(&mut machine, Time::ms(5000), Time::ms(60_000)).is_empty());
}

#[test]
fn a_new_taking_or_hardware_address_starts_over() {
    let mut machine = Announce::new();
    let vip = place("192.0.2.10", 2);
    machine.input(Time::ms(0), answers(&[vip]));
    run(&mut machine, Time::ms(0), Time::ms(5000));
    machine.input(
        Time::ms(5000),
        Input::Answers(BTreeMap::from([(vip, answered(2))])),
    );
    let seen = run(&mut machine, Time::ms(5000), Time::ms(6000));
    assert_eq!(gratuitous(&seen, vip), [5000, 5100, 5500, 6000]);
    let other = Answered {
        mac: Mac([2; 6]),
        epoch: Epoch(2),
    };
    machine.input(
        Time::ms(7000),
        Input::Answers(BTreeMap::from([(vip, other)])),
    );
    let seen = run(&mut machine, Time::ms(7000), Time::ms(7050));
    assert_eq!(seen, [(7000, Output::Gratuitous(vip, other))]);
}

#[test]
fn what_is_no_longer_answered_for_is_silent_at_once() {
    let mut machine = Announce::new();
    let (gone, kept) = (place("192.0.2.10", 2), place("192.0.2.11", 2));
    machine.input(Time::ms(0), answers(&[gone, kept]));
    run(&mut machine, Time::ms(0), Time::ms(200));
    machine.input(
        Time::ms(300),
        Input::Askers(vec![asker(gone, 1), asker(kept, 2)]),
    );
    machine.input(Time::ms(300), answers(&[kept]));
    let seen = run(&mut machine, Time::ms(300), Time::ms(70_000));
    assert!(gratuitous(&seen, gone).is_empty());
    assert_eq!(gratuitous(&seen, kept), [500, 1000, 2000, 4000, 64_000]);
    machine.input(Time::ms(71_000), answers(&[]));
    assert_eq!(machine.deadline(), None, "nothing is left to do");
}

#[test]
fn hundreds_of_vips_make_no_storm_and_first_frames_go_first() {
    let mut machine = Announce::new();
    let vips: Vec<Place> = (0..500_u32)
        .map(|n| (Vip(std::net::Ipv4Addr::from(0x0a00_0000 + n).into()), 2))
        .collect();
    machine.input(Time::ms(0), answers(&vips));
    let seen = run(&mut machine, Time::ms(0), Time::ms(60_000));
    for window in 0..59_000 {
        let within = seen
            .iter()
            .filter(|(at, _)| (window..window + 1000).contains(at));
        let frames: u64 = within.map(|(_, output)| frames_of(output)).sum();
        assert!(
            frames <= FRAMES_PER_SECOND_MAX,
            "{frames} frames from {window} ms on"
        );
    }
    let firsts: BTreeSet<Place> = seen[..510]
        .iter()
        .filter_map(|(_, output)| match output {
            Output::Gratuitous(place, _) => Some(*place),
            Output::FindAskers(_) | Output::Tell(..) | Output::ClaimTo(..) => None,
        })
        .collect();
    assert!(
        firsts.len() >= 499,
        "repeats wait until each has been announced: {}",
        firsts.len()
    );
    for vip in &vips {
        assert_eq!(gratuitous(&seen, *vip).len(), 6);
    }
}

#[test]
fn l6_5_who_asked_before_is_told_after_the_first_frames_at_the_common_rate() {
    let mut machine = Announce::new();
    let vip = place("192.0.2.10", 2);
    machine.input(Time::ms(0), answers(&[vip]));
    let seen = run(&mut machine, Time::ms(0), Time::ms(600));
    assert_eq!(
        seen.last(),
        Some(&(600, Output::FindAskers(BTreeSet::from([vip]))))
    );
    let askers: Vec<Asker> = (0..=255).map(|last| asker(vip, last)).collect();
    machine.input(Time::ms(601), Input::Askers(askers.clone()));
    let seen = run(&mut machine, Time::ms(601), Time::ms(60_000));
    let told: Vec<Asker> = seen
        .iter()
        .filter_map(|(_, output)| match output {
            Output::Tell(asker, _) => Some(*asker),
            Output::Gratuitous(..) | Output::FindAskers(_) | Output::ClaimTo(..) => None,
        })
        .collect();
    assert_eq!(told, askers, "each once, in order");
    let first_second = seen.iter().filter(|(at, _)| *at < 1601);
    assert!(
        first_second
            .map(|(_, output)| frames_of(output))
            .sum::<u64>()
            <= FRAMES_PER_SECOND_MAX
    );
}

#[test]
fn rfc5227_2_4_a_stranger_s_claim_is_answered_once_in_ten_seconds() {
    let mut machine = Announce::new();
    let (vip, other) = (place("192.0.2.10", 2), place("192.0.2.11", 2));
    machine.input(Time::ms(0), answers(&[vip]));
    run(&mut machine, Time::ms(0), Time::ms(10_000));
    let mut defended = Vec::new();
    for at in (10_000..31_000).step_by(500) {
        machine.input(Time::ms(at), Input::Contested(vip));
        machine.input(Time::ms(at), Input::Contested(other));
        defended.extend(run(&mut machine, Time::ms(at), Time::ms(at)));
    }
    assert_eq!(gratuitous(&defended, vip), [10_000, 20_000, 30_000]);
    assert!(
        gratuitous(&defended, other).is_empty(),
        "not answered for here"
    );
    let seen = run(&mut machine, Time::ms(31_000), Time::ms(64_000));
    assert_eq!(
        gratuitous(&seen, vip),
        [64_000],
        "the schedule is as it was"
    );
}

#[test]
fn a_spurious_expiry_is_harmless() {
    let mut machine = Announce::new();
    machine.expire(Time::ms(1));
    assert_eq!((machine.output(), machine.deadline()), (None, None));
    machine.input(Time::ms(2), answers(&[place("192.0.2.10", 2)]));
    assert!(machine.output().is_some());
    machine.expire(Time::ms(3));
    assert_eq!(machine.output(), None);
}

/// The claims to single stations among what came out.
fn claims_to(seen: &[(u64, Output)]) -> Vec<(u64, Place, Mac)> {
    let claim = |(at, output): &(u64, Output)| match output {
        Output::ClaimTo(place, _, mac) => Some((*at, *place, *mac)),
        Output::Gratuitous(..) | Output::FindAskers(_) | Output::Tell(..) => None,
    };
    seen.iter().filter_map(claim).collect()
}

#[test]
fn l5_2_what_a_member_contests_is_announced_anew_where_it_is_answered_for() {
    let mut machine = Announce::new();
    let (held, other) = (place("192.0.2.10", 2), place("192.0.2.11", 2));
    machine.input(Time::ms(0), answers(&[held, other]));
    run(&mut machine, Time::ms(0), Time::ms(10_000));
    let gone = place("192.0.2.12", 2);
    let vips = BTreeSet::from([held.0, gone.0]);
    machine.input(Time::ms(10_000), Input::Claim(vips));
    let seen = run(&mut machine, Time::ms(10_000), Time::ms(20_000));
    assert_eq!(
        gratuitous(&seen, held),
        [10_000, 10_100, 10_500, 11_000, 12_000, 14_000]
    );
    assert!(gratuitous(&seen, other).is_empty() && gratuitous(&seen, gone).is_empty());
    assert!(
        !seen
            .iter()
            .any(|(_, output)| matches!(output, Output::FindAskers(_))),
        "clients were told"
    );
}

#[test]
fn l5_4_each_station_is_sent_one_claim_for_each_place_that_is_answered_for() {
    let mut machine = Announce::new();
    let held = [
        place("192.0.2.10", 2),
        place("192.0.2.10", 3),
        place("2001:db8::10", 2),
    ];
    machine.input(Time::ms(0), answers(&held));
    run(&mut machine, Time::ms(0), Time::ms(70_000));
    let macs = [Mac([2, 0, 0, 0, 0, 8]), Mac([2, 0, 0, 0, 0, 9])];
    let vips = BTreeSet::from([held[0].0, held[2].0, place("192.0.2.99", 2).0]);
    machine.input(Time::ms(70_000), Input::ClaimTo(vips, macs.to_vec()));
    let seen = claims_to(&run(&mut machine, Time::ms(70_000), Time::ms(71_000)));
    let all = held
        .iter()
        .flat_map(|place| macs.map(|mac| (70_000, *place, mac)));
    assert_eq!(seen, all.collect::<Vec<_>>());
}

#[test]
fn l5_4_claims_to_stations_have_a_rate_and_do_not_pile_up() {
    let mut machine = Announce::new();
    let vips: Vec<Place> = (0..3000_u32)
        .map(|n| (Vip(std::net::Ipv4Addr::from(0x0a00_0000 + n).into()), 2))
        .collect();
    machine.input(Time::ms(0), answers(&vips));
    run(&mut machine, Time::ms(0), Time::ms(1000));
    let all: BTreeSet<Vip> = vips.iter().map(|place| place.0).collect();
    let macs = vec![Mac([2, 0, 0, 0, 0, 8]), Mac([2, 0, 0, 0, 0, 9])];
    let mut seen = Vec::new();
    for turn in 0..10 {
        let now = Time::ms(1000 + turn * 200);
        machine.input(now, Input::ClaimTo(all.clone(), macs.clone()));
        seen.extend(run(&mut machine, now, now + Span::ms(199)));
    }
    let seen = claims_to(&seen);
    for (first, last) in seen
        .iter()
        .zip(seen.iter().skip(CLAIMS_PER_SECOND_MAX as usize))
    {
        assert!(last.0 - first.0 >= 999, "{first:?} and {last:?}");
    }
    let distinct: BTreeSet<(Place, Mac)> =
        seen.iter().map(|(_, place, mac)| (*place, *mac)).collect();
    assert_eq!(distinct.len(), seen.len(), "everyone before anyone again");
    assert!(machine.claims_lost() > 0);
    machine.input(Time::ms(4000), answers(&[]));
    assert_eq!(
        machine.deadline(),
        None,
        "no claim for what is not answered for"
    );
}
