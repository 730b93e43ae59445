//! What becomes of an UPDATE with an attribute that is wrong: RFC 7606 row by row.

use super::*;

const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
const AS_PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xfc, 1];
const NEXT_HOP: &[u8] = &[0x40, 3, 4, 192, 0, 2, 9];
/// One prefix.
const PREFIX: &[u8] = &[24, 198, 51, 100];
/// Of two prefixes, with a next hop of 16 bytes.
const MP_REACH: &[u8] = &[
    0x80, 14, 27, 0, 2, 1, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 16, 0x20,
    1, 16, 0x20, 2,
];
const MP_UNREACH: &[u8] = &[0x80, 15, 6, 0, 2, 1, 16, 0x20, 3];

fn update(withdrawn: &[u8], attributes: &[&[u8]], announced: &[u8]) -> Vec<u8> {
    let attributes = attributes.concat();
    let mut out = Vec::new();
    encode::message(&mut out, Kind::Update, |out| {
        out.extend(u16::try_from(withdrawn.len()).unwrap().to_be_bytes());
        out.extend(withdrawn);
        out.extend(u16::try_from(attributes.len()).unwrap().to_be_bytes());
        out.extend(attributes);
        out.extend(announced);
    });
    out
}

/// What becomes of a route with these attributes beside the three that it needs.
#[derive(PartialEq, Eq, Debug)]
enum Fate {
    Announced,
    /// It is announced, and something was passed over.
    Discarded(&'static str),
    Withdrawn(&'static str),
    Reset(u8, u8),
}

fn fate_of(attributes: &[&[u8]], context: &Context) -> Fate {
    fate(&update(&[], attributes, PREFIX), context)
}

fn fate(bytes: &[u8], context: &Context) -> Fate {
    match read(bytes, context) {
        Ok(Message::Update(update)) => {
            match (update.announced, update.withdrawn, update.forgiven) {
                ([1, 0], [0, 0], None) => Fate::Announced,
                ([1, 0], [0, 0], Some(why)) => Fate::Discarded(why),
                ([0, 0], [1, 0], Some(why)) => Fate::Withdrawn(why),
                _ => panic!("{update:?}"),
            }
        }
        Err(Notification { code, subcode, .. }) => Fate::Reset(code, subcode),
        Ok(other) => panic!("{other:?}"),
    }
}

fn beside(attribute: &[u8], context: &Context) -> Fate {
    fate_of(&[ORIGIN, AS_PATH, NEXT_HOP, attribute], context)
}

fn external(attribute: &[u8]) -> Fate {
    beside(attribute, &context())
}

fn internal(attribute: &[u8]) -> Fate {
    let context = Context {
        is_ebgp: false,
        ..context()
    };
    beside(attribute, &context)
}

fn two_byte_as(attribute: &[u8]) -> Fate {
    let context = Context {
        has_four_byte_as: false,
        ..context()
    };
    let as_path = &[0x40, 2, 4, 2, 1, 0xfc, 1];
    fate_of(&[ORIGIN, as_path, NEXT_HOP, attribute], &context)
}

#[test]
fn a_route_with_what_it_needs_is_announced() {
    assert_eq!(
        fate_of(&[ORIGIN, AS_PATH, NEXT_HOP], &context()),
        Fate::Announced
    );
    let both = update(
        &[8, 10],
        &[MP_REACH, ORIGIN, AS_PATH, NEXT_HOP, MP_UNREACH],
        PREFIX,
    );
    let update = read_update(&both, &context());
    assert_eq!((update.announced, update.withdrawn), ([1, 2], [1, 1]));
    assert_eq!((update.forgiven, update.end_of_rib), (None, None));
}

#[test]
fn rfc4271_4_3_a_length_may_have_two_bytes_though_one_would_do() {
    let origin = &[0x50, 1, 0, 1, 0];
    assert_eq!(
        fate_of(&[origin, AS_PATH, NEXT_HOP], &context()),
        Fate::Announced
    );
}

#[test]
fn rfc4271_6_3_fields_that_are_longer_than_the_message_reset_the_session() {
    for body in [
        [0, 1, 0, 0],
        [0, 0, 0, 1],
        [0xff, 0xff, 0, 0],
        [0, 0, 0xff, 0xff],
    ] {
        let mut out = Vec::new();
        encode::message(&mut out, Kind::Update, |out| out.extend(body));
        assert_eq!(read(&out, &context()), Err(Notification::new(3, 1)));
    }
}

#[test]
fn rfc4271_6_3_an_unknown_well_known_attribute_resets_the_session_and_is_told() {
    let unknown = &[0x40, 99, 2, 7, 8];
    let bytes = update(&[], &[ORIGIN, AS_PATH, NEXT_HOP, unknown], PREFIX);
    let told = Notification {
        data: unknown.to_vec(),
        ..Notification::new(3, 2)
    };
    assert_eq!(read(&bytes, &context()), Err(told));
}

#[test]
fn rfc4271_9_an_unknown_optional_attribute_is_passed_over() {
    for flags in [0x80, 0xa0, 0xc0, 0xe0] {
        assert_eq!(external(&[flags, 99, 2, 7, 8]), Fate::Announced);
    }
}

#[test]
fn rfc7606_3_c_wrong_flags_are_treated_as_withdraw_whatever_the_attribute() {
    let sound: [(&[u8], &str); 10] = [
        (&[0x80, 4, 4, 0, 0, 0, 1], "MULTI_EXIT_DISC has wrong flags"),
        (&[0x40, 6, 0], "ATOMIC_AGGREGATE has wrong flags"),
        (
            &[0xc0, 7, 8, 0, 0, 0, 1, 1, 1, 1, 1],
            "AGGREGATOR has wrong flags",
        ),
        (&[0xc0, 8, 4, 0, 1, 0, 1], "COMMUNITIES has wrong flags"),
        (&[0x40, 5, 4, 0, 0, 0, 1], "LOCAL_PREF has wrong flags"),
        (&[0x80, 9, 4, 0, 0, 0, 1], "ORIGINATOR_ID has wrong flags"),
        (&[0x80, 10, 4, 0, 0, 0, 1], "CLUSTER_LIST has wrong flags"),
        (
            &[0xc0, 16, 8, 0, 0, 0, 0, 0, 0, 0, 0],
            "EXTENDED_COMMUNITIES has wrong flags",
        ),
        (
            &[0xc0, 32, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            "LARGE_COMMUNITY has wrong flags",
        ),
        (
            &[0xc0, 35, 4, 0, 0, 0, 1],
            "ONLY_TO_CUSTOMER has wrong flags",
        ),
    ];
    for (attribute, why) in sound {
        assert_eq!(internal(attribute), Fate::Announced, "{why}");
        for wrong in [0x80, 0x40, 0xc0] {
            let mut attribute = attribute.to_vec();
            attribute[0] ^= wrong;
            assert_eq!(internal(&attribute), Fate::Withdrawn(why));
        }
    }
    for (at, why) in ["ORIGIN", "AS_PATH", "NEXT_HOP"].into_iter().enumerate() {
        let mut needed = [ORIGIN, AS_PATH, NEXT_HOP].map(<[u8]>::to_vec);
        needed[at][0] = 0xc0;
        let needed = needed.each_ref().map(Vec::as_slice);
        let Fate::Withdrawn(said) = fate_of(&needed, &context()) else {
            panic!("{why}");
        };
        assert_eq!(said, format!("{why} has wrong flags"));
    }
}

#[test]
fn rfc7606_3_c_the_partial_bit_is_nothing_to_complain_of() {
    assert_eq!(external(&[0xe0, 8, 4, 0, 1, 0, 1]), Fate::Announced);
}

#[test]
fn rfc7606_3_c_wrong_flags_of_mp_reach_treat_its_prefixes_as_withdrawn() {
    let mut reach = MP_REACH.to_vec();
    reach[0] = 0x40;
    let update = read_update(&update(&[], &[&reach, ORIGIN, AS_PATH], &[]), &context());
    assert_eq!((update.announced, update.withdrawn), ([0, 0], [0, 2]));
    assert_eq!(update.forgiven, Some("MP_REACH_NLRI has wrong flags"));
}

#[test]
fn rfc7606_3_d_a_route_without_what_it_needs_is_treated_as_withdraw() {
    for (missing, why) in [
        ([AS_PATH, NEXT_HOP], "ORIGIN is missing"),
        ([ORIGIN, NEXT_HOP], "AS_PATH is missing"),
        ([ORIGIN, AS_PATH], "NEXT_HOP is missing"),
    ] {
        assert_eq!(fate_of(&missing, &context()), Fate::Withdrawn(why));
    }
    let of_v6 = |attributes: &[&[u8]]| read_update(&update(&[], attributes, &[]), &context());
    assert_eq!(of_v6(&[MP_REACH, ORIGIN, AS_PATH]).announced, [0, 2]);
    let without = of_v6(&[MP_REACH, ORIGIN]);
    assert_eq!((without.announced, without.withdrawn), ([0, 0], [0, 2]));
    assert_eq!(without.forgiven, Some("AS_PATH is missing"));
}

#[test]
fn rfc7606_3_g_of_an_attribute_that_stands_twice_the_first_counts() {
    let med: &[u8] = &[0x80, 4, 4, 0, 0, 0, 1];
    let wrong: &[u8] = &[0x80, 4, 1, 0];
    let all = [ORIGIN, AS_PATH, NEXT_HOP, med, wrong];
    let twice = Fate::Discarded("an attribute stands twice");
    assert_eq!(fate_of(&all, &context()), twice);
    let unknown: &[u8] = &[0xc0, 200, 0];
    let all = [ORIGIN, AS_PATH, NEXT_HOP, unknown, unknown];
    assert_eq!(fate_of(&all, &context()), twice);
}

#[test]
fn rfc7606_3_g_mp_reach_or_mp_unreach_twice_resets_the_session() {
    for twice in [MP_REACH, MP_UNREACH] {
        let bytes = update(&[], &[twice, twice, ORIGIN, AS_PATH], &[]);
        assert_eq!(read(&bytes, &context()), Err(Notification::new(3, 1)));
    }
}

#[test]
fn rfc7606_4_an_attribute_that_runs_beyond_all_is_treated_as_withdraw() {
    let why = Fate::Withdrawn("an attribute runs beyond the end of all");
    let beyond: [&[u8]; 6] = [
        &[0x80],
        &[0x80, 4],
        &[0x80, 4, 5, 0, 0, 0, 1],
        &[0x90, 4, 0],
        &[0x90, 4, 0, 5, 0, 0, 0, 1],
        &[0xc0, 8, 255],
    ];
    for attribute in beyond {
        assert_eq!(external(attribute), why, "{attribute:?}");
    }
}

#[test]
fn rfc7606_5_2_an_error_in_attributes_without_routes_resets_the_session() {
    let malformed = Err(Notification::new(3, 1));
    let wrong: &[u8] = &[0x80, 4, 1, 0];
    for attributes in [
        &[wrong][..],
        &[ORIGIN, wrong],
        &[MP_UNREACH, wrong],
        &[&[0x80]],
    ] {
        assert_eq!(
            read(&update(&[8, 10], attributes, &[]), &context()),
            malformed
        );
    }
    // What is discarded does no harm, and prefixes that are only withdrawn need no attributes.
    let atomic: &[u8] = &[0x40, 6, 1, 0];
    let update_of =
        |attributes: &[&[u8]]| read_update(&update(&[8, 10], attributes, &[]), &context());
    let discarded = update_of(&[atomic]);
    assert_eq!(discarded.withdrawn, [1, 0]);
    assert_eq!(discarded.forgiven, Some("ATOMIC_AGGREGATE is malformed"));
    let mut unreach = MP_UNREACH.to_vec();
    unreach[0] = 0xc0;
    assert_eq!(update_of(&[&unreach]).withdrawn, [1, 1]);
}

#[test]
fn rfc7606_5_3_prefixes_that_cannot_be_read_reset_the_session() {
    let malformed = Err(Notification::new(3, 10));
    for list in [&[33, 1, 2, 3, 4, 5][..], &[24, 1, 2], &[8], &[255]] {
        let announced = update(&[], &[ORIGIN, AS_PATH, NEXT_HOP], list);
        assert_eq!(read(&announced, &context()), malformed, "{list:?}");
        assert_eq!(read(&update(list, &[], &[]), &context()), malformed);
    }
    let mut reach = MP_REACH.to_vec();
    reach[24] = 129;
    let unreach: &[u8] = &[0x80, 15, 5, 0, 2, 1, 24, 0x20];
    for attribute in [&reach, unreach] {
        let told = Notification {
            data: attribute.to_vec(),
            ..Notification::new(3, 9)
        };
        let bytes = update(&[], &[attribute, ORIGIN, AS_PATH], &[]);
        assert_eq!(read(&bytes, &context()), Err(told));
    }
}

#[test]
fn rfc7606_7_1_origin_of_wrong_length_or_value_is_treated_as_withdraw() {
    for origin in [&[0x40, 1, 0][..], &[0x40, 1, 2, 0, 0], &[0x40, 1, 1, 3]] {
        let fate = fate_of(&[origin, AS_PATH, NEXT_HOP], &context());
        assert_eq!(fate, Fate::Withdrawn("ORIGIN is malformed"));
    }
    for value in 0..=2 {
        let origin: &[u8] = &[0x40, 1, 1, value];
        assert_eq!(
            fate_of(&[origin, AS_PATH, NEXT_HOP], &context()),
            Fate::Announced
        );
    }
}

#[test]
fn rfc7606_7_2_as_path_with_bad_segments_is_treated_as_withdraw() {
    let bad: [&[u8]; 7] = [
        // A type that is none, and no AS number in a segment.
        &[0x40, 2, 6, 5, 1, 0, 0, 0xfc, 1],
        &[0x40, 2, 6, 0, 1, 0, 0, 0xfc, 1],
        &[0x40, 2, 2, 2, 0],
        // A segment that runs beyond the end, and one byte that is left over.
        &[0x40, 2, 6, 2, 2, 0, 0, 0xfc, 1],
        &[0x40, 2, 7, 2, 1, 0, 0, 0xfc, 1, 2],
        &[0x40, 2, 1, 2],
        // Two-byte numbers where four were agreed on.
        &[0x40, 2, 4, 2, 1, 0xfc, 1],
    ];
    for as_path in bad {
        let fate = fate_of(&[ORIGIN, as_path, NEXT_HOP], &context());
        assert_eq!(fate, Fate::Withdrawn("AS_PATH is malformed"), "{as_path:?}");
    }
    let good: [&[u8]; 3] = [
        &[0x40, 2, 0],
        &[0x40, 2, 12, 2, 1, 0, 0, 0xfc, 1, 1, 1, 0, 0, 0xfc, 2],
        &[0x40, 2, 12, 3, 1, 0, 0, 0xfc, 1, 4, 1, 0, 0, 0xfc, 2],
    ];
    for as_path in good {
        assert_eq!(
            fate_of(&[ORIGIN, as_path, NEXT_HOP], &context()),
            Fate::Announced
        );
    }
}

#[test]
fn rfc7607_2_as_0_in_a_path_is_malformed() {
    let as_path: &[u8] = &[0x40, 2, 10, 2, 2, 0, 0, 0xfc, 1, 0, 0, 0, 0];
    let fate = fate_of(&[ORIGIN, as_path, NEXT_HOP], &context());
    assert_eq!(fate, Fate::Withdrawn("AS_PATH is malformed"));
    let aggregator = &[0xc0, 7, 8, 0, 0, 0, 0, 1, 1, 1, 1];
    assert_eq!(
        external(aggregator),
        Fate::Discarded("AGGREGATOR is malformed")
    );
    let as4_path = &[0xc0, 17, 6, 2, 1, 0, 0, 0, 0];
    assert_eq!(
        two_byte_as(as4_path),
        Fate::Discarded("AS4_PATH is malformed")
    );
}

#[test]
fn rfc7606_7_3_next_hop_of_wrong_length_is_treated_as_withdraw() {
    for next_hop in [
        &[0x40, 3, 0][..],
        &[0x40, 3, 3, 1, 1, 1],
        &[0x40, 3, 5, 1, 1, 1, 1, 1],
    ] {
        let fate = fate_of(&[ORIGIN, AS_PATH, next_hop], &context());
        assert_eq!(fate, Fate::Withdrawn("NEXT_HOP is malformed"));
    }
}

#[test]
fn rfc4760_3_next_hop_beside_mp_reach_is_not_looked_at() {
    let next_hop: &[u8] = &[0x40, 3, 0];
    let bytes = update(&[], &[MP_REACH, ORIGIN, AS_PATH, next_hop], &[]);
    let update = read_update(&bytes, &context());
    assert_eq!((update.announced, update.forgiven), ([0, 2], None));
}

#[test]
fn rfc7606_7_4_multi_exit_disc_of_wrong_length_is_treated_as_withdraw() {
    for med in [
        &[0x80, 4, 0][..],
        &[0x80, 4, 3, 0, 0, 1],
        &[0x80, 4, 5, 0, 0, 0, 0, 1],
    ] {
        assert_eq!(
            external(med),
            Fate::Withdrawn("MULTI_EXIT_DISC is malformed")
        );
    }
}

#[test]
fn rfc7606_7_5_local_pref_counts_within_the_as_only() {
    for local_pref in [
        &[0x40, 5, 0][..],
        &[0x40, 5, 3, 0, 0, 1],
        &[0x40, 5, 5, 0, 0, 0, 0, 1],
    ] {
        assert_eq!(
            internal(local_pref),
            Fate::Withdrawn("LOCAL_PREF is malformed")
        );
        assert_eq!(external(local_pref), Fate::Announced);
    }
}

#[test]
fn rfc7606_7_6_atomic_aggregate_with_a_value_is_discarded() {
    let why = Fate::Discarded("ATOMIC_AGGREGATE is malformed");
    assert_eq!(external(&[0x40, 6, 1, 0]), why);
    assert_eq!(external(&[0x40, 6, 0]), Fate::Announced);
}

#[test]
fn rfc7606_7_7_aggregator_of_wrong_length_is_discarded() {
    let (six, eight) = (
        &[0xc0, 7, 6, 0, 1, 1, 1, 1, 1],
        &[0xc0, 7, 8, 0, 0, 0, 1, 1, 1, 1, 1],
    );
    let why = Fate::Discarded("AGGREGATOR is malformed");
    assert_eq!(
        (external(eight), two_byte_as(six)),
        (Fate::Announced, Fate::Announced)
    );
    assert_eq!(external(six), why);
    assert_eq!(two_byte_as(eight), why);
    assert_eq!(external(&[0xc0, 7, 0]), why);
}

#[test]
fn rfc7606_7_8_communities_in_pieces_are_treated_as_withdraw() {
    for communities in [
        &[0xc0, 8, 0][..],
        &[0xc0, 8, 3, 1, 2, 3],
        &[0xc0, 8, 5, 1, 2, 3, 4, 5],
    ] {
        assert_eq!(
            external(communities),
            Fate::Withdrawn("COMMUNITIES is malformed")
        );
    }
}

#[test]
fn rfc7606_7_9_originator_id_counts_within_the_as_only() {
    for id in [
        &[0x80, 9, 0][..],
        &[0x80, 9, 3, 1, 1, 1],
        &[0x80, 9, 5, 1, 1, 1, 1, 1],
    ] {
        assert_eq!(internal(id), Fate::Withdrawn("ORIGINATOR_ID is malformed"));
        assert_eq!(external(id), Fate::Announced);
    }
}

#[test]
fn rfc7606_7_10_cluster_list_counts_within_the_as_only() {
    for list in [
        &[0x80, 10, 0][..],
        &[0x80, 10, 3, 1, 1, 1],
        &[0x80, 10, 5, 1, 1, 1, 1, 1],
    ] {
        assert_eq!(internal(list), Fate::Withdrawn("CLUSTER_LIST is malformed"));
        assert_eq!(external(list), Fate::Announced);
    }
}

/// An MP_REACH_NLRI of one prefix that has no bits, with a next hop of so many bytes.
fn reach_with(afi: u8, safi: u8, next_hop: u8) -> Vec<u8> {
    let mut attribute = vec![0x80, 14, next_hop + 6, 0, afi, safi, next_hop];
    attribute.extend(std::iter::repeat_n(1, next_hop.into()));
    attribute.extend([0, 0]);
    attribute
}

#[test]
fn rfc7606_7_11_mp_reach_with_a_next_hop_of_another_length_resets_the_session() {
    for next_hop in 0..60 {
        for (afi, lengths) in [(1, &[4, 16, 32][..]), (2, &[16, 32])] {
            let attribute = reach_with(afi, 1, next_hop);
            let bytes = update(&[], &[&attribute, ORIGIN, AS_PATH], &[]);
            let answer = read(&bytes, &context());
            if lengths.contains(&next_hop) {
                let counts = if afi == 1 { [1, 0] } else { [0, 1] };
                assert_eq!(read_update(&bytes, &context()).announced, counts);
            } else {
                let told = Notification {
                    data: attribute,
                    ..Notification::new(3, 9)
                };
                assert_eq!(answer, Err(told));
            }
        }
    }
}

#[test]
fn rfc7606_7_11_multiprotocol_attributes_that_hardly_begin_reset_the_session() {
    for attribute in [
        &[0x80, 14, 4, 0, 2, 1, 0][..],
        &[0x80, 14, 0],
        &[0x80, 15, 2, 0, 2],
        &[0x80, 15, 0],
    ] {
        assert_eq!(external(attribute), Fate::Reset(3, 9));
    }
}

#[test]
fn rfc4760_7_routes_of_families_that_nobody_asked_for_are_not_counted() {
    // VPN routes with a next hop of 12 bytes, and IPv6 where only IPv4 was agreed on.
    let vpn = reach_with(1, 128, 12);
    let only_v4 = Context {
        families: BTreeSet::from([Family::V4]),
        ..context()
    };
    for attribute in [&vpn, MP_REACH, MP_UNREACH] {
        let bytes = update(&[], &[attribute, ORIGIN, AS_PATH], &[]);
        assert_eq!(read_update(&bytes, &only_v4), Update::default());
    }
}

#[test]
fn rfc7606_7_14_extended_communities_in_pieces_are_treated_as_withdraw() {
    for communities in [&[0xc0, 16, 0][..], &[0xc0, 16, 4, 1, 2, 3, 4]] {
        assert_eq!(
            external(communities),
            Fate::Withdrawn("EXTENDED_COMMUNITIES is malformed")
        );
    }
}

#[test]
fn rfc7606_7_15_ipv6_extended_communities_in_pieces_are_treated_as_withdraw() {
    let why = Fate::Withdrawn("IPV6_EXTENDED_COMMUNITIES is malformed");
    assert_eq!(external(&[0xc0, 25, 0]), why);
    assert_eq!(external(&[0xc0, 25, 8, 0, 0, 0, 0, 0, 0, 0, 0]), why);
    assert_eq!(
        external(&[[0xc0, 25, 20].as_slice(), &[0; 20]].concat()),
        Fate::Announced
    );
}

#[test]
fn rfc8092_6_large_communities_in_pieces_are_treated_as_withdraw() {
    for communities in [&[0xc0, 32, 0][..], &[0xc0, 32, 8, 0, 0, 0, 0, 0, 0, 0, 0]] {
        assert_eq!(
            external(communities),
            Fate::Withdrawn("LARGE_COMMUNITY is malformed")
        );
    }
}

#[test]
fn rfc6793_6_attributes_for_old_speakers_are_discarded_when_wrong_and_when_from_a_new_one() {
    let path: &[u8] = &[0xc0, 17, 6, 2, 1, 0, 1, 0, 1];
    let aggregator: &[u8] = &[0xc0, 18, 8, 0, 1, 0, 1, 1, 1, 1, 1];
    let (no_path, no_aggregator): (&[u8], &[u8]) = (&[0xc0, 17, 1, 2], &[0xc0, 18, 1, 2]);
    for attribute in [path, aggregator, no_path, no_aggregator] {
        assert_eq!(external(attribute), Fate::Announced);
    }
    assert_eq!(
        (two_byte_as(path), two_byte_as(aggregator)),
        (Fate::Announced, Fate::Announced)
    );
    assert_eq!(
        two_byte_as(no_path),
        Fate::Discarded("AS4_PATH is malformed")
    );
    assert_eq!(
        two_byte_as(no_aggregator),
        Fate::Discarded("AS4_AGGREGATOR is malformed")
    );
}

#[test]
fn rfc9234_5_only_to_customer_of_wrong_length_is_treated_as_withdraw() {
    for attribute in [&[0xc0, 35, 0][..], &[0xc0, 35, 3, 0, 0, 1]] {
        assert_eq!(
            external(attribute),
            Fate::Withdrawn("ONLY_TO_CUSTOMER is malformed")
        );
    }
}

#[test]
fn rfc4724_2_end_of_rib_is_known_in_each_of_its_forms() {
    let empty_v4: &[u8] = &[0x80, 15, 3, 0, 1, 1];
    let empty_v6: &[u8] = &[0x90, 15, 0, 3, 0, 2, 1];
    let end_of_rib = |bytes: &[u8]| read_update(bytes, &context()).end_of_rib;
    assert_eq!(end_of_rib(&update(&[], &[], &[])), Some(Family::V4));
    assert_eq!(end_of_rib(&update(&[], &[empty_v4], &[])), Some(Family::V4));
    assert_eq!(end_of_rib(&update(&[], &[empty_v6], &[])), Some(Family::V6));
    assert_eq!(end_of_rib(&update(&[8, 10], &[empty_v6], &[])), None);
    assert_eq!(end_of_rib(&update(&[], &[MP_UNREACH], &[])), None);
    assert_eq!(end_of_rib(&update(&[], &[empty_v6, ORIGIN], &[])), None);
    let context = Context {
        families: BTreeSet::from([Family::V6]),
        ..context()
    };
    assert_eq!(
        read_update(&update(&[], &[], &[]), &context).end_of_rib,
        None
    );
    for family in Family::ALL {
        let mut out = Vec::new();
        super::end_of_rib(&mut out, family);
        assert_eq!(read_update(&out, &self::context()).end_of_rib, Some(family));
    }
}
