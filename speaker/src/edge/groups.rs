//! Listening to the solicited-node groups of IPv6 VIPs (RFC 4861 §7.2.1).
//!
//! A proxy-neighbour entry makes the kernel itself join the group, in the hardware filter and by MLD; it survives this process
//! and answers nothing while `proxy_ndp` is 0. Where `proxy_ndp` is on, a socket joins instead. Entries carry our
//! protocol number, and only those are ever removed. A link that goes down loses its entries: call
//! [`Groups::sync`] again when it is back. Knows nothing of who owns a VIP.

use crate::netlink::Client;
use anyhow::{Context, Result};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use socket2::{Domain, Socket, Type};
use speaker_proto::neighbour::solicited_node;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::Ipv6Addr;

/// A VIP and the index of the link to hear its questions on.
pub(crate) type Member = (Ipv6Addr, u32);

/// The memberships of this node.
pub(crate) struct Groups {
    netlink: Client,
    sockets: Vec<Joins>,
}

/// A socket and the groups that it joined.
struct Joins {
    socket: Socket,
    joined: BTreeSet<Member>,
}

impl Groups {
    /// Works in the calling thread's network namespace. Finds what an earlier process left by itself.
    pub(crate) fn open() -> Result<Self> {
        Ok(Self {
            netlink: Client::open()?,
            sockets: Vec::new(),
        })
    }

    /// Makes the kernel listen to exactly these (VIP, link), with `names` for the links' indices. Does all that it can and
    /// returns what failed, to be tried again.
    pub(crate) fn sync(
        &mut self,
        wanted: &BTreeSet<Member>,
        names: &BTreeMap<u32, String>,
    ) -> Result<Vec<(Member, io::Error)>> {
        let answers_itself: BTreeSet<u32> = wanted
            .iter()
            .map(|(_, ifindex)| *ifindex)
            .filter(|ifindex| names.get(ifindex).is_some_and(|name| answers_proxies(name)))
            .collect();
        let (by_socket, by_entry): (BTreeSet<Member>, BTreeSet<Member>) = wanted
            .iter()
            .partition(|(_, ifindex)| answers_itself.contains(ifindex));
        let mut failed = self.sync_entries(&by_entry)?;
        failed.extend(self.sync_sockets(&by_socket));
        Ok(failed)
    }

    fn sync_entries(&self, wanted: &BTreeSet<Member>) -> Result<Vec<(Member, io::Error)>> {
        let have = ours(&self.netlink)?;
        let mut failed = Vec::new();
        for &member in have.difference(wanted) {
            if let Err(error) = remove(&self.netlink, member) {
                failed.push((member, error));
            }
        }
        for &member in wanted.difference(&have) {
            let entry = RouteNetlinkMessage::NewNeighbour(entry(member));
            if let Err(error) = self.netlink.change(entry, NLM_F_CREATE | NLM_F_REPLACE) {
                failed.push((member, error));
            }
        }
        Ok(failed)
    }

    fn sync_sockets(&mut self, wanted: &BTreeSet<Member>) -> Vec<(Member, io::Error)> {
        // VIPs that share their last 24 bits share a group.
        let wanted: BTreeMap<Member, Member> = wanted
            .iter()
            .map(|&(vip, ifindex)| ((solicited_node(vip), ifindex), (vip, ifindex)))
            .collect();
        for joins in &mut self.sockets {
            joins.joined.retain(|group| {
                let is_kept = wanted.contains_key(group);
                if !is_kept && let Err(error) = joins.socket.leave_multicast_v6(&group.0, group.1) {
                    tracing::debug!(group = %group.0, ifindex = group.1, %error, "failed to leave a group");
                }
                is_kept
            });
        }
        let joined: BTreeSet<Member> = self
            .sockets
            .iter()
            .flat_map(|joins| joins.joined.iter().copied())
            .collect();
        let missing = wanted
            .into_iter()
            .filter(|(group, _)| !joined.contains(group));
        let missing: Vec<_> = missing.collect();
        missing
            .into_iter()
            .filter_map(|(group, member)| Some((member, self.join(group).err()?)))
            .collect()
    }

    fn join(&mut self, group: Member) -> io::Result<()> {
        let has_room = |joins: &&mut Joins| joins.joined.len() < GROUPS_PER_SOCKET_MAX;
        if let Some(joins) = self.sockets.iter_mut().find(has_room) {
            return joins.join(group);
        }
        let socket = Socket::new(Domain::IPV6, Type::DGRAM.cloexec(), None)?;
        let mut joins = Joins {
            socket,
            joined: BTreeSet::new(),
        };
        joins.join(group)?;
        self.sockets.push(joins);
        Ok(())
    }
}

impl Joins {
    fn join(&mut self, group: Member) -> io::Result<()> {
        match self.socket.join_multicast_v6(&group.0, group.1) {
            Err(error) if error.raw_os_error() != Some(libc::EADDRINUSE) => return Err(error),
            Ok(()) | Err(_) => self.joined.insert(group),
        };
        Ok(())
    }
}

/// Removes every proxy-neighbour entry of ours in the calling thread's network namespace; what it removed.
pub(crate) fn clean() -> Result<Vec<Member>> {
    let netlink = Client::open()?;
    let ours = ours(&netlink)?;
    for &member in &ours {
        let (vip, ifindex) = member;
        remove(&netlink, member)
            .with_context(|| format!("failed to remove the proxy entry {vip} on link {ifindex}"))?;
    }
    Ok(ours.into_iter().collect())
}

/// The entries that carry our protocol number.
fn ours(netlink: &Client) -> Result<BTreeSet<Member>> {
    let mut request = NeighbourMessage::default();
    request.header.family = AddressFamily::Inet6;
    request.header.flags = NeighbourFlags::Proxy;
    let rows = netlink
        .dump(RouteNetlinkMessage::GetNeighbour(request))
        .context("failed to list the proxy neighbours")?;
    Ok(rows.iter().filter_map(our_member).collect())
}

fn our_member(row: &RouteNetlinkMessage) -> Option<Member> {
    let RouteNetlinkMessage::NewNeighbour(row) = row else {
        return None;
    };
    let is_ours = row.header.flags.contains(NeighbourFlags::Proxy)
        && row
            .attributes
            .contains(&NeighbourAttribute::Protocol(PROTOCOL));
    let address = row
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => Some(*address),
            _ => None,
        })?;
    is_ours.then_some((address, row.header.ifindex))
}

fn remove(netlink: &Client, member: Member) -> io::Result<()> {
    match netlink.change(RouteNetlinkMessage::DelNeighbour(entry(member)), 0) {
        // It went with its link.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => Ok(()),
        removed => removed,
    }
}

fn entry((vip, ifindex): Member) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.ifindex = ifindex;
    message.header.flags = NeighbourFlags::Proxy;
    message.header.state = NeighbourState::Permanent;
    message.attributes = vec![
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(vip)),
        NeighbourAttribute::Protocol(PROTOCOL),
    ];
    message
}

/// Whether the kernel itself answers for proxy entries on a link.
fn answers_proxies(link: &str) -> bool {
    ["all", link].iter().any(|conf| {
        let value = fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{conf}/proxy_ndp"));
        value.is_ok_and(|value| value.trim() != "0")
    })
}

/// Marks our entries among proxy neighbours; 72 is no routing daemon's number.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(72);
/// Each membership is charged to the socket's `net.core.optmem_max`, 20 KiB on older kernels.
const GROUPS_PER_SOCKET_MAX: usize = 64;
