//! What membership shows of itself, as metrics and `speaker ctl members` tell it.

use super::board::Board;
use crate::ctl::{MemberSight, MembersSight};
use crate::drive::members_board::Figures;
use crate::report::MemberFigures;
use speaker_proto::gossip::Counts;
use speaker_proto::member::{Member, Standing};
use speaker_proto::{NodeId, Time};
use std::collections::BTreeMap;

/// For metrics.
pub(super) fn figures(shown: &Figures) -> MemberFigures {
    let mut standings: BTreeMap<&'static str, u64> =
        ["alive", "dead", "left"].map(|name| (name, 0)).into();
    for member in shown.roster.members.values() {
        *standings.entry(standing(member)).or_default() += 1;
    }
    let silent = shown.silent_seeds.iter().map(ToString::to_string);
    let members = shown.roster.members.iter();
    let unheard = members.filter(|(id, member)| member.is_alive() && is_unheard(shown, **id));
    let unheard = unheard.map(|(_, member)| member.profile.name.to_string());
    let dropped = shown.dropped.iter();
    let dropped = dropped.map(|(why, count)| (why.as_str(), *count));
    let (refused, events) = counts(&shown.counts);
    MemberFigures {
        is_waiting: shown.is_waiting,
        standings,
        observers: shown.observers as u64,
        unheard: unheard.chain(silent).collect(),
        sent: shown.sent,
        received: shown.received,
        send_failures: shown.send_failures,
        dropped: dropped.chain(refused).collect(),
        events: events
            .into_iter()
            .chain([
                ("late_turn", shown.late_turns),
                ("long_turn", shown.long_turns),
                ("message_lost", shown.messages_lost),
            ])
            .collect(),
    }
}

/// Counts by their names.
type Named = Vec<(&'static str, u64)>;

/// What the machine counted: datagrams that were refused by cause, and what happened.
fn counts(counts: &Counts) -> (Named, Named) {
    let Counts {
        malformed,
        misdirected,
        unsteered,
        other_protocol,
        unknown_kind,
        replayed,
        unproven,
        overtaken,
        left,
        challenges_full,
        roster_full,
        listeners_full,
        assemblies_full,
        spoilt,
        in_own_name,
        told_too_long,
        held_too_many,
        votes,
        verdicts,
        voided,
        accused,
    } = *counts;
    let refused = [
        ("malformed", malformed),
        ("misdirected", misdirected),
        ("other_protocol", other_protocol),
        ("unknown_kind", unknown_kind),
        ("replayed", replayed),
        ("unproven", unproven),
        ("overtaken", overtaken),
        ("left", left),
        ("challenges_full", challenges_full),
        ("roster_full", roster_full),
        ("spoilt", spoilt),
        ("in_own_name", in_own_name),
    ];
    let events = [
        ("vote", votes),
        ("verdict", verdicts),
        ("promise_void", voided),
        ("accused", accused),
        ("listeners_full", listeners_full),
        ("assemblies_full", assemblies_full),
        ("message_too_long", told_too_long),
        ("held_too_many", held_too_many),
        ("unsteered", unsteered),
    ];
    (refused.into(), events.into())
}

/// For `speaker ctl members`.
pub(super) fn sight(board: &Board, own_rules: u64, now: Time) -> MembersSight {
    let shown = board.members.read();
    let known = shown.roster.members.iter();
    let known = known.map(|(id, member)| of_member(&shown, *id, member, own_rules, now));
    let silent = shown.silent_seeds.iter().map(|address| MemberSight {
        addresses: vec![address.to_string()],
        standing: "unknown",
        is_unheard: true,
        ..MemberSight::default()
    });
    MembersSight {
        secret: board.secret.clone(),
        is_waiting: shown.is_waiting,
        key: shown.key.map(hexadecimal),
        is_settled: shown.roster.is_settled,
        is_name_taken: shown.roster.is_name_taken,
        observers: shown.observers,
        members: known.chain(silent).collect(),
    }
}

fn of_member(shown: &Figures, id: NodeId, member: &Member, own: u64, now: Time) -> MemberSight {
    let contact = shown.contacts.get(&id).copied().unwrap_or_default();
    let profile = &member.profile;
    let ms_ago = |at: Time| now.since(at).ns() / 1_000_000;
    MemberSight {
        name: profile.name.to_string(),
        standing: standing(member),
        addresses: profile.addresses.iter().map(ToString::to_string).collect(),
        heard_ms_ago: contact.last_heard.map(ms_ago),
        sent: contact.sent,
        heard: contact.heard,
        is_unheard: is_unheard(shown, id),
        is_reachable: member.is_reachable,
        held: member.held.len(),
        links: profile
            .links
            .iter()
            .map(|link| link.name.to_string())
            .collect(),
        version: profile.version.clone(),
        has_other_rules: profile.rules != own,
        is_draining: profile.is_draining,
        is_stale: profile.is_stale,
        key: profile.key.map(hexadecimal),
        has_other_key: profile.key.is_some() && profile.key != shown.key && member.is_alive(),
    }
}

fn hexadecimal(key: u8) -> String {
    format!("{key:02x}")
}

fn standing(member: &Member) -> &'static str {
    match member.standing {
        Standing::Alive => "alive",
        Standing::Dead { .. } => "dead",
        Standing::Left => "left",
    }
}

