//! The program's logic held to the accounts: what becomes of a frame, and every table after it, are as the model says or the test ends.
//!
//! What should become of it is said in [`super::spread`] and [`super::encap`].

use super::encap::{self, Fate};
use super::spread::{Account, account};
use super::{Tables, VecFrame, check_forward, options, run};
use crate::abi::{FarValue, ShareKey, Steered, Tunnelled};
use crate::logic::{Maps, Verdict};

/// Does with a frame what the program does, and panics if that is not what the account says, in any table.
pub fn run_accounted(frame: &mut VecFrame, tables: &mut Tables) -> Verdict {
    let (mut before, was) = (tables.clone(), frame.clone());
    let bytes = &was.bytes;
    let is_seen = frame.is_for_us && !frame.is_tagged;
    let is_around = encap::taken_out(&before, frame.ifindex, bytes).is_some();
    let deed = options::deed(&before, frame).filter(|_| is_seen && !is_around);
    if let Some(deed) = deed {
        return deed.run(before, frame, tables);
    }
    let verdict = run(frame, tables);
    if !is_seen {
        return verdict;
    }
    match encap::taken_out(&before, frame.ifindex, bytes) {
        Some(Some(inner)) => {
            before.tunnelled(Tunnelled::Unwrapped);
            assert_eq!((verdict, &frame.bytes), (Verdict::Next, &inner));
            assert_eq!(*tables, before);
            return verdict;
        }
        Some(None) => before.tunnelled(Tunnelled::Stranger),
        None => {}
    }
    let Some(account) = account(&before, frame.ifindex, bytes) else {
        return verdict;
    };
    if let Some(far) = account.far {
        let after = far_after(&account, &far, before, &was, (verdict, frame));
        assert_eq!(*tables, after, "{account:?}");
        return verdict;
    }
    let expected = match (account.way, account.to) {
        (Some(Steered::LostFragment | Steered::Silenced), _) => Verdict::Drop,
        (_, Some(_)) => Verdict::Forward,
        (_, None) => Verdict::Next,
    };
    assert_eq!(verdict, expected, "{account:?}");
    if let Some(to) = account.to {
        let hop = check_forward(bytes, &frame.bytes).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((&hop.from[..], hop.to), (&bytes[..6], to), "{account:?}");
    } else {
        assert_eq!(frame.bytes, *bytes, "changed but not sent on");
    }
    let after = account.applied(before, frame.ifindex, bytes);
    assert_eq!(*tables, after, "{account:?}");
    verdict
}

/// The tables after a packet for a node on another segment, if it became what it should.
fn far_after(
    account: &Account,
    far: &FarValue,
    before: Tables,
    was: &VecFrame,
    (verdict, now): (Verdict, &VecFrame),
) -> Tables {
    let slot = account.slot(&before, was);
    let stays = |why| (Verdict::Next, Some(Steered::NoTarget), why);
    let mut after = account.remembered(before);
    let fate = encap::fate(was);
    let may_tell =
        matches!(fate, Fate::Told(_) | Fate::Spoilt) && after.take_token(slot, after.now_ns);
    let (expected, way, what) = match fate {
        Fate::Wrapped(link) => (
            Verdict::Depart(link),
            Some(Steered::Sent),
            Tunnelled::Wrapped,
        ),
        Fate::Told(_) if may_tell => (Verdict::Reply, None, Tunnelled::TooBig),
        Fate::Spoilt if may_tell => (Verdict::Drop, None, Tunnelled::Lost),
        Fate::Told(_) | Fate::Spoilt | Fate::Untold => (Verdict::Drop, None, Tunnelled::Untold),
        Fate::Uncut => stays(Tunnelled::Uncut),
        Fate::NoWay => stays(Tunnelled::NoWay),
        Fate::NoRoom => stays(Tunnelled::NoRoom),
    };
    assert_eq!(verdict, expected, "{fate:?}");
    let checked = match (fate, expected) {
        (Fate::Wrapped(_), _) => encap::check_wrapped(&was.bytes, &now.bytes, far),
        (Fate::Told(told), Verdict::Reply) => {
            encap::check_told(&was.bytes, &now.bytes, far.from, told)
        }
        (Fate::Spoilt, Verdict::Drop) => Ok(()),
        _ => match now.bytes == was.bytes {
            true => Ok(()),
            false => Err("changed but not sent".into()),
        },
    };
    checked.unwrap_or_else(|why| panic!("{why}"));
    after.tunnelled(what);
    way.into_iter().for_each(|way| after.steered(way));
    let length = was.bytes.len() as u32;
    if expected == Verdict::Next {
        after.traffic(slot, length);
    }
    let node = account.node.filter(|_| way == Some(Steered::Sent));
    if node.is_some_and(|node| !after.share(&ShareKey { slot, node }, length)) {
        after.steered(Steered::Uncounted);
    }
    after
}
