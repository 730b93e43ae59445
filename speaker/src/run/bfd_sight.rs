//! The BFD sessions as figures and as what `speaker ctl` shows.

use super::bgp::Bgp;
use crate::ctl::{BfdSessionSight, BfdSideSight, BfdSight};
use crate::drive::bfd::{SessionKey, View};
use crate::drive::bgp::Sights;
use crate::report::BfdFigures;
use speaker_core::peering::PeerRemote;
use speaker_core::plan::PeerSettings;
use speaker_proto::bfd::{Diagnostic, Discard, Peer, Settings, State};
use speaker_proto::{Span, Time};
use std::collections::BTreeMap;
use std::num::NonZeroU32;

impl Bgp {
    /// What the metrics say of BFD.
    pub(super) fn bfd_figures(&self) -> Vec<BfdFigures> {
        figures(&self.bfd.borrow().sessions)
    }

    /// Packets that were not taken, by each cause there is; nothing where no BFD is wanted.
    pub(super) fn bfd_discarded(&self) -> BTreeMap<&'static str, u64> {
        let figures = self.bfd.borrow();
        if figures.sessions.is_empty() && figures.discarded.is_empty() {
            return BTreeMap::new();
        }
        let count = |cause: Discard| figures.discarded.get(&cause).copied().unwrap_or_default();
        (Discard::ALL.into_iter())
            .map(|cause| (cause.as_str(), count(cause)))
            .collect()
    }

    /// What `speaker ctl` shows of BFD.
    pub(super) fn bfd_sight(&self, now: Time) -> BfdSight {
        let figures = self.bfd.borrow();
        let sights = self.sights.borrow();
        let sessions = figures.sessions.iter();
        let discarded = figures.discarded.iter();
        BfdSight {
            sessions: sessions
                .map(|(key, view)| session(key, view, names(&sights, key), now))
                .collect(),
            discarded: discarded
                .map(|(cause, count)| (cause.as_str(), *count))
                .collect(),
            refused: figures.refused,
            late_turns: figures.late_turns,
        }
    }
}

/// By peer and VRF, which is all that MetalLB's labels tell of a session: several that have these in common are up together, and count
/// together.
fn figures(sessions: &BTreeMap<SessionKey, View>) -> Vec<BfdFigures> {
    let mut all: BTreeMap<(String, String), BfdFigures> = BTreeMap::new();
    for (key, view) in sessions {
        let vrf = key.vrf.as_ref();
        let vrf = vrf.map_or_else(|| "default".to_owned(), ToString::to_string);
        let label = (key.peer.to_string(), vrf);
        let figures = all
            .entry(label)
            .or_insert_with_key(|(peer, vrf)| BfdFigures {
                peer: peer.clone(),
                vrf: vrf.clone(),
                is_up: true,
                ..BfdFigures::default()
            });
        figures.is_up &= view.state == State::Up;
        figures.received += view.counts.received;
        figures.sent += view.counts.sent;
        figures.ups += view.counts.ups;
        figures.downs += view.counts.downs;
    }
    all.into_values().collect()
}

/// The peers that a session watches.
fn names(sights: &Sights, key: &SessionKey) -> Vec<String> {
    let is_watched = |settings: &PeerSettings| {
        let is_there = match &settings.remote {
            PeerRemote::Address(address) => *address == key.peer && settings.source == key.local,
            PeerRemote::Link(link) => key.interface.as_ref() == Some(link),
        };
        settings.bfd.is_some() && is_there && settings.vrf == key.vrf
    };
    let watched = sights
        .iter()
        .filter(|(_, sight)| sight.settings.as_deref().is_some_and(is_watched));
    watched.map(|(name, _)| name.to_string()).collect()
}

fn session(key: &SessionKey, view: &View, peers: Vec<String>, now: Time) -> BfdSessionSight {
    let text = |text: Option<String>| text.unwrap_or_default();
    BfdSessionSight {
        peers,
        address: key.peer.to_string(),
        local: text(key.local.map(|ip| ip.to_string())),
        link: text(key.interface.as_ref().map(ToString::to_string)),
        vrf: text(key.vrf.as_ref().map(ToString::to_string)),
        is_multihop: key.is_multihop,
        state: view.state.to_string(),
        for_ms: ms(now.since(view.since)),
        because: because(view),
        interval_ms: view.interval.map(ms),
        detection_ms: ms(view.detection),
        ours: ours(view.discriminator, view.state, &view.settings),
        theirs: theirs(&view.peer),
        packets: [view.counts.sent, view.counts.received],
        unsent: view.unsent,
        ups_downs: [view.counts.ups, view.counts.downs],
        late: view.counts.late,
    }
}

