//! What is sealed is opened by those who share the secret, and by nobody else.

use super::super::envelope::DATAGRAM_BYTES_MAX;
use super::*;
use proptest::prelude::*;
use zeroize::Zeroizing;

const ME: NodeId = NodeId(0x0102_0304_0506_0708);
const BOOT: Boot = Boot(*b"sixteen byte boo");
const TEXT: &str = "YWJjZGVmZ2hpamtsbW5vcA";

fn secret(text: &str) -> Secret {
    Secret::new(Zeroizing::new(text.as_bytes().to_vec())).unwrap()
}

fn shared(text: &str) -> Keys {
    Keys::Shared(secret(text))
}

fn me(keys: Keys) -> Sealer {
    Sealer::new(ME, BOOT, keys)
}

fn other(keys: Keys) -> Sealer {
    Sealer::new(NodeId(2), Boot([2; 16]), keys)
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 7946))
}

/// A datagram of mine that says `hello`.
fn hello(sealer: &mut Sealer, number: u64) -> Vec<u8> {
    sealer.seal(address(2), number, b"hello".to_vec())
}

fn opened(by: &mut Sealer, datagram: &[u8]) -> Result<Vec<u8>, Dropped> {
    by.open(address(1), datagram).map(|received| received.body)
}

/// Computed with another implementation of HKDF and AES-GCM.
#[test]
fn a_sealed_datagram_is_what_the_algorithms_say() {
    let datagram = me(shared(TEXT)).seal(address(2), 9, b"a heartbeat".to_vec());
    let text: String = datagram.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = "48474c4f01016301020304050607087369787465656e206279746520626f6f0000000000000009\
                    63eec3e10cc5cc717c77cbdcd3b38c70ea39bba033596d7f26a75b";
    assert_eq!(text, expected);
}

#[test]
fn who_shares_the_secret_hears_who_sent_it() {
    let datagram = hello(&mut me(shared(TEXT)), 7);
    let mut other = other(shared(&format!(" {TEXT}\n")));
    let received = other.open(address(1), &datagram).unwrap();
    let expected = Received {
        from: address(1),
        sender: ME,
        boot: BOOT,
        number: 7,
        key: 0x63,
        body: b"hello".to_vec(),
    };
    assert_eq!(received, expected);
}

#[test]
fn everything_else_is_dropped_by_its_cause() {
    let sealed = hello(&mut me(shared(TEXT)), 1);
    let plain = hello(&mut me(Keys::None), 1);
    assert_eq!(
        opened(&mut other(shared("another")), &sealed),
        Err(Dropped::Key)
    );
    assert_eq!(
        opened(&mut other(Keys::None), &sealed),
        Err(Dropped::Sealed)
    );
    assert_eq!(
        opened(&mut other(shared(TEXT)), &plain),
        Err(Dropped::Unsealed)
    );
    assert_eq!(opened(&mut other(Keys::None), &plain).unwrap(), b"hello");
    assert_eq!(opened(&mut me(shared(TEXT)), &sealed), Err(Dropped::Own));
    let cut = &sealed[..HEAD_BYTES + TAG_BYTES - 1];
    assert_eq!(
        opened(&mut other(shared(TEXT)), cut),
        Err(Dropped::Truncated)
    );
    let memberlist = b"\x00\x85\xa5SeqNo\x01\xa4Node\xa2n2";
    assert_eq!(
        opened(&mut other(shared(TEXT)), memberlist),
        Err(Dropped::Foreign)
    );
    let long = me(Keys::None).seal(address(2), 1, vec![0; BODY_BYTES_MAX + 1]);
    assert!(
        long.len() <= DATAGRAM_BYTES_MAX,
        "only its body is too long"
    );
    assert_eq!(opened(&mut other(Keys::None), &long), Err(Dropped::TooLong));
}

#[test]
fn a_change_of_any_byte_is_seen() {
    let datagram = hello(&mut me(shared(TEXT)), 1);
    for at in 0..datagram.len() {
        let mut changed = datagram.clone();
        changed[at] ^= 0x01;
        assert!(opened(&mut other(shared(TEXT)), &changed).is_err(), "{at}");
    }
}

#[test]
fn no_two_boots_and_no_two_numbers_seal_alike() {
    let mut mine = me(shared(TEXT));
    let [one, two] = [hello(&mut mine, 1), hello(&mut mine, 2)];
    let next_boot = hello(&mut Sealer::new(ME, Boot([9; 16]), shared(TEXT)), 1);
    assert_ne!(one[HEAD_BYTES..], two[HEAD_BYTES..]);
    assert_ne!(one[HEAD_BYTES..], next_boot[HEAD_BYTES..]);
}

#[test]
#[should_panic(expected = "numbers of datagrams only grow")]
fn a_number_is_never_sealed_twice() {
    let mut mine = me(shared(TEXT));
    hello(&mut mine, 4);
    hello(&mut mine, 4);
}

