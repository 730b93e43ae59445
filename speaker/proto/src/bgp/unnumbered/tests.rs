//! Links with and without routers, second by second.

use super::*;

const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

fn router(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last)
}

fn s(seconds: u64) -> Time {
    Time::ms(seconds * 1000)
}

fn outputs(machine: &mut Unnumbered) -> Vec<Output> {
    std::iter::from_fn(|| machine.output()).collect()
}

fn up(now: Time) -> Unnumbered {
    let mut machine = Unnumbered::new();
    machine.input(now, Input::Links(BTreeMap::from([(2, MAC)])));
    machine
}

fn heard(machine: &mut Unnumbered, now: Time, from: Ipv6Addr) -> Vec<Output> {
    outputs(machine);
    let input = Input::Heard {
        ifindex: 2,
        router: from,
    };
    machine.input(now, input);
    let found = outputs(machine).into_iter();
    found
        .filter(|output| matches!(output, Output::Found(..)))
        .collect()
}

/// Lets time pass, and tells when what was sent.
fn run(machine: &mut Unnumbered, until: Time) -> Vec<(Time, Output)> {
    let mut sent = Vec::new();
    while let Some((at, _)) = machine.deadline().filter(|(at, _)| *at <= until) {
        machine.expire(at);
        sent.extend(outputs(machine).into_iter().map(|output| (at, output)));
    }
    sent
}

#[test]
fn rfc4861_6_3_7_three_solicitations_four_seconds_apart() {
    let mut machine = up(s(0));
    let first = outputs(&mut machine);
    assert_eq!(first, [Output::Solicit(2, MAC), Output::Advertise(2, MAC)]);
    let sent = run(&mut machine, s(30));
    let asked: Vec<Time> = sent
        .iter()
        .filter(|(_, output)| matches!(output, Output::Solicit(..)))
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(asked, [s(4), s(8)]);
    let said = sent
        .iter()
        .filter(|(_, output)| matches!(output, Output::Advertise(..)));
    assert_eq!(
        said.map(|(at, _)| *at).collect::<Vec<_>>(),
        [s(10), s(20), s(30)]
    );
}

#[test]
fn a_router_that_is_heard_is_found_and_no_more_asked_for() {
    let mut machine = up(s(0));
    let found = heard(&mut machine, s(1), router(7));
    assert_eq!(found, [Output::Found(2, Some(router(7)))]);
    let sent = run(&mut machine, s(9));
    assert_eq!(sent, [], "nothing is due before the next advertisement");
    assert_eq!(heard(&mut machine, s(11), router(7)), []);
}

fn looked(machine: &mut Unnumbered, now: Time, routers: &[u16]) -> Vec<Output> {
    saw(machine, now, routers, &[])
}

fn saw(machine: &mut Unnumbered, now: Time, routers: &[u16], others: &[u16]) -> Vec<Output> {
    outputs(machine);
    let addresses = |last: &[u16]| last.iter().map(|last| router(*last)).collect();
    machine.input(
        now,
        Input::Neighbours {
            ifindex: 2,
            routers: addresses(routers),
            others: addresses(others),
        },
    );
    let found = outputs(machine).into_iter();
    found
        .filter(|output| matches!(output, Output::Found(..)))
        .collect()
}

#[test]
fn where_nobody_advertises_itself_the_neighbours_are_looked_through() {
    let mut machine = up(s(0));
    let sent = run(&mut machine, s(35));
    let look = Output::Look(2, Whom::Routers);
    let looks = sent.iter().filter(|(_, output)| *output == look);
    let looks: Vec<Time> = looks.map(|(at, _)| *at).collect();
    assert_eq!(looks, [s(12), s(17), s(22), s(27), s(32)]);
    assert_eq!(looked(&mut machine, s(35), &[]), []);
    let found = looked(&mut machine, s(36), &[7]);
    assert_eq!(found, [Output::Found(2, Some(router(7)))]);
    assert_eq!(looked(&mut machine, s(37), &[7]), []);
    assert_eq!(
        looked(&mut machine, s(38), &[]),
        [],
        "nobody better is known"
    );
    let found = looked(&mut machine, s(39), &[8]);
    assert_eq!(
        found,
        [Output::Found(2, Some(router(8)))],
        "it was exchanged"
    );
}

#[test]
fn of_several_routers_that_do_not_advertise_themselves_none_is_taken() {
    let mut machine = up(s(0));
    assert_eq!(looked(&mut machine, s(12), &[7, 8]), []);
    let rivals = machine.rivals(2);
    assert_eq!((rivals.routers, rivals.others), (2, 0));
    let found = looked(&mut machine, s(22), &[8]);
    assert_eq!(found, [Output::Found(2, Some(router(8)))]);
    assert_eq!(machine.rivals(2), Rivals::default());
    assert_eq!(looked(&mut machine, s(32), &[7, 8]), []);
    assert_eq!(machine.rivals(2), Rivals::default(), "the first one stays");
}

