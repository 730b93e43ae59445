//! When answers left the nodes that gave them, from what the switch heard of them.
//!
//! The answers of two nodes come to a station through queues of different processors, and on a busy machine one waits there for
//! milliseconds: in the order of arrival the last answers of one node may come after the first of the next, though it had fallen silent
//! before. But the kernel stamps a frame as it comes out of the node's link (`net.core.netdev_tstamp_prequeue`), in the very turn in which the
//! program answers. So each answer that a station got is dated by that stamp, and of two nodes that take turns nothing needs to be excused.

use super::judge::Answer;
use std::collections::BTreeMap;
use std::time::Duration;

/// What came of dating a station's answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Dated {
    /// The longest time that one was on its way.
    pub(super) waited: Duration,
    /// Those that the switch did not hear; they keep the date of their arrival.
    pub(super) unheard: usize,
}

/// Dates what a station heard by what the switch heard, both in order of time. Frames that say the same cannot be told apart: each takes the
/// latest of the switch's that was before it and is not taken yet, since older ones may have been dropped on their way.
pub(super) fn date(arrivals: &mut [Answer], departures: &[Answer]) -> Dated {
    let mut untaken: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    let mut departures = departures.iter().peekable();
    let mut dated = Dated::default();
    for arrival in arrivals {
        while let Some(left) = departures.next_if(|left| left.at <= arrival.at) {
            let alike = (left.vip, left.mac, left.to);
            untaken.entry(alike).or_default().push(left.at);
        }
        let alike = (arrival.vip, arrival.mac, arrival.to);
        let left = untaken.get_mut(&alike).and_then(Vec::pop);
        match left.filter(|left| arrival.at - left <= WAY_MAX) {
            Some(left) => {
                let waited = Duration::from_nanos(arrival.at - left);
                dated.waited = dated.waited.max(waited);
                arrival.at = left;
            }
            None => dated.unheard += 1,
        }
    }
    dated
}

/// Whatever is older went elsewhere: no queue of the lab holds a frame for longer, or it is full before.
const WAY_MAX: u64 = 500_000_000;

#[cfg(test)]
mod tests {
    use super::super::frame::Mac;
    use super::*;

    const MS: u64 = 1_000_000;

    fn at(ms: &[u64], mac: u8) -> Vec<Answer> {
        let answer = |ms: &u64| Answer {
            at: ms * MS,
            vip: "192.0.2.100".parse().expect("an address"),
            mac: Mac([mac; 6]),
            to: Mac([9; 6]),
        };
        ms.iter().map(answer).collect()
    }

    fn dates(arrivals: &[u64], departures: &[u64]) -> (Vec<u64>, Dated) {
        let mut arrivals = at(arrivals, 1);
        let dated = date(&mut arrivals, &at(departures, 1));
        let dates = arrivals.iter().map(|answer| answer.at / MS);
        (dates.collect(), dated)
    }

    #[test]
    fn each_answer_has_the_date_at_which_it_left() {
        let (dates, dated) = dates(&[2, 5, 9], &[1, 4, 6]);
        assert_eq!(dates, [1, 4, 6]);
        assert_eq!((dated.waited.as_millis(), dated.unheard), (3, 0));
    }

    #[test]
    fn answers_that_waited_together_share_their_dates() {
        let (mut dates, _) = dates(&[20, 20, 21], &[11, 12, 13]);
        dates.sort_unstable();
        assert_eq!(dates, [11, 12, 13]);
    }

    #[test]
    fn what_was_dropped_on_its_way_dates_nothing_later() {
        let (dates, _) = dates(&[2, 14], &[1, 3, 4, 13]);
        assert_eq!(dates, [1, 13]);
    }

    #[test]
    fn what_the_switch_did_not_hear_keeps_its_date() {
        let (dates, dated) = dates(&[2, 900], &[1, 3]);
        assert_eq!((dates, dated.unheard), (vec![1, 900], 1));
        let mut arrivals = at(&[5], 2);
        assert_eq!(date(&mut arrivals, &at(&[4], 1)).unheard, 1);
    }
}
