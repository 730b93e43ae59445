//! Every message comes back as it was, and no bytes make the decoder panic.

use super::*;
use crate::gossip::BODY_BYTES_MAX;
use crate::member::{HeldSet, HeldState, MemberLink, Profile};
use crate::{Epoch, Mac};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use std::net::IpAddr;

fn boot() -> impl Strategy<Value = Boot> {
    any::<[u8; 16]>().prop_map(Boot)
}

fn node() -> impl Strategy<Value = NodeId> {
    any::<u64>().prop_map(NodeId)
}

fn a_trace() -> impl Strategy<Value = Trace> {
    any::<(u64, u32, u32)>().prop_map(|(number, age_ms, promise_ms)| Trace {
        number,
        age_ms,
        promise_ms,
    })
}

fn an_item() -> impl Strategy<Value = Item> {
    let told = prop_oneof![Just(Told::Alive), Just(Told::Dead), Just(Told::Left)];
    (node(), boot(), any::<(u64, u64, u64)>(), told, a_trace()).prop_map(
        |(node, boot, (generation, profile_version, held_version), standing, trace)| Item {
            node,
            boot,
            generation,
            profile_version,
            held_version,
            standing,
            trace,
        },
    )
}

fn a_title() -> impl Strategy<Value = Title> {
    let what = prop_oneof![Just(What::Profile), Just(What::Held)];
    (node(), boot(), what, 1..u64::MAX).prop_map(|(node, boot, what, version)| Title {
        node,
        boot,
        what,
        version,
    })
}

fn entry() -> impl Strategy<Value = HeldEntry> {
    let state = prop_oneof![
        Just(HeldState::Preparing),
        Just(HeldState::Holding),
        node().prop_map(HeldState::Yielded)
    ];
    (any::<u64>(), state).prop_map(|(epoch, state)| HeldEntry {
        epoch: Epoch(epoch),
        state,
    })
}

fn group() -> impl Strategy<Value = GroupKey> {
    any::<IpAddr>().prop_map(GroupKey)
}

fn a_part() -> impl Strategy<Value = Part> {
    let bytes = vec(any::<u8>(), 0..=PART_BYTES);
    (a_title(), any::<(u64, u64)>(), 1..=PARTS_MAX, bytes).prop_flat_map(
        |(title, (generation, hash), count, bytes)| {
            (0..count).prop_map(move |index| Part {
                title,
                generation,
                hash,
                index,
                count,
                bytes: bytes.clone(),
            })
        },
    )
}

fn a_delta() -> impl Strategy<Value = Delta> {
    let changes = vec((group(), proptest::option::of(entry())), 0..=CHANGES_MAX);
    (any::<(u64, u64, u64)>(), changes).prop_map(|((base, version, hash), changes)| Delta {
        base,
        version,
        hash,
        changes,
    })
}

fn message() -> impl Strategy<Value = Message> {
    let heartbeat = any::<(u32, u32, u64, u32)>().prop_map(|(promise_ms, p, v, h)| {
        Message::Heartbeat(Heartbeat {
            promise_ms,
            profile_version: p,
            held_version: v,
            held_hash: h,
        })
    });
    let vote = (node(), boot(), a_trace(), any::<(bool, bool)>()).prop_map(
        |(subject, boot, trace, is)| {
            Message::Vote(Vote {
                subject,
                boot,
                trace,
                is_late: is.0,
                is_void: is.1,
            })
        },
    );
    let ack = (boot(), any::<(u64, u64, u64)>()).prop_map(
        |(boot, (profile_version, held_version, own_version))| {
            Message::Ack(Ack {
                boot,
                profile_version,
                held_version,
                own_version,
            })
        },
    );
    let pull = (a_title(), any::<(u16, u16)>()).prop_map(|(title, (first, count))| {
        Message::Pull(Pull {
            title,
            first,
            count,
        })
    });
    prop_oneof![
        heartbeat,
        vote,
        ack,
        pull,
        node().prop_map(Message::Ask),
        (any::<bool>(), any::<[u64; BUCKETS]>()).prop_map(|(is_reply, buckets)| Message::Digest {
            is_reply,
            buckets: Box::new(buckets)
        }),
        (any::<bool>(), vec(an_item(), 0..=ITEMS_MAX))
            .prop_map(|(is_last, items)| Message::Items { is_last, items }),
        a_part().prop_map(Message::Part),
        a_delta().prop_map(Message::Delta),
        any::<[u8; 16]>().prop_map(Message::Challenge),
        any::<([u8; 16], u64)>()
            .prop_map(|(nonce, generation)| Message::Response { nonce, generation }),
        vec(any::<u8>(), 0..1024).prop_map(Message::Tell),
        any::<(u32, u64)>().prop_map(|(ms, until)| Message::PromiseAsk { ms, until }),
        Just(Message::Probe),
        Just(Message::Join),
        any::<u64>().prop_map(Message::PromiseAck),
        Just(Message::Leave),
    ]
}

