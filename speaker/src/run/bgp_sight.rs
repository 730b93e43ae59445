//! The BGP sessions as figures and as what `speaker ctl` shows.

use super::bgp::Bgp;
use crate::ctl::{BgpPeerSight, BgpSight, NegotiatedSight, Said};
use crate::drive::bgp::{PeerSight, label};
use crate::edge::bgp::Md5Counts;
use crate::report::BgpFigures;
use speaker_core::crd::PeerAsn;
use speaker_core::plan::{PeerName, PeerSettings};
use speaker_proto::Time;
use speaker_proto::bgp::session::{Counters, State, Status, Words};
use speaker_proto::bgp::{Family, Notification};
use std::collections::BTreeMap;

impl Bgp {
    /// What the metrics say. Peers without a session have none that is up.
    pub(super) fn figures(&self) -> Vec<BgpFigures> {
        let sights = self.sights.borrow();
        let figures = |sight: &PeerSight| {
            let settings = sight.settings.as_deref()?;
            let status = sight.status.as_ref().map(|status| status.borrow().clone());
            Some(BgpFigures {
                is_paused: sight.paused.is_some(),
                ..figures(settings, status.as_ref(), sight.wanted)
            })
        };
        sights.values().filter_map(figures).collect()
    }

    /// All peers by name, and whether each is left to another speaker of this node.
    pub(super) fn foreign(&self) -> BTreeMap<String, bool> {
        let sights = self.sights.borrow();
        let sights = sights.iter();
        sights
            .map(|(name, sight)| (name.to_string(), sight.is_left_to_another()))
            .collect()
    }

    /// What `speaker ctl` shows.
    pub(super) fn sight(&self, now: Time) -> BgpSight {
        let sights = self.sights.borrow();
        let peers = sights.iter().map(|(name, sight)| peer(name, sight, now));
        let peers: Vec<BgpPeerSight> = peers.collect();
        let has_password = peers.iter().any(|peer| peer.password_bytes.is_some());
        let drops = has_password.then(|| Md5Counts::read().ok()).flatten();
        BgpSight {
            peers,
            md5_drops: drops.map_or_else(BTreeMap::new, |drops| {
                BTreeMap::from([
                    ("unsigned", drops.missing),
                    ("signed unasked", drops.unexpected),
                    ("wrongly signed", drops.wrong),
                ])
            }),
        }
    }
}

fn figures(settings: &PeerSettings, status: Option<&Status>, wanted: usize) -> BgpFigures {
    let vrf = settings.vrf.as_ref();
    let mut figures = BgpFigures {
        peer: label(settings),
        address: settings.remote.to_string(),
        vrf: vrf.map_or_else(|| "default".to_owned(), ToString::to_string),
        ..BgpFigures::default()
    };
    let Some(status) = status else {
        return figures;
    };
    let counters = &status.counters;
    let announced = status.prefixes.iter().copied().map(u64::from).sum();
    figures.is_up = status.state == State::Established;
    figures.announced = announced;
    figures.pending = (wanted as u64).saturating_sub(announced);
    figures.received = received(counters);
    figures.sent = counters.sent;
    figures.got = counters.received;
    figures.forgiven = counters.forgiven;
    figures.dropped = counters.dropped;
    figures
}

fn received(counters: &Counters) -> u64 {
    let announced: u64 = counters.announced.iter().sum();
    announced.saturating_sub(counters.withdrawn.iter().sum())
}

fn peer(name: &PeerName, sight: &PeerSight, now: Time) -> BgpPeerSight {
    let mut peer = BgpPeerSight {
        name: name.to_string(),
        obstacle: sight.obstacle.as_ref().map(ToString::to_string),
        password_bytes: sight.key_bytes,
        paused: sight.paused.clone(),
        wanted: sight.wanted,
        ..BgpPeerSight::default()
    };
    if let Some(settings) = &sight.settings {
        peer.remote = label(settings);
        peer.vrf = settings
            .vrf
            .as_ref()
            .map_or_else(String::new, ToString::to_string);
        peer.notes = settings.notes();
        let deaf = sight.deaf.as_ref();
        let deaf = deaf.map(|why| format!("it cannot dial this node: {why}"));
        peer.notes.extend(deaf);
        peer.my_asn = settings.my_asn;
        peer.router_id = settings.router_id.to_string();
        peer.peer_asn = match settings.peer_asn {
            PeerAsn::Number(number) => number.to_string(),
            PeerAsn::Internal => "internal".to_owned(),
            PeerAsn::External => "external".to_owned(),
        };
    }
    match (&sight.status, &sight.ended) {
        (Some(status), _) => tell(&mut peer, &status.borrow(), now),
        (None, Some(ended)) => {
            tell(&mut peer, ended, now);
            peer.state = None;
        }
        (None, None) => {}
    }
    peer
}

fn tell(peer: &mut BgpPeerSight, status: &Status, now: Time) {
    let is_up = status.state == State::Established;
    let ms = |earlier: Time| now.since(earlier).ns() / 1_000_000;
    let said = |said: &Option<(Time, Notification)>| {
        let (at, notification) = said.as_ref()?;
        Some(Said {
            words: Words(notification).to_string(),
            ms_ago: ms(*at),
        })
    };
    let counters = &status.counters;
    peer.state = Some(status.state.as_str());
    peer.for_ms = ms(status.since);
    peer.because = (!is_up).then(|| status.cause.to_string());
    peer.times = status.cause_count;
    peer.retry_ms = status.retry_at.map(|at| at.since(now).ns() / 1_000_000);
    if let Some(open) = &status.peer {
        peer.peer_asn = open.asn.to_string();
    }
    peer.negotiated = status
        .negotiated
        .as_ref()
        .map(|negotiated| NegotiatedSight {
            peer_router_id: (status.peer.as_ref())
                .map_or_else(String::new, |open| open.router_id.to_string()),
            families: negotiated
                .families
                .iter()
                .map(|family| family.as_str())
                .collect(),
            hold_s: negotiated.hold.ns() / 1_000_000_000,
            keepalive_s: negotiated.keepalive.ns() / 1_000_000_000,
            has_graceful_restart: negotiated.has_graceful_restart,
            has_v4_over_v6_next_hop: negotiated.has_v4_over_v6_next_hop,
        });
    let told = Family::ALL.into_iter().zip(status.prefixes);
    peer.told = told
        .map(|(family, count)| (family.as_str(), count))
        .collect();
    peer.is_in_sync = status.is_in_sync;
    let without = status.without_next_hop.iter();
    peer.without_next_hop = without.map(|family| family.as_str()).collect();
    peer.received = received(counters);
    peer.messages = [counters.sent.total(), counters.received.total()];
    peer.ups_downs = [counters.established, counters.dropped];
    peer.last_sent = said(&status.last_sent);
    peer.last_received = said(&status.last_received);
    peer.forgiven = status.last_forgiven.map(|what| (what, counters.forgiven));
}
