//! Sockets of a service proxy on this node, as far as it must be known which VIPs they can serve.
//!
//! How they are registered, and what the kernel does with them, is the shell's; which VIPs are to be served by them is [`crate::plan`]'s.

use crate::link::LinkName;
use crate::service::ServiceId;
use speaker_ebpf::abi::SocketKey;
use speaker_proto::Vip;
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// What this node has of sockets.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listeners {
    /// VIPs that a socket is registered for, on whichever port.
    pub vips: BTreeSet<Vip>,
    /// The kernel does not give connections to sockets by a program: it refuses it, or something that it takes.
    pub is_refused: bool,
    /// Links whose packets cannot be marked, because the program is attached at XDP there.
    pub unmarked: BTreeSet<LinkName>,
}

/// Why a VIP that sockets should serve is not served by them, on a link of this node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Unserved {
    /// It is shared with a service that sockets are not to serve.
    SharedWith(ServiceId),
    /// The kernel does not do it.
    Refused,
    /// The program is at XDP on the link.
    Unmarked,
    /// No socket is registered for it here.
    Nobody,
    /// The Service's status does not say that proxies are to leave the address alone (`ipMode: Proxy`).
    TakenByProxy,
}

impl fmt::Display for Unserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SharedWith(service) => write!(
                f,
                "its address is shared with {service}, which is not to be served by sockets"
            ),
            Self::Refused => {
                f.write_str("the kernel refuses programs that choose sockets: the speaker's log says why")
            }
            Self::Unmarked => f.write_str(
                "packets of the link cannot be marked, since the program is at XDP there: --attach tc",
            ),
            Self::Nobody => {
                f.write_str("no socket is registered for it on this node: speaker ctl socket add")
            }
            Self::TakenByProxy => f.write_str(
                "the Service's status does not say ipMode: Proxy for it, so that kube-proxy takes what comes in",
            ),
        }
    }
}

/// What a socket is registered for: a port of a VIP.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Front {
    /// The VIP.
    pub vip: Vip,
    /// The port.
    pub port: u16,
    /// The protocol.
    pub transport: Transport,
}

/// Protocols with ports that sockets are registered for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// Its number in packets.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl fmt::Display for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}",
            SocketAddr::new(self.vip.0, self.port),
            self.transport
        )
    }
}

impl FromStr for Front {
    type Err = String;

    /// From `ADDRESS:PORT`, an IPv6 address in brackets, and `/tcp` (which may be left out) or `/udp`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, transport) = match text.rsplit_once('/') {
            None => (text, Transport::Tcp),
            Some((address, "tcp")) => (address, Transport::Tcp),
            Some((address, "udp")) => (address, Transport::Udp),
            Some((_, other)) => return Err(format!("{other:?} is neither tcp nor udp")),
        };
        let parsed = address.parse::<SocketAddr>();
        let address = parsed
            .map_err(|_| format!("{address:?} is no ADDRESS:PORT ([ADDRESS]:PORT for IPv6)"))?;
        match address.port() {
            0 => Err("port 0 is none".to_owned()),
            port => Ok(Self {
                vip: Vip(address.ip().to_canonical()),
                port,
                transport,
            }),
        }
    }
}

impl From<Front> for SocketKey {
    fn from(front: Front) -> Self {
        Self::new(front.vip.0.into(), front.port, front.transport.number())
    }
}

impl Front {
    /// What a row of the kernel's table is for; `None`: no row of ours.
    pub fn of(key: SocketKey) -> Option<Self> {
        let transports = [Transport::Tcp, Transport::Udp];
        let transport = transports
            .into_iter()
            .find(|t| t.number() == key.protocol())?;
        Some(Self {
            vip: Vip(key.addr().into()),
            port: key.port(),
            transport,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_front_is_read_as_it_is_written_and_so_is_its_key() {
        for (text, canonical) in [
            ("192.0.2.10:80", "192.0.2.10:80/tcp"),
            ("192.0.2.10:53/udp", "192.0.2.10:53/udp"),
            ("[2001:db8::1]:443/tcp", "[2001:db8::1]:443/tcp"),
            ("[::ffff:192.0.2.10]:80", "192.0.2.10:80/tcp"),
        ] {
            let front: Front = text.parse().unwrap();
            assert_eq!(front.to_string(), canonical);
            assert_eq!(canonical.parse(), Ok(front));
            assert_eq!(Front::of(front.into()), Some(front));
        }
    }

    #[test]
    fn what_is_no_front_says_what_is_wrong() {
        let fault = |text: &str| text.parse::<Front>().unwrap_err();
        assert_eq!(
            fault("192.0.2.10"),
            "\"192.0.2.10\" is no ADDRESS:PORT ([ADDRESS]:PORT for IPv6)"
        );
        assert_eq!(
            fault("192.0.2.10:80/sctp"),
            "\"sctp\" is neither tcp nor udp"
        );
        assert_eq!(fault("192.0.2.10:0"), "port 0 is none");
    }
}
