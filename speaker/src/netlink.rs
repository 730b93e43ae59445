//! Requests to the kernel's routing socket, one at a time.
//!
//! For the few calls that the data plane and the edge make when something changed. The kernel answers in the
//! caller's own system call, so nothing here waits. It knows the framing and nothing of links or filters; events
//! are `edge::links`' business.

use anyhow::{Context, Result, bail};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use std::io;

/// A socket of one's own for requests and their replies.
pub(crate) struct Client {
    socket: Socket,
}

impl Client {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open() -> Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE).context("failed to open a netlink socket")?;
        socket
            .bind_auto()
            .context("failed to bind a netlink socket")?;
        Ok(Self { socket })
    }

    /// Everything that a dump request lists.
    pub(crate) fn dump(&self, message: RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>> {
        self.socket
            .send(&encode(message, NLM_F_REQUEST | NLM_F_DUMP), 0)
            .context("failed to send a netlink dump request")?;
        let mut rows = Vec::new();
        loop {
            for message in decode(&self.receive()?)? {
                match message {
                    NetlinkPayload::InnerMessage(row) => rows.push(row),
                    NetlinkPayload::Done(_) => return Ok(rows),
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        return Err(error.to_io()).context("the kernel refused a netlink dump");
                    }
                    _ => {}
                }
            }
        }
    }

    /// Has one change made. `flags` are those beside REQUEST and ACK.
    pub(crate) fn change(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.socket
            .send(&encode(message, NLM_F_REQUEST | NLM_F_ACK | flags), 0)?;
        loop {
            let bytes = self.receive().map_err(io::Error::other)?;
            for message in decode(&bytes).map_err(io::Error::other)? {
                if let NetlinkPayload::Error(error) = message {
                    return match error.code {
                        Some(_) => Err(error.to_io()),
                        None => Ok(()),
                    };
                }
            }
        }
    }

    fn receive(&self) -> Result<Vec<u8>> {
        let (bytes, _) = self
            .socket
            .recv_from_full()
            .context("failed to read a netlink reply")?;
        Ok(bytes)
    }
}

/// One request as the kernel takes it.
pub(crate) fn encode(message: RouteNetlinkMessage, flags: u16) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    bytes
}

/// The messages of one datagram.
pub(crate) fn decode(datagram: &[u8]) -> Result<Vec<NetlinkPayload<RouteNetlinkMessage>>> {
    let mut rest = datagram;
    let mut messages = Vec::new();
    while rest.len() >= HEADER_BYTES {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
            .context("failed to read a netlink message")?;
        let length = message.header.length as usize;
        if length < HEADER_BYTES {
            bail!("a netlink message of {length} bytes");
        }
        messages.push(message.payload);
        // Messages are padded to four bytes; the last one may lack its padding.
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(messages)
}

const HEADER_BYTES: usize = 16;
