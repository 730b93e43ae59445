//! What a session is told, from what the plan wants of it and what the node has: pure, so that a change of it is a comparison.

use crate::edge::bgp::{Dial, Key, Reach};
use speaker_core::LinkName;
use speaker_core::crd::PeerAsn;
use speaker_core::peering::PeerRemote;
use speaker_core::plan::{PasswordFrom, PeerSettings};
use speaker_proto::Span;
use speaker_proto::bgp::session::{self, CONNECT_RETRY, Graceful};
use speaker_proto::bgp::{Family, Routes};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

/// Passwords of Secrets by namespace and name, or why there is none.
pub(crate) type Keys = BTreeMap<(String, String), Result<Key, Keyless>>;

/// Why there is no password, in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Keyless {
    /// The Secret is not there, or is not as it must be: what was configured is at fault.
    Faulty(String),
    /// It could not be asked for.
    Unread(String),
}

impl fmt::Display for Keyless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Faulty(why) | Self::Unread(why) => f.write_str(why),
        }
    }
}

/// Routers on links that were asked for, or why none is known.
pub(crate) type Places = BTreeMap<LinkName, Result<Place, String>>;

/// Where a router is found on a link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Place {
    /// The link's index.
    pub(crate) ifindex: u32,
    /// Its link-local address there.
    pub(crate) router: Ipv6Addr,
}

/// All that one session is told.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// As the machine takes it.
    pub(super) settings: session::Settings,
    /// How to reach the peer, or what that waits for, in words.
    pub(super) dial: Result<Dial, String>,
    /// What the peer is to be told.
    pub(super) routes: Arc<Routes>,
    /// Whether that is all there is.
    pub(super) is_complete: bool,
}

/// What a new way to dial means for a connection that was dialled in another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// The key can be changed on the connection.
    Key,
    /// The connection cannot have it.
    Connection,
}

impl Target {
    /// Of a peer with these settings.
    pub(super) fn new(
        settings: &PeerSettings,
        routes: &Arc<Routes>,
        keys: &Keys,
        places: &Places,
    ) -> Self {
        Self {
            settings: session(settings),
            dial: dial(settings, keys, places),
            routes: Arc::clone(routes),
            is_complete: true,
        }
    }

    /// Whether both say the same; routes that were made anew are not compared.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.settings == other.settings
            && self.dial == other.dial
            && Arc::ptr_eq(&self.routes, &other.routes)
            && self.is_complete == other.is_complete
    }
}

impl Change {
    /// From how a connection was dialled to how it would be now. How long it is waited for does not count: that is the hold time,
    /// of which the machine knows what it means. Nor does what would keep from dialling.
    pub(super) fn of(before: &Dial, after: &Dial) -> Self {
        let alike = Dial {
            patience: before.patience,
            key: before.key.clone(),
            dials_anyway: before.dials_anyway,
            ..after.clone()
        };
        match (alike == *before, &before.key, &after.key) {
            (false, _, _) | (_, None, Some(_)) | (_, Some(_), None) => Self::Connection,
            (true, before, after) if before == after => Self::None,
            (true, _, _) => Self::Key,
        }
    }
}

fn session(settings: &PeerSettings) -> session::Settings {
    let is_v6 = match &settings.remote {
        PeerRemote::Address(ip) => ip.is_ipv6(),
        PeerRemote::Link(_) => true,
    };
    session::Settings {
        asn: settings.my_asn,
        peer_asn: match settings.peer_asn {
            PeerAsn::Number(number) => session::PeerAsn::Number(number),
            PeerAsn::Internal => session::PeerAsn::Internal,
            PeerAsn::External => session::PeerAsn::External,
        },
        router_id: settings.router_id,
        hold_seconds: settings.hold_seconds,
        keepalive_seconds: settings.keepalive_seconds,
        connect_retry: match settings.connect_seconds {
            Some(seconds) => Span::s(seconds.into()),
            None => CONNECT_RETRY,
        },
        families: settings.families.clone(),
        has_v4_over_v6_next_hop: is_v6 && settings.families.contains(&Family::V4),
        graceful_restart: settings.graceful_restart.then_some(Graceful {
            seconds: GRACEFUL_SECONDS,
            // Without BFD the routes of a node that died would stay until then.
            has_notification: settings.bfd.is_some(),
        }),
        drain_prepends: settings.drain_prepends,
    }
}

