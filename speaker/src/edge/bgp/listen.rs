//! Listening for peers that dial.
//!
//! A password is set for its peer before that dials, since the first segment is signed already (RFC 2385); what else a session wants of its
//! connection is set once it stands ([`Dial::adopt`]). Who may dial is not known here.

use super::Dial;
use super::key::Key;
use super::options::{change_key, forget_key};
use anyhow::{Context, Result};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::{TcpListener, TcpStream};

/// Where is listened: one family of the whole node, or of a VRF.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Post {
    /// The device of the VRF.
    pub(crate) vrf: Option<String>,
    /// IPv6, and nothing of IPv4.
    pub(crate) is_v6: bool,
}

impl Post {
    /// Where a peer that is dialled so would dial.
    pub(crate) fn of(dial: &Dial) -> Self {
        Self {
            vrf: dial.vrf.clone(),
            is_v6: dial.to.is_ipv6(),
        }
    }
}

/// The passwords of peers by address.
pub(crate) type PeerKeys = BTreeMap<IpAddr, Key>;

/// A port on which peers may dial.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    keys: PeerKeys,
}

impl Listener {
    /// Listens on all addresses.
    ///
    /// # Errors
    /// When the VRF is not there, the port is taken, or below 1024 without `CAP_NET_BIND_SERVICE`.
    pub(crate) fn open(post: &Post, port: u16) -> Result<Self> {
        let (domain, any): (_, IpAddr) = match post.is_v6 {
            true => (Domain::IPV6, Ipv6Addr::UNSPECIFIED.into()),
            false => (Domain::IPV4, Ipv4Addr::UNSPECIFIED.into()),
        };
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(domain, kind, Some(Protocol::TCP))?;
        if let Some(vrf) = &post.vrf {
            let bound = socket.bind_device(Some(vrf.as_bytes()));
            bound.with_context(|| format!("failed to enter the VRF {vrf}"))?;
        }
        if post.is_v6 {
            socket.set_only_v6(true)?;
        }
        // Sessions of the process before this one may still be ending.
        socket.set_reuse_address(true)?;
        let address = SocketAddr::new(any, port);
        let taken = socket.bind(&address.into());
        taken.with_context(|| format!("failed to take port {port} of TCP"))?;
        // A peer that wants 255 (RFC 5082) wants it of the answer to its first segment too.
        match post.is_v6 {
            true => socket.set_unicast_hops_v6(u32::from(u8::MAX))?,
            false => socket.set_ttl_v4(u32::from(u8::MAX))?,
        }
        socket.listen(BACKLOG)?;
        Ok(Self {
            listener: TcpListener::from_std(socket.into())?,
            keys: PeerKeys::new(),
        })
    }

    /// From now on these peers must sign by these passwords, and all others must not.
    ///
    /// # Errors
    /// When the kernel does not take one; then it is tried again with the next call.
    pub(crate) fn want(&mut self, keys: &PeerKeys) -> io::Result<()> {
        let gone: Vec<IpAddr> = self.keys.keys().copied().collect();
        for peer in gone.into_iter().filter(|peer| !keys.contains_key(peer)) {
            forget_key(&self.listener, SocketAddr::new(peer, 0))?;
            self.keys.remove(&peer);
        }
        for (peer, key) in keys {
            if self.keys.get(peer) != Some(key) {
                change_key(&self.listener, SocketAddr::new(*peer, 0), key)?;
                self.keys.insert(*peer, key.clone());
            }
        }
        Ok(())
    }

    /// The next connection, and who dialled. Cancel-safe.
    ///
    /// # Errors
    /// When there is none for want of descriptors or memory, or it ended meanwhile.
    pub(crate) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.listener.accept().await
    }
}

impl Dial {
    /// Whether a connection that this peer may have dialled is one that a session can have: from its address, and to the one that we
    /// speak from, if that is said.
    pub(crate) fn fits(&self, from: SocketAddr, own: IpAddr) -> bool {
        let is_there = match (self.to, from) {
            (SocketAddr::V6(to), SocketAddr::V6(from)) => {
                to.ip() == from.ip()
                    && (to.scope_id() == from.scope_id() || !to.ip().is_unicast_link_local())
            }
            (to, from) => to.ip() == from.ip(),
        };
        is_there && self.from.is_none_or(|wanted| wanted == own)
    }

    /// Sets what a session wants of a connection that was accepted.
    ///
    /// # Errors
    /// When the kernel does not know an option.
    pub(crate) fn adopt(&self, stream: &TcpStream) -> io::Result<()> {
        self.prepare(&SockRef::from(stream))
    }
}

/// Connections that nobody has accepted yet. Each peer needs one.
const BACKLOG: i32 = 128;
