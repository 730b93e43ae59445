//! To whom the packets of a VIP belonged before, so that a change of nodes breaks no connection to a node that is still there.
//!
//! A connection that is not remembered, though the window has been open for a while, was silent ever since it opened or is new to a node that took the
//! VIP from another: most likely it is from before the first of the changes. So the earliest are asked first of those that had
//! the packets since then, and after them those of long ago, from the latest back, since something may still be remembered for them.
//!
//! Every node that may hold a VIP follows its history, also while another one holds it: whoever takes it goes on where the other
//! stopped. What a node did not see, because it was not there, it takes to have been as it is, but that who came lately, as those say that
//! were there ([`super::newcomers`]), had no share before. Its own absence proves nothing: where a cluster starts nobody was there.

use super::{Before, Place, Share, Spread, Weights};
use speaker_proto::{NodeName, Span, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How long after a change a connection that is not remembered is taken to be from before. Every packet within it is
/// remembered, so that only what is silent for so long is lost.
pub const WINDOW: Span = Span::s(120);

/// So long after a node began to look it may just be finding out who is there. While it does not hold a VIP, nodes that it
/// finds then are no change: it has no memory of the flows that the holder gave to nodes that it had not seen yet.
pub const FINDING: Span = Span::s(10);

/// So many changes are followed back: each costs a look at each slot whenever a table is built.
pub const BEFORE_MAX: usize = 8;

/// The history of every VIP that is spread.
#[derive(Clone, Debug, Default)]
pub struct History {
    rows: BTreeMap<Place, Spread>,
    /// When each began.
    begun: BTreeMap<Place, Time>,
}

impl History {
    /// From now on packets are spread like this. What is not spread any more, and may be, goes to `own` alone for as long as
    /// connections are followed.
    pub fn advance(&mut self, now: Time, shares: BTreeMap<Place, Share>, facts: &impl Facts) {
        let mut old = std::mem::take(&mut self.rows);
        let rows = shares.into_iter().map(|(place, share)| {
            let is_held = facts.is_stack(&place);
            let begun = *self.begun.entry(place.clone()).or_insert(now);
            let left = facts.left(&place).filter(|left| !left.is_empty());
            let spread = match old.remove(&place) {
                Some(spread) => {
                    let is_finding = !is_held && now < begun + FINDING && !is_left(&spread);
                    match is_finding && is_as_much(&spread, &share) {
                        true => begin(share, facts, now),
                        false => follow(spread, share, now),
                    }
                }
                None if let Some(left) = left => go_on(share, left, now),
                None if is_held => begin_holding(share, facts, now),
                None => begin(share, facts, now),
            };
            (place, spread)
        });
        self.rows = rows.collect();
        for (place, spread) in old {
            let share = facts.own(&place).map(|own| Share {
                weights: own,
                is_by_client: spread.share.is_by_client,
                is_beyond: spread.share.is_beyond,
            });
            let ending = share.map(|share| follow(spread, share, now));
            if let Some(ending) = ending.filter(|ending| now < ending.until) {
                self.rows.insert(place, ending);
            }
        }
        self.begun.retain(|place, _| self.rows.contains_key(place));
    }

    /// When something ends, at the earliest.
    pub fn deadline(&self, now: Time) -> Option<Time> {
        let ends = self.rows.values().map(|spread| spread.until);
        ends.filter(|until| now < *until).min()
    }

    /// What is spread, and how.
    pub fn rows(&self) -> &BTreeMap<Place, Spread> {
        &self.rows
    }
}

/// What [`History`] asks about a place.
pub trait Facts {
    /// Whether this node has had its packets until now: of one that is new, its stack.
    fn is_stack(&self, place: &Place) -> bool;
    /// Who had its packets before, by what the last process left.
    fn left(&self, place: &Place) -> Option<Arc<Vec<Before>>>;
    /// Those of these nodes that came lately, if this node was not there to see it.
    fn newcomers(&self, weights: &Weights) -> BTreeSet<NodeName>;
    /// Of one that is not spread any more: this node alone, if packets may still be sent to others from there.
    fn own(&self, place: &Place) -> Option<Arc<Weights>>;
}

/// Whether nodes came and none went; or none came, and nothing is known of what was before.
fn is_as_much(spread: &Spread, share: &Share) -> bool {
    let (old, new) = (&spread.share.weights, &share.weights);
    let is_as_it_was = old == new && spread.before.is_empty();
    let is_more = old.len() < new.len() && old.keys().all(|node| new.contains_key(node));
    is_as_it_was || is_more
}

/// Whether it goes on with what the last process left.
fn is_left(spread: &Spread) -> bool {
    let mut before = spread.before.iter();
    before.any(|before| matches!(before, Before::Left(_)))
}

/// Of what the last process spread. What changed while no process was there is a change of now.
fn go_on(share: Share, left: Arc<Vec<Before>>, now: Time) -> Spread {
    Spread {
        share,
        until: now + WINDOW,
        followed: left.len(),
        before: left,
    }
}

/// Of what this node did not hold.
fn begin(share: Share, facts: &impl Facts, now: Time) -> Spread {
    let before = without_newcomers(&share, facts);
    begin_after(share, before, now)
}

/// Of what this node holds. One that took it as soon as it came had nothing of it before.
fn begin_holding(share: Share, facts: &impl Facts, now: Time) -> Spread {
    let before = without_newcomers(&share, facts).unwrap_or(Before::Stack);
    begin_after(share, Some(before), now)
}

/// Those that were there before others came, if that is known.
fn without_newcomers(share: &Share, facts: &impl Facts) -> Option<Before> {
    let newcomers = facts.newcomers(&share.weights);
    let mut rest = Weights::clone(&share.weights);
    rest.retain(|node, _| !newcomers.contains(node));
    let is_known = !rest.is_empty() && rest.len() < share.weights.len();
    is_known.then(|| Before::Nodes(Arc::new(rest)))
}

fn begin_after(share: Share, before: Option<Before>, now: Time) -> Spread {
    Spread {
        share,
        until: if before.is_some() { now + WINDOW } else { now },
        followed: usize::from(before.is_some()),
        before: Arc::new(before.into_iter().collect()),
    }
}

fn follow(spread: Spread, share: Share, now: Time) -> Spread {
    if spread.share.weights == share.weights {
        return Spread { share, ..spread };
    }
    let last = Before::Nodes(Arc::clone(&spread.share.weights));
    let (followed, earlier) = spread.before.split_at(spread.followed);
    // Whoever it was twice has the same slots: once is enough, at the first time of those that are followed.
    let (mut before, earlier): (Vec<Before>, Vec<&Before>) = match now < spread.until {
        true => (followed.to_vec(), earlier.iter().collect()),
        false => (Vec::new(), followed.iter().rev().chain(earlier).collect()),
    };
    if !before.contains(&last) {
        before.push(last);
    }
    if before.len() > BEFORE_MAX {
        before.remove(1);
    }
    let followed = before.len();
    for other in earlier {
        if before.len() < BEFORE_MAX && !before.contains(other) {
            before.push(other.clone());
        }
    }
    Spread {
        share,
        before: Arc::new(before),
        followed,
        until: now + WINDOW,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use speaker_proto::Vip;

    /// Whether the stack had everything, and whether everything may still be spread.
    struct All(bool, bool);

    impl Facts for All {
        fn is_stack(&self, _: &Place) -> bool {
            self.0
        }

        fn left(&self, _: &Place) -> Option<Arc<Vec<Before>>> {
            None
        }

        fn newcomers(&self, _: &Weights) -> BTreeSet<NodeName> {
            BTreeSet::new()
        }

        fn own(&self, _: &Place) -> Option<Arc<Weights>> {
            self.1.then(|| weights(&["me"]))
        }
    }

    const NOT: All = All(false, false);

    /// Those that were there say that these came; whether this node has had all packets until now.
    struct Came<'a>(&'a [&'a str], bool);

    impl Facts for Came<'_> {
        fn is_stack(&self, _: &Place) -> bool {
            self.1
        }

        fn left(&self, _: &Place) -> Option<Arc<Vec<Before>>> {
            None
        }

        fn newcomers(&self, _: &Weights) -> BTreeSet<NodeName> {
            self.0.iter().map(|node| node.parse().unwrap()).collect()
        }

        fn own(&self, _: &Place) -> Option<Arc<Weights>> {
            None
        }
    }

    fn at(seconds: u64) -> Time {
        Time::ms(seconds * 1_000)
    }

    fn place() -> Place {
        (Vip("192.0.2.10".parse().unwrap()), "eth0".into())
    }

    fn weights(nodes: &[&str]) -> Arc<Weights> {
        let weights = nodes.iter().map(|node| (node.parse().unwrap(), 1));
        Arc::new(weights.collect())
    }

    fn over(nodes: &[&str]) -> BTreeMap<Place, Share> {
        let share = Share {
            weights: weights(nodes),
            is_by_client: false,
            is_beyond: false,
        };
        BTreeMap::from([(place(), share)])
    }

    fn nodes(nodes: &[&str]) -> Before {
        Before::Nodes(weights(nodes))
    }

    fn row(history: &History) -> &Spread {
        &history.rows()[&place()]
    }

    #[test]
    fn what_the_stack_had_stays_with_it() {
        let mut history = History::default();
        history.advance(at(1), over(&["a", "b"]), &All(true, false));
        assert_eq!(*row(&history).before, [Before::Stack]);
        assert_eq!(row(&history).until, at(1) + WINDOW);
        history.advance(at(2), over(&["a", "b"]), &NOT);
        assert_eq!(*row(&history).before, [Before::Stack]);
        assert_eq!(row(&history).until, at(1) + WINDOW);
    }

    #[test]
    fn what_was_not_seen_is_taken_to_have_been_as_it_is() {
        let mut history = History::default();
        history.advance(at(1), over(&["a", "b"]), &NOT);
        assert_eq!(*row(&history).before, []);
        assert_eq!(row(&history).until, at(1));
    }

    #[test]
    fn who_came_has_the_history_of_those_that_were_there() {
        let mut there = History::default();
        there.advance(at(1), over(&["a", "b"]), &NOT);
        there.advance(at(50), over(&["a", "b", "c"]), &NOT);
        there.advance(at(56), over(&["b", "c"]), &NOT);
        // It finds the others first, is told later that it came, and then it goes on.
        let mut came = History::default();
        came.advance(at(50), over(&["c"]), &NOT);
        came.advance(at(51), over(&["a", "b", "c"]), &NOT);
        assert_eq!(*row(&came).before, []);
        came.advance(at(52), over(&["a", "b", "c"]), &Came(&["c"], false));
        assert_eq!(*row(&came).before, [nodes(&["a", "b"])]);
        came.advance(at(56), over(&["b", "c"]), &Came(&["c"], false));
        assert_eq!(row(&came), row(&there));
    }

    #[test]
    fn who_holds_as_soon_as_it_came_had_nothing_of_it_before() {
        let mut history = History::default();
        history.advance(at(50), over(&["a", "b", "c"]), &Came(&["c"], true));
        assert_eq!(*row(&history).before, [nodes(&["a", "b"])]);
    }

    #[test]
    fn where_all_came_at_once_nothing_was_before() {
        let mut history = History::default();
        history.advance(at(50), over(&["a", "b"]), &Came(&["a", "b"], false));
        assert_eq!(*row(&history).before, []);
    }

    #[test]
    fn what_a_node_finds_at_first_is_no_change_unless_it_holds() {
        for is_held in [false, true] {
            let mut history = History::default();
            let facts = All(is_held, false);
            history.advance(at(1), over(&["a"]), &NOT);
            history.advance(at(4), over(&["a", "b"]), &facts);
            let before: &[Before] = if is_held { &[nodes(&["a"])] } else { &[] };
            assert_eq!(*row(&history).before, before);
            history.advance(at(11), over(&["a", "b", "c"]), &NOT);
            let last = row(&history).before.last();
            assert_eq!(last, Some(&nodes(&["a", "b"])));
        }
    }

    #[test]
    fn a_change_is_remembered_and_opens_the_window_anew() {
        let mut history = History::default();
        history.advance(at(1), over(&["a"]), &All(true, false));
        history.advance(at(15), over(&["a", "b"]), &NOT);
        history.advance(at(19), over(&["a", "b", "c"]), &NOT);
        let before = [Before::Stack, nodes(&["a"]), nodes(&["a", "b"])];
        assert_eq!(*row(&history).before, before);
        assert_eq!(row(&history).until, at(19) + WINDOW);
    }

    #[test]
    fn what_was_followed_to_its_end_is_asked_after_what_is_followed() {
        let mut history = History::default();
        history.advance(at(1), over(&["a"]), &NOT);
        history.advance(at(15), over(&["b"]), &NOT);
        history.advance(at(19), over(&["c"]), &NOT);
        let later = row(&history).until;
        history.advance(later, over(&["d"]), &NOT);
        let before = [nodes(&["c"]), nodes(&["b"]), nodes(&["a"])];
        assert_eq!(*row(&history).before, before);
        history.advance(later + Span::s(1), over(&["e"]), &NOT);
        let before = [nodes(&["c"]), nodes(&["d"]), nodes(&["b"]), nodes(&["a"])];
        assert_eq!(*row(&history).before, before);
    }

    #[test]
    fn going_back_and_forth_makes_nothing_longer() {
        let mut history = History::default();
        for round in 0..20 {
            let nodes: &[&str] = if round % 2 == 0 { &["a"] } else { &["a", "b"] };
            history.advance(at(round * 10), over(nodes), &NOT);
        }
        let before = [nodes(&["a"]), nodes(&["a", "b"])];
        assert_eq!(*row(&history).before, before);
    }

    #[test]
    fn only_so_many_changes_are_followed_back() {
        let mut history = History::default();
        for round in 0..20_u64 {
            let name = format!("n{round}");
            history.advance(at(round * 10), over(&[&name]), &NOT);
        }
        assert_eq!(row(&history).before.len(), BEFORE_MAX);
        assert_eq!(row(&history).before[0], nodes(&["n0"]));
        assert_eq!(row(&history).before[BEFORE_MAX - 1], nodes(&["n18"]));
    }

    #[test]
    fn where_nothing_may_be_spread_any_more_all_is_forgotten() {
        let mut history = History::default();
        history.advance(at(1), over(&["a"]), &NOT);
        history.advance(at(2), BTreeMap::new(), &NOT);
        assert!(history.rows().is_empty());
        history.advance(at(3), over(&["b"]), &All(true, false));
        assert_eq!(*row(&history).before, [Before::Stack]);
    }

    #[test]
    fn what_shall_not_be_spread_any_more_lets_connections_end() {
        let mut history = History::default();
        history.advance(at(1), over(&["a", "b"]), &NOT);
        history.advance(at(2), BTreeMap::new(), &All(false, true));
        let end = at(2) + WINDOW;
        assert_eq!(row(&history).share.weights, weights(&["me"]));
        assert_eq!(*row(&history).before, [nodes(&["a", "b"])]);
        assert_eq!(history.deadline(at(2)), Some(end));
        history.advance(at(9), BTreeMap::new(), &All(false, true));
        assert_eq!(history.deadline(at(9)), Some(end));
        history.advance(end, BTreeMap::new(), &All(false, true));
        assert!(history.rows().is_empty());
        assert_eq!(history.deadline(end), None);
    }
}