fn profile() -> impl Strategy<Value = Profile> {
    let link = ("[a-z0-9]{1,15}", any::<[u8; 6]>(), any::<(bool, bool)>()).prop_map(
        |(name, mac, (has_arp, has_ndp))| MemberLink {
            name: name.as_str().into(),
            mac: Mac(mac),
            has_arp,
            has_ndp,
        },
    );
    (
        "[a-z0-9]{1,63}",
        vec(any::<(IpAddr, u16)>().prop_map(Into::into), 0..=8),
        vec(link, 0..=24),
        vec(any::<[u8; 6]>().prop_map(Mac), 0..=48),
        any::<(bool, bool, u64, Option<u8>)>(),
        "[a-z0-9.+]{0,40}",
        btree_set(any::<u64>().prop_map(NodeId), 0..=32),
    )
        .prop_map(
            |(
                name,
                addresses,
                links,
                macs,
                (is_draining, is_stale, rules, key),
                version,
                newcomers,
            )| {
                Profile {
                    name: name.parse().unwrap(),
                    addresses,
                    links,
                    macs,
                    is_draining,
                    is_stale,
                    rules,
                    version,
                    key,
                    newcomers,
                }
            },
        )
}

proptest! {
    #[test]
    fn a_message_comes_back_as_it_was_and_fits_a_datagram(message in message()) {
        let body = message.encode(NodeId(9));
        prop_assert!(body.len() <= BODY_BYTES_MAX, "{} bytes", body.len());
        prop_assert_eq!(Message::decode(&body), Ok((NodeId(9), message)));
    }

    #[test]
    fn a_profile_comes_back_as_it_was(profile in profile()) {
        prop_assert_eq!(profile_of(&profile_blob(&profile)), Ok(profile));
    }

    #[test]
    fn a_held_set_comes_back_as_it_was(held in btree_map(group(), entry(), 0..100)) {
        let held: HeldSet = held;
        prop_assert_eq!(held_of(&held_blob(&held)), Ok(held));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in vec(any::<u8>(), 0..1200)) {
        drop((Message::decode(&bytes), profile_of(&bytes), held_of(&bytes)));
    }

    #[test]
    fn no_cut_or_changed_message_makes_the_decoder_panic(
        message in message(), at in any::<prop::sample::Index>(), to in any::<u8>(), end in any::<prop::sample::Index>()
    ) {
        let mut body = message.encode(NodeId(9));
        let at = at.index(body.len());
        body[at] = to;
        let end = end.index(body.len());
        drop((Message::decode(&body), Message::decode(&body[..end])));
    }
}

#[test]
fn what_a_later_version_adds_is_passed_over() {
    let mut body = Message::Ask(NodeId(7)).encode(NodeId(9));
    body.extend([1, 2, 3]);
    assert_eq!(
        Message::decode(&body),
        Ok((NodeId(9), Message::Ask(NodeId(7))))
    );
    body[1] = 99;
    assert_eq!(Message::decode(&body), Err(Malformed::Kind(99)));
    assert_eq!(Message::decode(&[2, 1]), Err(Malformed::Protocol(2)));
}

#[test]
fn a_heartbeat_is_small() {
    let beat = Message::Heartbeat(Heartbeat {
        promise_ms: 500,
        profile_version: 1,
        held_version: 1,
        held_hash: 1,
    });
    assert_eq!(beat.encode(NodeId(9)).len(), 30);
}

#[test]
fn a_vote_of_an_earlier_version_says_nothing_of_the_kernel() {
    let vote = |is_void| {
        Message::Vote(Vote {
            subject: NodeId(3),
            boot: Boot([1; 16]),
            trace: Trace {
                number: 1,
                age_ms: 2,
                promise_ms: 10_000,
            },
            is_late: true,
            is_void,
        })
    };
    let mut body = vote(true).encode(NodeId(2));
    assert_eq!(body.pop(), Some(1), "what it does not know stands last");
    assert_eq!(Message::decode(&body), Ok((NodeId(2), vote(false))));
}

#[test]
fn a_profile_of_an_earlier_version_names_no_newcomers_and_no_secret() {
    let profile = Profile {
        rules: 1,
        version: "0.1.0".to_owned(),
        key: Some(7),
        newcomers: [NodeId(3)].into(),
        ..Profile::of("n1".parse().unwrap())
    };
    let blob = profile_blob(&profile);
    assert_eq!(profile_of(&blob), Ok(profile.clone()));
    let earlier = Profile {
        newcomers: [].into(),
        ..profile
    };
    let count_and_one = 1 + 8;
    let blob = &blob[..blob.len() - count_and_one];
    assert_eq!(profile_of(blob), Ok(earlier.clone()));
    let earliest = Profile {
        key: None,
        ..earlier
    };
    assert_eq!(profile_of(&blob[..blob.len() - 2]), Ok(earliest));
}
