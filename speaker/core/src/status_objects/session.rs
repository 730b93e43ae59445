//! What is said of BGP sessions: one object for each peer of a node, in the form that MetalLB's frr-k8s gives them.
//!
//! Each attempt to connect passes through several states, and a router that is down is tried for days. So a session that comes up or goes
//! down is told at once, and through which states one passes that is not up only now and then: [`calmed`].

use super::{Form, Wanted};
use crate::link::LinkName;
use crate::peering::PeerRemote;
use serde_json::json;
use speaker_proto::bgp::session::State;
use speaker_proto::{NodeName, Span};
use std::net::IpAddr;

/// BGPSessionState.
pub const SESSION: Form = Form {
    group: "frrk8s.metallb.io",
    kind: "BGPSessionState",
    plural: "bgpsessionstates",
    prefix: None,
    node_label: "frrk8s.metallb.io/node",
    subject_labels: ["frrk8s.metallb.io/vrf", "frrk8s.metallb.io/peer"],
    // An frr-k8s that still runs keeps its own.
    mark: Some(("app.kubernetes.io/managed-by", "heliograph")),
    fixed: &[],
    is_exclusive: false,
};

/// How long a state may be said that a session has left for another in which it is not up either: as long as frr-k8s takes to look again.
pub const LOOK_AGAIN: Span = Span::s(120);

/// How the session with one peer fares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// Where the peer is.
    pub remote: PeerRemote,
    /// The VRF of the session; `None`: the main one.
    pub vrf: Option<LinkName>,
    /// Its state.
    pub state: State,
    /// Whether BFD hears the peer; `None`: it does not watch it.
    pub is_heard: Option<bool>,
}

/// What a node says of its sessions. Of two with one address in one VRF the first counts.
pub fn wanted(node: &NodeName, sessions: impl IntoIterator<Item = Session>) -> Wanted {
    let mut wanted = Wanted::new();
    for session in sessions {
        let peer = label(&session.remote);
        let vrf = session.vrf.map_or_else(String::new, |vrf| vrf.to_string());
        let status = json!({
            "node": node.as_str(),
            "peer": peer,
            "vrf": vrf,
            "bgpStatus": session.state.as_str(),
            "bfdStatus": bfd(session.is_heard),
        });
        wanted.entry([vrf, peer]).or_insert(status);
    }
    wanted
}

/// `now`, but with the states that `before` said of sessions which were not up then and are not up now.
pub fn calmed(before: &Wanted, mut now: Wanted) -> Wanted {
    for (subject, status) in &mut now {
        let Some(said) = before.get(subject).map(|said| &said["bgpStatus"]) else {
            continue;
        };
        let up = State::Established.as_str();
        if *said != up && status["bgpStatus"] != up {
            status["bgpStatus"] = said.clone();
        }
    }
    now
}

/// The peer as a label can have it, which has no colons: of IPv6 all eight groups, with dashes.
fn label(remote: &PeerRemote) -> String {
    match remote {
        PeerRemote::Address(IpAddr::V4(ip)) => ip.to_string(),
        PeerRemote::Address(IpAddr::V6(ip)) => {
            let groups = ip.segments().map(|group| format!("{group:04x}"));
            groups.join("-")
        }
        PeerRemote::Link(link) => link.to_string(),
    }
}

/// In FRR's words.
const fn bfd(is_heard: Option<bool>) -> &'static str {
    match is_heard {
        None => "N/A",
        Some(true) => "Up",
        Some(false) => "Down",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn session(peer: &str, state: State) -> Session {
        Session {
            remote: PeerRemote::Address(peer.parse().unwrap()),
            vrf: None,
            state,
            is_heard: None,
        }
    }

    fn wanted_of(sessions: impl IntoIterator<Item = Session>) -> Wanted {
        wanted(&"n1".parse().unwrap(), sessions)
    }

    fn check(session: Session, expected: &Value) {
        let wanted = wanted_of([session]);
        let [([vrf, peer], status)] = Vec::from_iter(&wanted)[..] else {
            panic!("one session, not {wanted:?}");
        };
        assert_eq!(status, expected);
        // The labels say what the status says.
        assert_eq!(
            (&json!(vrf), &json!(peer)),
            (&status["vrf"], &status["peer"])
        );
    }

    #[test]
    fn metallb_1_7_a_session_is_said_as_frr_k8s_says_it() {
        check(
            session("192.0.2.1", State::Established),
            &json!({
                "node": "n1", "peer": "192.0.2.1", "vrf": "", "bgpStatus": "Established", "bfdStatus": "N/A",
            }),
        );
        let v6 = Session {
            vrf: Some("red".into()),
            is_heard: Some(false),
            ..session("2001:db8::1", State::Active)
        };
        check(
            v6,
            &json!({
                "node": "n1", "peer": "2001-0db8-0000-0000-0000-0000-0000-0001", "vrf": "red",
                "bgpStatus": "Active", "bfdStatus": "Down",
            }),
        );
        let on_link = Session {
            remote: PeerRemote::Link("eth1".into()),
            is_heard: Some(true),
            ..session("192.0.2.1", State::OpenSent)
        };
        check(
            on_link,
            &json!({
                "node": "n1", "peer": "eth1", "vrf": "", "bgpStatus": "OpenSent", "bfdStatus": "Up",
            }),
        );
    }

    #[test]
    fn of_two_sessions_with_one_address_one_is_said() {
        let both = [State::Established, State::Idle].map(|state| session("192.0.2.1", state));
        let wanted = wanted_of(both);
        assert_eq!(wanted.len(), 1);
        assert_eq!(wanted.values().next().unwrap()["bgpStatus"], "Established");
    }

    /// The state that is told when one was told before and another is there now.
    fn told(before: State, now: State) -> String {
        let [before, now] = [before, now].map(|state| wanted_of([session("192.0.2.1", state)]));
        let told = calmed(&before, now);
        told.values().next().unwrap()["bgpStatus"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn a_session_that_is_not_up_does_not_tell_each_state_that_it_passes() {
        for before in State::ALL {
            for now in State::ALL {
                let is_up = [before, now].contains(&State::Established);
                let expected = if is_up { now } else { before };
                assert_eq!(told(before, now), expected.as_str(), "{before:?} {now:?}");
            }
        }
    }

    #[test]
    fn what_bfd_says_and_which_sessions_there_are_is_never_held_back() {
        let before = wanted_of([
            session("192.0.2.1", State::Idle),
            session("192.0.2.2", State::Idle),
        ]);
        let heard = Session {
            is_heard: Some(true),
            ..session("192.0.2.1", State::Idle)
        };
        let now = wanted_of([heard, session("192.0.2.3", State::Active)]);
        assert_eq!(calmed(&before, now.clone()), now);
    }
}