/// Something was sent to it, and nothing ever came back.
fn is_unheard(shown: &Figures, id: NodeId) -> bool {
    let contact = shown.contacts.get(&id);
    contact.is_some_and(|contact| contact.sent > 0 && contact.heard == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::gossip::Dropped;
    use speaker_proto::gossip::Contact;
    use speaker_proto::member::{HeldVersion, Profile, Roster};
    use std::sync::Arc;

    fn member(name: &str, standing: Standing) -> Arc<Member> {
        Arc::new(Member {
            boot: speaker_proto::Boot([1; 16]),
            profile: Arc::new(Profile {
                addresses: vec!["192.0.2.2:7946".parse().unwrap()],
                rules: 7,
                version: "0.1.0".to_owned(),
                ..Profile::of(name.parse().unwrap())
            }),
            standing,
            held: Arc::default(),
            held_version: HeldVersion(1),
            acked: HeldVersion(1),
            is_reachable: true,
            is_in_grace: false,
            has_met: true,
        })
    }

    fn shown() -> Figures {
        let silent_at = Time::ms(5);
        let members = [
            (NodeId(2), member("n2", Standing::Alive)),
            (NodeId(3), member("n3", Standing::Dead { silent_at })),
        ];
        let contact = Contact {
            sent: 4,
            ..Contact::default()
        };
        Figures {
            roster: Arc::new(Roster {
                members: members.into(),
                ..Roster::default()
            }),
            contacts: [(NodeId(2), contact)].into(),
            silent_seeds: ["192.0.2.9:7946".parse().unwrap()].into(),
            dropped: [(Dropped::Foreign, 3)].into(),
            counts: Counts {
                replayed: 2,
                votes: 1,
                ..Counts::default()
            },
            late_turns: 6,
            long_turns: 7,
            ..Figures::default()
        }
    }

    #[test]
    fn members_are_counted_by_standing_and_the_unheard_are_named() {
        let figures = figures(&shown());
        let standings = [("alive", 1), ("dead", 1), ("left", 0)];
        assert_eq!(figures.standings, standings.into());
        let unheard = ["192.0.2.9:7946", "n2"].map(str::to_owned);
        assert_eq!(figures.unheard, unheard.into());
        assert_eq!(figures.dropped["foreign"], 3);
        assert_eq!(figures.dropped["replayed"], 2);
        assert_eq!(
            ["vote", "late_turn", "long_turn"].map(|event| figures.events[event]),
            [1, 6, 7]
        );
    }

    #[test]
    fn a_member_is_shown_with_what_differs() {
        let shown = shown();
        let member = &shown.roster.members[&NodeId(2)];
        let sight = of_member(&shown, NodeId(2), member, 8, Time::ms(9));
        assert!(sight.is_unheard && sight.has_other_rules);
        assert_eq!((sight.standing, sight.sent), ("alive", 4));
        let sight = of_member(&shown, NodeId(3), member, 7, Time::ms(9));
        assert!(!sight.is_unheard && !sight.has_other_rules);
    }
}
