//! The links of this node, as events tell of them.
//!
//! Multicast groups say that something changed; each message carries a link's or address's whole state, so the
//! picture is kept by overwriting. When messages were lost it is taken anew. Nothing is polled; the kernel itself tells
//! of a second carrier change within a second only after that second. Knows nothing of VIPs;
//! which links may announce follows MetalLB's rules (not excluded, not enslaved, ARP or NDP makes sense).

use super::exclude::Exclude;
use super::picture::{Picture, take_picture};
use crate::netlink::{self, Client};
use anyhow::{Context, Result};
use netlink_packet_core::NetlinkPayload;
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use speaker_core::{Link, LinkName};
use speaker_proto::Mac;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// The links of this node at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Links {
    /// Those that may announce, whether or not they are up.
    pub(crate) announcing: BTreeMap<LinkName, Link>,
    /// Every other name that exists and is not excluded: enslaved, without ARP, refused.
    pub(crate) others: BTreeSet<LinkName>,
    /// Those of `others` that are ports of a VRF: no VIP is theirs, but routers may be on them.
    pub(crate) in_vrfs: BTreeMap<LinkName, Link>,
    /// Those of `others` that an operator may have meant to announce, with the reason why not.
    pub(crate) refused: BTreeMap<LinkName, String>,
    /// Those that are bridges, and whether their own settings have netfilter see what crosses them.
    pub(crate) bridges: BTreeMap<LinkName, bool>,
    /// Every hardware address that may stand in a frame of this node's: also of links below a bond, the addresses that they were
    /// made with, and of VLANs.
    pub(crate) macs: BTreeSet<Mac>,
}

/// The links of the calling thread's network namespace at this moment, for those who do not follow them.
///
/// # Errors
/// When the kernel does not list them.
pub(crate) fn links_now(exclude: &Exclude) -> Result<Links> {
    Ok(take_picture(&Client::open()?)?.links(exclude))
}

/// Follows the links of the network namespace it was opened in.
pub(crate) struct LinkWatch {
    events: AsyncFd<Socket>,
    requests: Client,
    picture: Picture,
    exclude: Exclude,
    links: watch::Sender<Links>,
}

impl LinkWatch {
    /// Joins the groups and takes the first picture; the receiver has it at once. Call it inside the async runtime.
    pub(crate) fn open(exclude: Exclude) -> Result<(Self, watch::Receiver<Links>)> {
        let mut socket = Socket::new(NETLINK_ROUTE).context("failed to open a netlink socket")?;
        socket
            .bind_auto()
            .context("failed to bind a netlink socket")?;
        socket
            .set_non_blocking(true)
            .context("failed to prepare a netlink socket")?;
        socket
            .set_rx_buf_sz(RECEIVE_BYTES)
            .context("failed to size a netlink socket")?;
        for group in [RTNLGRP_LINK, RTNLGRP_IPV6_IFADDR] {
            socket
                .add_membership(group)
                .context("failed to join a netlink group")?;
        }
        #[expect(
            deprecated,
            reason = "the successor is unsafe; the socket owns its descriptor while it lives"
        )]
        let events = AsyncFd::with_interest(socket, Interest::READABLE)
            .context("failed to watch a netlink socket")?;
        // After joining: what changes meanwhile is told again by an event.
        let requests = Client::open()?;
        let picture = take_picture(&requests)?;
        let (links, receiver) = watch::channel(picture.links(&exclude));
        Ok((
            Self {
                events,
                requests,
                picture,
                exclude,
                links,
            },
            receiver,
        ))
    }

    /// Follows the events until every receiver is gone or the socket fails for good.
    pub(crate) async fn run(mut self) -> Result<()> {
        loop {
            let mut ready = tokio::select! {
                ready = self.events.readable_mut() => ready.context("failed to wait for links")?,
                () = self.links.closed() => return Ok(()),
            };
            let drained = drain(ready.get_inner_mut(), &mut self.picture)?;
            ready.clear_ready();
            if drained == Drained::Lost {
                tracing::info!("link events were lost; taking a new picture");
                self.picture = take_picture(&self.requests)?;
                // Events from before the picture may still be queued; they are followed by newer ones.
                drain(self.events.get_mut(), &mut self.picture)?;
            }
            let links = self.picture.links(&self.exclude);
            self.links.send_if_modified(|known| {
                let is_new = *known != links;
                *known = links;
                is_new
            });
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Drained {
    Whole,
    /// The socket's buffer overflowed: some change was never told.
    Lost,
}

/// Takes every queued event into the picture.
fn drain(socket: &Socket, picture: &mut Picture) -> Result<Drained> {
    let mut drained = Drained::Whole;
    loop {
        let datagram = match socket.recv_from_full() {
            Ok((datagram, _)) => datagram,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(drained),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                drained = Drained::Lost;
                continue;
            }
            Err(error) => return Err(error).context("failed to read link events"),
        };
        match netlink::decode(&datagram) {
            Ok(messages) => messages.into_iter().for_each(|message| {
                if let NetlinkPayload::InnerMessage(message) = message {
                    picture.take(&message);
                }
            }),
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "failed to read a link event");
                drained = Drained::Lost;
            }
        }
    }
}

/// Room for thousands of events: a node that starts many pods makes bursts of them.
const RECEIVE_BYTES: u32 = 1 << 20;
const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_IPV6_IFADDR: u32 = 9;