/// Two speakers, of which the second hears of a new secret a minute later, talk on at every moment.
#[test]
fn a_new_secret_interrupts_nobody() {
    let (mut early, mut late) = (me(shared("old")), other(shared("old")));
    let mut number = 0;
    for second in 0..2000 {
        let now = Time::default() + Span::s(second);
        if second == 100 {
            early.install(now, shared("new"));
        }
        if second == 160 {
            late.install(now, shared("new"));
        }
        early.expire(now, |_| true);
        late.expire(now, |_| true);
        number += 1;
        let out = early.seal(address(2), number, b"hello".to_vec());
        let received = late.open(address(1), &out);
        assert!(received.is_ok(), "{second}: {received:?}");
        let back = late.seal(address(1), number, b"hello".to_vec());
        let received = early.open(address(2), &back);
        assert!(received.is_ok(), "{second}: {received:?}");
    }
    let old = hello(&mut Sealer::new(NodeId(3), Boot([3; 16]), shared("old")), 1);
    assert_eq!(
        opened(&mut early, &old),
        Err(Dropped::Key),
        "the old one is forgotten"
    );
}

#[test]
fn who_restarts_with_the_new_secret_alone_is_answered_with_it() {
    let mut mine = me(shared("old"));
    mine.install(Time::default(), shared("new"));
    let mut restarted = other(shared("new"));
    let before = hello(&mut mine, 1);
    assert_eq!(opened(&mut restarted, &before), Err(Dropped::Key));
    let out = restarted.seal(address(1), 1, b"here".to_vec());
    mine.open(address(2), &out).unwrap();
    let after = hello(&mut mine, 2);
    assert_eq!(opened(&mut restarted, &after).unwrap(), b"hello");
    let elsewhere = mine.seal(address(3), 3, b"hello".to_vec());
    assert_eq!(
        opened(&mut other(shared("old")), &elsewhere).unwrap(),
        b"hello"
    );
}

#[test]
fn a_new_secret_waits_for_the_last_member_an_hour_at_most() {
    let at = |second| Time::default() + Span::s(second);
    let mut mine = me(shared("old"));
    let old = mine.newest();
    mine.install(at(0), shared("new"));
    let new = mine.newest();
    assert!(new.is_some() && new != old);
    let mut others = (other(shared("old")), other(shared("new")));
    let mut number = 0;
    let mut heard = |mine: &mut Sealer| {
        number += 1;
        let out = hello(mine, number);
        let heard = [&mut others.0, &mut others.1].map(|other| opened(other, &out).is_ok());
        (heard[0], heard[1])
    };
    mine.expire(at(170), |_| true);
    assert_eq!(heard(&mut mine), (true, false), "a kubelet takes minutes");
    mine.expire(at(3_700), |name| Some(name) != new);
    assert_eq!(heard(&mut mine), (true, false), "somebody lacks it");
    mine.expire(at(3_780), |_| false);
    assert_eq!(heard(&mut mine), (false, true));
}

#[test]
fn a_new_secret_is_used_once_all_have_it() {
    let mut mine = me(shared("old"));
    mine.install(Time::default(), shared("new"));
    let new = mine.newest();
    mine.expire(Time::default() + Span::s(200), |name| Some(name) == new);
    let out = hello(&mut mine, 1);
    assert_eq!(opened(&mut other(shared("new")), &out).unwrap(), b"hello");
}

#[test]
fn a_secret_that_is_taken_back_is_not_used() {
    let mut mine = me(shared("old"));
    mine.install(Time::default(), shared("new"));
    mine.install(Time::default() + Span::s(10), shared("old"));
    mine.expire(Time::default() + Span::s(500), |_| true);
    let datagram = hello(&mut mine, 1);
    assert_eq!(
        opened(&mut other(shared("old")), &datagram).unwrap(),
        b"hello"
    );
}

#[test]
fn a_secret_is_in_no_text() {
    assert_eq!(format!("{:?}", shared("very secret")), "Shared(Secret(…))");
    assert_eq!(Secret::new(Zeroizing::new(b" \n".to_vec())), None);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(datagram in proptest::collection::vec(any::<u8>(), 0..1400), keep in 0..60usize) {
        let genuine = hello(&mut me(shared(TEXT)), 1);
        let mut begun = genuine[..keep.min(genuine.len())].to_vec();
        begun.extend(&datagram);
        for keys in [Keys::None, shared(TEXT)] {
            for bytes in [&datagram, &begun] {
                let is_sealed = keys != Keys::None;
                let received = other(keys.clone()).open(address(1), bytes);
                prop_assert!(!is_sealed || received.is_err() || *bytes == genuine);
            }
        }
    }

    #[test]
    fn every_body_arrives_as_it_was(body in proptest::collection::vec(any::<u8>(), 0..=BODY_BYTES_MAX), number: u64) {
        for keys in [Keys::None, shared(TEXT)] {
            let datagram = me(keys.clone()).seal(address(2), number, body.clone());
            prop_assert!(datagram.len() <= DATAGRAM_BYTES_MAX);
            prop_assert_eq!(opened(&mut other(keys), &datagram), Ok(body.clone()));
        }
    }
}