#[test]
fn where_nobody_calls_itself_a_router_everybody_is_asked_and_who_is_alone_is_it() {
    let mut machine = up(s(0));
    for at in [12, 17] {
        let sent = run(&mut machine, s(at));
        let look = (s(at), Output::Look(2, Whom::Routers));
        assert!(sent.contains(&look), "{sent:?}");
        assert_eq!(saw(&mut machine, s(at), &[], &[7]), [], "not all are known");
    }
    let sent = run(&mut machine, s(22));
    assert!(sent.contains(&(s(22), Output::Look(2, Whom::Everybody))));
    // Their answers are seen at the next look.
    assert_eq!(saw(&mut machine, s(22), &[], &[7]), []);
    let found = saw(&mut machine, s(27), &[], &[7]);
    assert_eq!(found, [Output::Found(2, Some(router(7)))]);
    assert_eq!(saw(&mut machine, s(32), &[], &[7]), []);
    assert_eq!(saw(&mut machine, s(37), &[], &[7, 8]), [], "it stays");
    let found = saw(&mut machine, s(42), &[8], &[7]);
    assert_eq!(found, [Output::Found(2, Some(router(8)))], "a router");
    assert_eq!(saw(&mut machine, s(47), &[], &[7]), []);
}

#[test]
fn of_several_that_are_no_routers_none_is_taken() {
    let mut machine = up(s(0));
    for at in [12, 17, 22, 27] {
        assert_eq!(saw(&mut machine, s(at), &[], &[7, 8]), []);
    }
    let rivals = machine.rivals(2);
    assert_eq!((rivals.routers, rivals.others), (0, 2));
    let found = saw(&mut machine, s(32), &[], &[8]);
    assert_eq!(found, [Output::Found(2, Some(router(8)))], "one has gone");
    assert_eq!(machine.rivals(2).others, 0);
}

#[test]
fn an_only_neighbour_that_turns_out_a_router_stays() {
    let mut machine = up(s(0));
    for at in [12, 17, 22, 27] {
        saw(&mut machine, s(at), &[], &[7]);
    }
    assert_eq!(looked(&mut machine, s(37), &[7]), []);
    assert_eq!(saw(&mut machine, s(42), &[], &[8]), []);
}

#[test]
fn who_advertises_itself_counts_more_than_what_neighbours_are() {
    let mut machine = up(s(0));
    looked(&mut machine, s(12), &[7]);
    let found = heard(&mut machine, s(13), router(8));
    assert_eq!(found, [Output::Found(2, Some(router(8)))]);
    assert_eq!(looked(&mut machine, s(14), &[7]), []);
    let sent = run(&mut machine, s(60));
    let is_look = |output: &Output| matches!(output, Output::Look(..));
    assert!(sent.iter().all(|(_, output)| !is_look(output)), "{sent:?}");
}

#[test]
fn the_first_of_two_routers_stays_for_as_long_as_it_is_heard() {
    let mut machine = up(s(0));
    heard(&mut machine, s(1), router(7));
    assert_eq!(heard(&mut machine, s(2), router(8)), []);
    heard(&mut machine, s(11), router(7));
    assert_eq!(heard(&mut machine, s(40), router(8)), []);
    let found = heard(&mut machine, s(41), router(8));
    assert_eq!(found, [Output::Found(2, Some(router(8)))]);
}

#[test]
fn a_link_that_comes_back_begins_anew() {
    let mut machine = up(s(0));
    heard(&mut machine, s(1), router(7));
    machine.input(s(2), Input::Links(BTreeMap::new()));
    assert_eq!(outputs(&mut machine), [Output::Found(2, None)]);
    assert_eq!(machine.deadline(), None);
    machine.input(s(3), Input::Links(BTreeMap::from([(2, MAC)])));
    assert!(outputs(&mut machine).contains(&Output::Solicit(2, MAC)));
}

#[test]
fn rfc4861_6_1_2_only_link_local_sources_are_routers_and_only_of_links_with_peers() {
    let mut machine = up(s(0));
    assert_eq!(
        heard(&mut machine, s(1), "2001:db8::1".parse().unwrap()),
        []
    );
    let elsewhere = Input::Heard {
        ifindex: 3,
        router: router(7),
    };
    machine.input(s(1), elsewhere);
    assert_eq!(outputs(&mut machine), []);
}

#[test]
fn rfc4861_4_1_messages_carry_the_link_layer_address_and_no_lifetime() {
    let solicitation = solicitation(MAC);
    assert_eq!(solicitation[..8], [133, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(solicitation[8..], [1, 1, 2, 0, 0, 0, 0, 1]);
    let advertisement = advertisement(MAC);
    assert_eq!(advertisement[0], 134);
    assert_eq!(
        advertisement[1..16],
        [0; 15],
        "router lifetime 0 among them"
    );
    assert_eq!(advertisement[16..], [1, 1, 2, 0, 0, 0, 0, 1]);
}
