//! The sockets of sessions, and why there is none.
//!
//! A socket that is bound to a device is of no use once the device was made anew under its name: the index tells.

use super::SessionKey;
use crate::drive::chance;
use crate::edge::bfd::{Ear, Mouth, Path, Range, ifindex};
use speaker_core::LinkName;
use speaker_proto::bfd::{Change, Packet, State};
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};

/// An ear, or why there is none.
pub(super) struct Hearing {
    pub(super) ear: Result<Ear, String>,
    /// The index of its device when it was opened.
    pub(super) device: Option<u32>,
}

/// How a session is heard by its other side.
#[derive(Debug, Default)]
pub(super) struct Voice {
    pub(super) mouth: Option<Mouth>,
    /// The index of its device when it was opened.
    pub(super) device: Option<u32>,
    /// The port that it had, and is to have again.
    pub(super) port: Option<u16>,
    pub(super) unsent: u64,
    pub(super) trouble: Option<String>,
    was_up: bool,
}

impl Hearing {
    pub(super) fn open(range: &Range) -> Self {
        Self {
            device: index(range.vrf.as_ref()),
            ear: Ear::open(range).map_err(|error| deaf(range, &error)),
        }
    }
}

impl Voice {
    /// One without a socket yet.
    pub(super) fn new(port: Option<u16>) -> Self {
        Self {
            port,
            ..Self::default()
        }
    }

    /// Opens a socket, on the port that it had if it had one.
    pub(super) fn open(&mut self, key: &SessionKey, index: Option<u32>, taken: &BTreeSet<u16>) {
        // Its port must be free again.
        self.mouth = None;
        match speak(key, index, self.port, taken) {
            Ok(mouth) => {
                self.port = Some(mouth.port());
                self.device = index;
                self.mouth = Some(mouth);
                self.trouble = None;
            }
            Err(error) => self.trouble = Some(mute(key, &error)),
        }
    }

    pub(super) fn say(&mut self, packet: &Packet) {
        match self.mouth.as_ref().map(|mouth| mouth.say(&packet.encode())) {
            Some(Ok(())) => {
                self.trouble = None;
                return;
            }
            // The next packet will do.
            Some(Err(error)) if error.kind() == ErrorKind::WouldBlock => {}
            Some(Err(error)) => self.trouble = Some(format!("failed to send: {error}")),
            None => {}
        }
        self.unsent += 1;
    }

    /// Whether a change is one that others want to know: into Up or out of it.
    pub(super) fn changed(&mut self, change: Change) -> bool {
        let is_up = change.state == State::Up;
        std::mem::replace(&mut self.was_up, is_up) || is_up
    }
}

/// The device that packets of a session are bound to.
pub(super) fn device(key: &SessionKey) -> Option<&LinkName> {
    key.interface.as_ref().or(key.vrf.as_ref())
}

/// The index of a device, if it is there.
pub(super) fn index(device: Option<&LinkName>) -> Option<u32> {
    ifindex(device?).ok()
}

/// A socket to send with.
fn speak(
    key: &SessionKey,
    index: Option<u32>,
    port: Option<u16>,
    taken: &BTreeSet<u16>,
) -> io::Result<Mouth> {
    let path = Path {
        peer: key.peer,
        local: key.local,
        device: device(key),
        is_multihop: key.is_multihop,
        scope: index.unwrap_or(0),
    };
    let first = u16::from_ne_bytes(chance::bytes()) % PORTS;
    let some = (0..PORTS_TRIED).map(|n| PORT_MIN + (first + n) % PORTS);
    let free = some.filter(|port| !taken.contains(port));
    Mouth::open(path, port.into_iter().chain(free))
}

fn deaf(range: &Range, error: &io::Error) -> String {
    let port = if range.is_multihop { 4784 } else { 3784 };
    if error.kind() == ErrorKind::AddrInUse {
        return format!(
            "UDP port {port} is taken by another process, such as FRR's bfdd: stop that one"
        );
    }
    format!("failed to listen on UDP port {port}: {error}")
}

fn mute(key: &SessionKey, error: &io::Error) -> String {
    let from = key
        .local
        .map(|local| format!(" from {local}"))
        .unwrap_or_default();
    format!("failed to open a socket to {}{from}: {error}", key.peer)
}

/// RFC 5881 §4: source ports are 49152 to 65535.
const PORT_MIN: u16 = 49_152;
const PORTS: u16 = 16_384;
/// More than sessions can have, so that one is free unless others use the range too.
const PORTS_TRIED: u16 = 1024;
