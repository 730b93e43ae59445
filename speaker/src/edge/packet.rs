//! A socket that sends whole Ethernet frames on any link.
//!
//! For the neighbour frames of [`speaker_proto::neighbour`]; it receives nothing, for that see `ears.rs`. CAP_NET_RAW.

use anyhow::{Context, Result};
use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};
use speaker_proto::announce::{Answered, Asker, Place};
use speaker_proto::probe::Probe;
use speaker_proto::vicinity::Question;
use speaker_proto::{Mac, Vip, neighbour};
use std::io;
use std::net::IpAddr;

/// Sends gratuitous frames, probes, and questions to clients. Cheap: one socket for all links.
#[derive(Debug)]
pub(crate) struct FrameSender {
    socket: Socket,
}

impl FrameSender {
    /// Opens the socket in the calling thread's network namespace.
    pub(crate) fn open() -> Result<Self> {
        // Protocol zero: nothing is ever queued for receiving.
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None)
            .context("failed to open a packet socket (CAP_NET_RAW is needed)")?;
        Ok(Self { socket })
    }

    /// Sends gratuitous ARP in both forms, or one unsolicited advertisement; how many frames went out.
    pub(crate) fn gratuitous(&self, place: Place, answered: Answered) -> io::Result<u64> {
        let (Vip(ip), ifindex) = place;
        match ip {
            IpAddr::V4(vip) => {
                let frames = neighbour::gratuitous_arp(answered.mac, vip);
                frames.iter().try_fold(0, |sent, frame| {
                    self.send(ifindex, frame)?;
                    Ok(sent + 1)
                })
            }
            IpAddr::V6(vip) => {
                self.send(
                    ifindex,
                    &neighbour::unsolicited_advertisement(answered.mac, vip),
                )?;
                Ok(1)
            }
        }
    }

    /// Sends one ordinary unicast question from the VIP to a client. A client of the other family is none of its own.
    pub(crate) fn tell(&self, asker: Asker, answered: Answered) -> io::Result<()> {
        let (Vip(ip), ifindex) = asker.place;
        let frame = match (ip, asker.client) {
            (IpAddr::V4(vip), IpAddr::V4(client)) => {
                neighbour::arp_question(answered.mac, vip, (asker.mac, client))
            }
            (IpAddr::V6(vip), IpAddr::V6(client)) => {
                neighbour::solicitation(answered.mac, vip, (asker.mac, client))
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return Ok(()),
        };
        self.send(ifindex, &frame)
    }

    /// Sends one claim in a frame to one station.
    pub(crate) fn claim_to(&self, place: Place, answered: Answered, to: Mac) -> io::Result<()> {
        let (Vip(ip), ifindex) = place;
        let frame = match ip {
            IpAddr::V4(vip) => neighbour::arp_claim_to(to, answered.mac, vip),
            IpAddr::V6(vip) => neighbour::advertisement_to(to, answered.mac, vip),
        };
        self.send(ifindex, &frame)
    }

    /// Asks one node for its own address, as one asks who has an address that one wants to take.
    pub(crate) fn ask(&self, question: Question) -> io::Result<()> {
        let (Vip(ip), ifindex) = question.place;
        let (from, to) = (question.from, Some(question.to));
        let frame = match ip {
            IpAddr::V4(ip) => neighbour::arp_probe(from, ip, to),
            IpAddr::V6(ip) => neighbour::duplicate_probe(from, ip, to),
        };
        self.send(ifindex, &frame)
    }

    /// Sends one probe.
    pub(crate) fn probe(&self, probe: &Probe) -> io::Result<()> {
        let (Vip(ip), ifindex) = probe.place;
        let frame = match ip {
            IpAddr::V4(vip) => neighbour::arp_probe(probe.from, vip, probe.to),
            IpAddr::V6(vip) => neighbour::duplicate_probe(probe.from, vip, probe.to),
        };
        self.send(ifindex, &frame)
    }

    fn send(&self, ifindex: u32, frame: &[u8]) -> io::Result<()> {
        let ifindex = i32::try_from(ifindex).map_err(io::Error::other)?;
        self.socket
            .send_to(frame, &link_address(ifindex, 0, Mac([0xff; 6])))
            .map(drop)
    }
}

/// The address of a link for a raw packet socket: to send, for the frame itself says where it goes, or to listen to a protocol, on
/// every link if the index is 0.
pub(super) fn link_address(ifindex: i32, protocol: u16, mac: Mac) -> SockAddr {
    let mut address = [0; 8];
    address[..6].copy_from_slice(&mac.0);
    let link = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::sa_family_t,
        sll_protocol: protocol.to_be(),
        sll_ifindex: ifindex,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: address,
    };
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the storage is as large and as aligned as any socket address, and a sockaddr_ll is plain data.
    unsafe { *storage.view_as() = link };
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the storage holds a sockaddr_ll of that length, with its family set.
    unsafe { SockAddr::new(storage, length) }
}
