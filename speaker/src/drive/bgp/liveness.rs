//! Which peers BFD watches, and how: what is asked of the thread of [`crate::drive::bfd`], and whom its events are about.

use crate::drive::bfd::{Event, SessionKey};
use crate::edge::bgp::{Dial, is_on_link};
use speaker_core::crd::PeerAsn;
use speaker_core::peering::PeerRemote;
use speaker_core::plan::{BfdSettings, PeerName, PeerSettings};
use speaker_proto::Span;
use speaker_proto::bfd::{Settings, State, TTL};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU8;

/// The peers that are watched, by their BFD sessions.
#[derive(Debug, Default)]
pub(super) struct Watched(BTreeMap<SessionKey, (PeerName, Settings)>);

/// A peer that BFD lost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Loss {
    pub(super) peer: PeerName,
    /// The peer's discriminator is another one than before.
    pub(super) is_peer_anew: bool,
    pub(super) detection: Span,
}

impl Watched {
    /// Adds a peer that is dialled in this way, if it is to be watched.
    pub(super) fn add(&mut self, name: &PeerName, settings: &PeerSettings, dial: &Dial) {
        if let Some(bfd) = &settings.bfd {
            let key = key(settings, dial);
            let timers = timers(bfd, key.is_multihop);
            self.0.insert(key, (name.clone(), timers));
        }
    }

    /// What is asked of BFD.
    pub(super) fn wants(&self) -> BTreeMap<SessionKey, Settings> {
        let wants = self.0.iter();
        wants
            .map(|(key, (_, timers))| (key.clone(), *timers))
            .collect()
    }

    /// The peer that is there by an event.
    pub(super) fn found(&self, event: &Event) -> Option<&PeerName> {
        match event {
            Event::Changed(key, change) if change.state == State::Up => {
                self.0.get(key).map(|(peer, _)| peer)
            }
            Event::Changed(..) | Event::Left(_) => None,
        }
    }

    /// The peer that an event is the loss of. One that says of itself that it is administratively down has not failed (RFC 5882 §3.2).
    pub(super) fn loss(&self, event: &Event) -> Option<Loss> {
        let Event::Changed(key, change) = event else {
            return None;
        };
        let (peer, timers) = self.0.get(key)?;
        let is_lost = match change.state {
            State::Up => false,
            State::Down | State::Init | State::AdminDown => change.peer != State::AdminDown,
        };
        is_lost.then(|| Loss {
            peer: peer.clone(),
            is_peer_anew: change.is_new_peer,
            detection: timers.detection(),
        })
    }
}

fn key(settings: &PeerSettings, dial: &Dial) -> SessionKey {
    let peer = dial.to.ip();
    SessionKey {
        peer,
        local: dial.from,
        interface: match &settings.remote {
            PeerRemote::Link(link) => Some(link.clone()),
            PeerRemote::Address(_) => None,
        },
        vrf: settings.vrf.clone(),
        is_multihop: is_far(settings, peer),
    }
}

/// As FRR decides it: with eBGP by the setting, with iBGP by whether both are on one link (RFC 5883 §3).
fn is_far(settings: &PeerSettings, peer: IpAddr) -> bool {
    let is_internal = match settings.peer_asn {
        PeerAsn::Number(number) => number == settings.my_asn,
        PeerAsn::Internal => true,
        PeerAsn::External => false,
    };
    let is_at_address = matches!(settings.remote, PeerRemote::Address(_));
    settings.multi_hop || (is_internal && is_at_address && !is_on_link(peer))
}

fn timers(bfd: &BfdSettings, is_multihop: bool) -> Settings {
    Settings {
        transmit: Span::ms(bfd.transmit_ms.into()),
        receive: Span::ms(bfd.receive_ms.into()),
        multiplier: NonZeroU8::new(bfd.multiplier).unwrap_or(NonZeroU8::MIN),
        is_passive: bfd.is_passive,
        ttl_min: if is_multihop { bfd.minimum_ttl } else { TTL },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use speaker_proto::bfd::{Change, Diagnostic};

    fn key() -> SessionKey {
        SessionKey {
            peer: [192, 0, 2, 1].into(),
            local: None,
            interface: None,
            vrf: None,
            is_multihop: false,
        }
    }

    fn loss(state: State, peer: State, is_new_peer: bool) -> Option<Loss> {
        watched().loss(&changed(state, peer, is_new_peer))
    }

    fn watched() -> Watched {
        let router = (PeerName::from("router"), Settings::default());
        Watched(BTreeMap::from([(key(), router)]))
    }

    fn changed(state: State, peer: State, is_new_peer: bool) -> Event {
        let change = Change {
            state,
            diagnostic: Diagnostic::TIMED_OUT,
            peer,
            is_new_peer,
        };
        Event::Changed(key(), change)
    }

    #[test]
    fn a_peer_that_comes_up_is_found_and_no_other() {
        let watched = watched();
        let found = |event| watched.found(&event).map(|name| &*name.0);
        assert_eq!(
            found(changed(State::Up, State::Init, false)),
            Some("router")
        );
        assert_eq!(found(changed(State::Down, State::Down, false)), None);
        assert_eq!(found(Event::Left(key())), None);
    }

    #[test]
    fn rfc5882_3_2_a_peer_that_is_administratively_down_has_not_failed() {
        assert_eq!(loss(State::Down, State::AdminDown, false), None);
        assert_eq!(loss(State::Up, State::Up, false), None);
        let lost = loss(State::Down, State::Down, true).unwrap();
        assert_eq!((&*lost.peer.0, lost.is_peer_anew), ("router", true));
        assert_eq!(lost.detection, Span::ms(900));
    }

    #[test]
    fn a_session_that_is_not_asked_for_is_nobodys_loss() {
        let change = Change {
            state: State::Down,
            diagnostic: Diagnostic::TIMED_OUT,
            peer: State::Down,
            is_new_peer: false,
        };
        assert_eq!(
            Watched::default().loss(&Event::Changed(key(), change)),
            None
        );
    }
}
