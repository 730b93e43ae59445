//! What happened to a group, in words: the same in the log, in `ctl watch` and in events.

use super::Seen;
use crate::plan::Passed;
use speaker_proto::hold::{Event, Ground};
use speaker_proto::{GroupKey, NodeName};
use std::time::Duration;

/// One change of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Story {
    /// The event's name in the log.
    pub event: &'static str,
    /// The group.
    pub group: GroupKey,
    /// What happened.
    pub because: String,
    /// Somebody should look at it.
    pub is_warning: bool,
}

/// Tells what happened; `with` is the other node that the event names, `why` says why it or this node is not elected any more.
pub fn story(event: &Event, with: Option<&NodeName>, why: Option<Passed>) -> Story {
    let other = with.map_or("a node that is gone", NodeName::as_str);
    let (name, group, is_warning, because) = match event {
        Event::Taken {
            group,
            epoch,
            ground,
            from,
            took,
        } => {
            let took = Duration::from_millis(took.ns() / 1_000_000);
            let from = from.map_or_else(String::new, |_| format!("{other}, "));
            let since = since(other, why);
            let on = on(*ground);
            let because = format!("taken in epoch {epoch}: {on} ({from}{took:?}){since}");
            ("vipTaken", group, false, because)
        }
        Event::Given { group, to: Some(_) } => {
            let because = format!("given to {other}{}", since(THIS, why));
            ("vipGiven", group, false, because)
        }
        Event::Given { group, to: None } => {
            let because = format!("released{}", since(THIS, why));
            ("vipReleased", group, false, because)
        }
        Event::Disagree { group, .. } => (
            "vipDisagree",
            group,
            true,
            format!("this node and {other} elect different nodes: its holder keeps it"),
        ),
        Event::Stranger { group, mac } => (
            "vipStranger",
            group,
            true,
            format!("{mac} answers for it and is no member's: not taken before it stops"),
        ),
        Event::Contest {
            group,
            is_kept: true,
            ..
        } => (
            "vipContest",
            group,
            true,
            format!("{other} claimed it; this node has precedence and keeps it"),
        ),
        Event::Contest {
            group,
            is_kept: false,
            ..
        } => (
            "vipContest",
            group,
            true,
            format!("{other} claimed it and has precedence: this node is silent"),
        ),
        Event::Spoofed { group, mac } => (
            "vipSpoofed",
            group,
            true,
            format!("a claim by {mac}, which its node denies"),
        ),
        Event::MovesSpent { group } => (
            "vipMovesSpent",
            group,
            true,
            "moved too often lately: it stays for now".to_owned(),
        ),
    };
    Story {
        event: name,
        group: *group,
        because,
        is_warning,
    }
}

/// Why a node gave something away.
fn since(node: &str, why: Option<Passed>) -> String {
    why.map_or_else(String::new, |why| format!(", since {node} {why}"))
}

const THIS: &str = "this node";

/// Tells what was seen of a group that another node holds; `with` is that node, or who says that this one does not answer.
pub fn seen_story(group: GroupKey, with: Option<&NodeName>, seen: Seen) -> Story {
    let other = with.map_or("a node that is gone", NodeName::as_str);
    let (event, is_warning, because) = match seen {
        Seen::Unanswered { is_certain: true } => (
            "vipUnanswered",
            true,
            format!("{other} holds it and does not answer for it: others come first"),
        ),
        Seen::Unanswered { is_certain: false } => (
            "vipUnanswered",
            true,
            format!(
                "{other} holds it and no answer of it comes here: this node may be cut off, or on another segment"
            ),
        ),
        Seen::KernelSilent => (
            "vipPromiseBroken",
            true,
            format!(
                "{other} restarts and its kernel does not answer: not waited for, once another node finds the same"
            ),
        ),
        Seen::Answering => (
            "vipAnswered",
            false,
            format!("{other} answers for it again, or it is another's to answer"),
        ),
        Seen::Stranger(mac) => (
            "vipConflict",
            true,
            format!("{mac} answers for it, which {other} holds, and is no member's"),
        ),
        Seen::Unheard => (
            "vipUnheard",
            true,
            format!("{other} gets no answer for it from this node, and asks for it"),
        ),
    };
    Story {
        event,
        group,
        because,
        is_warning,
    }
}