fn dial(settings: &PeerSettings, keys: &Keys, places: &Places) -> Result<Dial, String> {
    let is_external = match settings.peer_asn {
        PeerAsn::Number(number) => number != settings.my_asn,
        PeerAsn::Internal => false,
        PeerAsn::External => true,
    };
    let is_on_link = matches!(settings.remote, PeerRemote::Link(_));
    let is_near = is_on_link || (is_external && !settings.multi_hop);
    Ok(Dial {
        to: to(settings, places)?,
        from: settings.source,
        vrf: settings.vrf.as_ref().map(ToString::to_string),
        key: key(settings, keys)?,
        reach: if is_near { Reach::Link } else { Reach::Far },
        requires_ttl_255: settings.requires_ttl_255,
        dials_anyway: settings.dials_anyway,
        patience: Duration::from_secs(settings.hold_seconds.into()),
    })
}

fn to(settings: &PeerSettings, places: &Places) -> Result<SocketAddr, String> {
    match &settings.remote {
        PeerRemote::Address(ip) => Ok(SocketAddr::new(*ip, settings.port)),
        PeerRemote::Link(link) => {
            let unknown = || Err(format!("{link} is not looked at yet"));
            let place = places.get(link).cloned().unwrap_or_else(unknown)?;
            let to = SocketAddrV6::new(place.router, settings.port, 0, place.ifindex);
            Ok(to.into())
        }
    }
}

fn key(settings: &PeerSettings, keys: &Keys) -> Result<Option<Key>, String> {
    match &settings.password {
        None => Ok(None),
        Some(PasswordFrom::Peer(password)) => Key::new(password.0.as_bytes())
            .map(Some)
            .map_err(|error| error.to_string()),
        Some(PasswordFrom::Secret { namespace, name }) => {
            match keys.get(&(namespace.clone(), name.clone())) {
                Some(key) => key.clone().map(Some).map_err(|why| why.to_string()),
                None => Err(format!("Secret {namespace}/{name} is not read yet")),
            }
        }
    }
}

/// The peer as MetalLB's metrics name it.
pub(crate) fn label(settings: &PeerSettings) -> String {
    match &settings.remote {
        PeerRemote::Address(IpAddr::V4(ip)) => format!("{ip}:{}", settings.port),
        PeerRemote::Address(IpAddr::V6(ip)) => format!("[{ip}]:{}", settings.port),
        PeerRemote::Link(link) => link.to_string(),
    }
}

/// As MetalLB's FRR asks for.
const GRACEFUL_SECONDS: u16 = 120;

#[cfg(test)]
mod tests {
    use super::*;

    fn dial() -> Dial {
        Dial {
            to: SocketAddr::new([192, 0, 2, 1].into(), 179),
            from: None,
            vrf: None,
            key: None,
            reach: Reach::Link,
            requires_ttl_255: false,
            dials_anyway: false,
            patience: Duration::from_secs(90),
        }
    }

    fn key(text: &str) -> Option<Key> {
        Some(Key::new(text.as_bytes()).unwrap())
    }

    fn with_key(text: &str) -> Dial {
        Dial {
            key: key(text),
            ..dial()
        }
    }

    #[test]
    fn a_password_changes_on_the_connection_and_comes_and_goes_with_it() {
        assert_eq!(Change::of(&dial(), &dial()), Change::None);
        assert_eq!(Change::of(&with_key("a"), &with_key("a")), Change::None);
        assert_eq!(Change::of(&with_key("a"), &with_key("b")), Change::Key);
        assert_eq!(Change::of(&dial(), &with_key("b")), Change::Connection);
        assert_eq!(Change::of(&with_key("b"), &dial()), Change::Connection);
    }

    #[test]
    fn an_address_needs_a_connection_and_the_hold_time_does_not() {
        let elsewhere = Dial {
            from: Some([192, 0, 2, 9].into()),
            ..dial()
        };
        assert_eq!(Change::of(&dial(), &elsewhere), Change::Connection);
        let longer = Dial {
            patience: Duration::from_secs(180),
            ..dial()
        };
        assert_eq!(Change::of(&dial(), &longer), Change::None);
    }
}