/// Why a session is not up; `None`: it is.
fn because(view: &View) -> Option<String> {
    if view.trouble.is_some() {
        return view.trouble.clone();
    }
    let why = match (view.state, view.peer.discriminator) {
        (State::Up, _) => return None,
        (State::AdminDown, _) => "switched off here".to_owned(),
        (State::Down | State::Init, None) if view.diagnostic != Diagnostic::NONE => {
            format!("not heard again since: {}", view.diagnostic)
        }
        (State::Down | State::Init, None) if view.settings.is_passive => {
            "passive: the peer has to begin, and was not heard yet".to_owned()
        }
        (State::Down | State::Init, None) => "the peer was not heard yet".to_owned(),
        (State::Down | State::Init, Some(_)) if view.peer.state == State::AdminDown => {
            "the peer has switched it off".to_owned()
        }
        (State::Down | State::Init, Some(_)) => format!(
            "the peer is heard and says {}: {}",
            view.peer.state, view.peer.diagnostic
        ),
    };
    Some(why)
}

fn ours(discriminator: NonZeroU32, state: State, settings: &Settings) -> BfdSideSight {
    BfdSideSight {
        discriminator: discriminator.get(),
        state: state.to_string(),
        transmit_ms: ms(settings.transmit),
        receive_ms: ms(settings.receive),
        multiplier: settings.multiplier.get(),
    }
}

fn theirs(peer: &Peer) -> Option<BfdSideSight> {
    Some(BfdSideSight {
        discriminator: peer.discriminator?.get(),
        state: peer.state.to_string(),
        transmit_ms: ms(peer.transmit),
        receive_ms: ms(peer.receive),
        multiplier: peer.multiplier.get(),
    })
}

const fn ms(span: Span) -> u64 {
    span.ns() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use speaker_proto::bfd::Counts;

    fn key(local: u8) -> SessionKey {
        SessionKey {
            peer: [192, 0, 2, 1].into(),
            local: Some([192, 0, 2, local].into()),
            interface: None,
            vrf: None,
            is_multihop: false,
        }
    }

    fn view(state: State, peer: Option<State>) -> View {
        View {
            state,
            diagnostic: Diagnostic::NONE,
            since: Time::ms(1000),
            discriminator: NonZeroU32::MIN,
            peer: Peer {
                discriminator: peer.map(|_| NonZeroU32::MAX),
                state: peer.unwrap_or(State::Down),
                diagnostic: Diagnostic::NONE,
                multiplier: Settings::default().multiplier,
                transmit: Span::ms(300),
                receive: Span::ms(300),
                is_demand: false,
            },
            settings: Settings::default(),
            interval: Some(Span::ms(300)),
            detection: Span::ms(900),
            counts: Counts {
                received: 10,
                sent: 20,
                ups: 2,
                downs: 1,
                late: 0,
            },
            unsent: 0,
            trouble: None,
        }
    }

    #[test]
    fn sessions_with_the_same_labels_are_up_together_and_count_together() {
        let up = view(State::Up, Some(State::Up));
        let down = view(State::Down, None);
        let figures = figures(&BTreeMap::from([(key(11), up), (key(12), down)]));
        let expected = BfdFigures {
            peer: "192.0.2.1".to_owned(),
            vrf: "default".to_owned(),
            is_up: false,
            received: 20,
            sent: 40,
            ups: 4,
            downs: 2,
        };
        assert_eq!(figures, [expected]);
    }

    #[test]
    fn who_is_not_up_says_why() {
        let why = |change: fn(&mut View), peer| {
            let mut view = view(State::Down, peer);
            change(&mut view);
            because(&view).unwrap()
        };
        assert_eq!(why(|_| {}, None), "the peer was not heard yet");
        let passive = why(|view| view.settings.is_passive = true, None);
        assert!(passive.starts_with("passive: "), "{passive}");
        let lost = why(|view| view.diagnostic = Diagnostic::TIMED_OUT, None);
        assert_eq!(
            lost,
            "not heard again since: control detection time expired"
        );
        let off = why(|_| {}, Some(State::AdminDown));
        assert_eq!(off, "the peer has switched it off");
        let deaf = why(
            |view| view.trouble = Some("no such link".to_owned()),
            Some(State::Down),
        );
        assert_eq!(deaf, "no such link");
        assert_eq!(because(&view(State::Up, Some(State::Up))), None);
    }

    #[test]
    fn both_sides_are_shown() {
        let seen = session(
            &key(11),
            &view(State::Up, Some(State::Up)),
            Vec::new(),
            Time::ms(3500),
        );
        assert_eq!((seen.for_ms, seen.detection_ms), (2500, 900));
        assert_eq!(seen.ours.discriminator, 1);
        assert_eq!(
            seen.theirs.map(|side| side.discriminator),
            Some(0xffff_ffff)
        );
        assert_eq!(theirs(&view(State::Down, None).peer), None);
    }
}