/// The names that [`story`] and [`seen_story`] give, each once.
pub const STORIES: [&str; 13] = [
    "vipTaken",
    "vipGiven",
    "vipReleased",
    "vipDisagree",
    "vipStranger",
    "vipContest",
    "vipSpoofed",
    "vipMovesSpent",
    "vipUnanswered",
    "vipPromiseBroken",
    "vipAnswered",
    "vipConflict",
    "vipUnheard",
];

const fn on(ground: Ground) -> &'static str {
    match ground {
        Ground::Yielded => "its holder gave it",
        Ground::Dead => "its holder is dead and silent",
        Ground::Unheld => "nobody held it",
        Ground::Adopted => "the last process of this node held it",
        Ground::Contest => "a contest is over",
        Ground::Refused => "the node that it was given to does not want it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Unfit;
    use speaker_proto::{Epoch, Mac, NodeId, Span};
    use std::collections::BTreeSet;
    use std::net::{IpAddr, Ipv4Addr};

    #[test]
    fn every_name_is_listed_once() {
        let group = GroupKey(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
        let (with, mac) = (NodeId(2), Mac([2, 0, 0, 0, 0, 1]));
        let given = |to| Event::Given { group, to };
        let taken = Event::Taken {
            group,
            epoch: Epoch(1),
            ground: Ground::Dead,
            from: Some(with),
            took: Span::ms(7),
        };
        let contest = |is_kept| Event::Contest {
            group,
            with,
            is_kept,
        };
        let events = [
            taken,
            given(Some(with)),
            given(None),
            Event::Disagree { group, with },
            Event::Stranger { group, mac },
            contest(true),
            contest(false),
            Event::Spoofed { group, mac },
            Event::MovesSpent { group },
        ];
        let seen = [
            Seen::Unanswered { is_certain: true },
            Seen::Unanswered { is_certain: false },
            Seen::KernelSilent,
            Seen::Answering,
            Seen::Stranger(mac),
            Seen::Unheard,
        ];
        let seen = seen.map(|seen| seen_story(group, None, seen).event);
        let told = events.iter().map(|event| story(event, None, None).event);
        let names: BTreeSet<_> = told.chain(seen).collect();
        assert_eq!(names, BTreeSet::from(STORIES));
    }

    #[test]
    fn a_move_is_told_with_its_cause_and_how_long_it_took() {
        let group = GroupKey(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
        let n2: NodeName = "n2".parse().unwrap();
        let taken = |ground, from| Event::Taken {
            group,
            epoch: Epoch(7),
            ground,
            from,
            took: Span::ms(12),
        };
        let given = |to| Event::Given { group, to };
        let told = |event: &Event, with, why| story(event, with, why).because;
        let id = Some(NodeId(2));
        for (event, why, expected) in [
            (
                taken(Ground::Yielded, id),
                Some(Passed::Unfit(Unfit::Draining)),
                "taken in epoch 7: its holder gave it (n2, 12ms), since n2 is being drained",
            ),
            (
                taken(Ground::Dead, id),
                None,
                "taken in epoch 7: its holder is dead and silent (n2, 12ms)",
            ),
            (
                given(id),
                Some(Passed::Preferred),
                "given to n2, since this node is less preferred",
            ),
        ] {
            assert_eq!(told(&event, Some(&n2), why), expected);
        }
        let unheld = taken(Ground::Unheld, None);
        let expected = "taken in epoch 7: nobody held it (12ms)";
        assert_eq!(told(&unheld, None, None), expected);
        let why = Some(Passed::Unfit(Unfit::NoLink));
        let expected = "released, since this node has no selected link that can answer for all its address families";
        assert_eq!(told(&given(None), None, why), expected);
    }
}
