//! What an operator can want of sockets that serve VIPs, and finding the socket of a process.
//!
//! The socket is found and opened here, by whoever asks and with that user's rights, and handed to the speaker with the order: the speaker
//! looks into no other process.

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use serde::Serialize;
use speaker_core::steering::socket::{Front, Transport};
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;

/// What is to become of sockets that serve VIPs.
#[derive(Subcommand, Clone, PartialEq, Eq, Debug)]
pub(crate) enum SocketOrder {
    /// Have a listening socket of a process serve a port of a VIP, in place of one that did
    ///
    /// The process goes on as it is and is not told. Of sockets that share a port by SO_REUSEPORT one stands for all. When the socket is closed, connections fail until
    /// another is added; the next `speaker` process forgets a port whose socket is closed when it starts.
    Add {
        /// The VIP, its port and the protocol: 192.0.2.10:80, [2001:db8::1]:53/udp
        #[arg(value_name = "VIP:PORT[/PROTOCOL]")]
        front: Front,
        /// The process that listens
        #[arg(long, value_name = "PID")]
        pid: i32,
        /// The port on which it listens, if that is another one than the VIP's
        #[arg(long, value_name = "PORT")]
        port: Option<u16>,
    },
    /// Sockets that serve VIPs
    List,
    /// Have no socket serve a port of a VIP any more
    Remove {
        /// The VIP, its port and the protocol
        #[arg(value_name = "VIP:PORT[/PROTOCOL]")]
        front: Front,
    },
}

/// The order as the speaker gets it.
#[derive(Debug)]
pub(crate) enum SocketWish {
    /// A socket, and whose it is.
    Add(Front, OwnedFd, String),
    /// None any more.
    Remove(Front),
    /// What there is.
    List,
}

/// A socket that serves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct SocketSight {
    /// Address, port and protocol.
    pub(crate) front: String,
    /// Whose socket it is, as whoever brought it said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<String>,
    /// The socket is open.
    pub(crate) is_open: bool,
}

/// Ends when an order is obeyed with what there is then, or with why it is not.
pub(crate) type Sighted = Pin<Box<dyn Future<Output = Result<Vec<SocketSight>>> + Send>>;

/// Has orders obeyed.
pub(crate) type SocketOrders = Arc<dyn Fn(SocketWish) -> Sighted + Send + Sync>;

/// The socket of a process that listens on a port and can serve `front`, and whose it is.
///
/// # Errors
/// When there is none, or it cannot be had.
pub(super) fn find(front: &Front, pid: i32, port: u16) -> Result<(OwnedFd, String)> {
    let process = Pid::from_raw(pid).context("0 is no process")?;
    let pidfd = pidfd_open(process, PidfdFlags::empty());
    let pidfd = pidfd.with_context(|| format!("failed to open process {pid}"))?;
    let mut files: &[(&str, bool)] = &[("tcp", true), ("tcp6", false)];
    if front.transport == Transport::Udp {
        files = &[("udp", true), ("udp6", false)];
    }
    let mut inodes = Vec::new();
    for (file, is_v4) in files {
        // A socket for both families is the second choice for IPv4, and the only one for IPv6.
        if *is_v4 && front.vip.0.is_ipv6() {
            continue;
        }
        let path = format!("/proc/{pid}/net/{file}");
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
        inodes.push(listening(&text, port, front.transport));
    }
    for wanted in inodes {
        if let Some(number) = descriptor(pid, &wanted)? {
            let socket = pidfd_getfd(&pidfd, number, PidfdGetfdFlags::empty());
            let socket = socket.with_context(|| {
                format!(
                    "failed to take descriptor {number} of process {pid}: root may (CAP_SYS_PTRACE)"
                )
            })?;
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            return Ok((socket, format!("{} ({pid})", name.trim())));
        }
    }
    bail!(
        "process {pid} has no {} socket on port {port} that takes {}",
        front.transport,
        if front.vip.0.is_ipv4() {
            "IPv4"
        } else {
            "IPv6"
        }
    )
}

/// Inodes of the sockets that listen on a port, by a table of `/proc/net` (proc_pid_net(5)). One that is for a single address is as good.
fn listening(table: &str, port: u16, transport: Transport) -> BTreeSet<u64> {
    let state = match transport {
        Transport::Tcp => "0A",
        // Not connected to anybody.
        Transport::Udp => "07",
    };
    let rows = table.lines().skip(1).filter_map(|row| {
        let mut words = row.split_whitespace();
        let (local, now) = (words.nth(1)?, words.nth(1)?);
        let at = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        let inode = words.nth(5)?.parse().ok()?;
        (at == port && now == state).then_some(inode)
    });
    rows.collect()
}

/// The lowest descriptor of a process that is one of these sockets.
fn descriptor(pid: i32, inodes: &BTreeSet<u64>) -> Result<Option<i32>> {
    let folder = format!("/proc/{pid}/fd");
    let entries = fs::read_dir(&folder).with_context(|| format!("failed to list {folder}"))?;
    let mut lowest: Option<i32> = None;
    for entry in entries.flatten() {
        let Ok(target) = fs::read_link(entry.path()) else {
            continue; // closed since the listing
        };
        let inode = target.to_str().and_then(|target| {
            let inode = target.strip_prefix("socket:[")?.strip_suffix(']')?;
            inode.parse().ok()
        });
        let number = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        if let (Some(inode), Some(number)) = (inode, number)
            && inodes.contains(&inode)
        {
            lowest = Some(lowest.map_or(number, |lowest| lowest.min(number)));
        }
    }
    Ok(lowest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `/proc/net/tcp` has it, but for columns that nobody reads.
    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1234 1
   1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1235 1
   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 1236 1
   3: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1237 2
nonsense
";

    #[test]
    fn sockets_that_listen_on_the_port_are_found_and_no_connections() {
        let tcp = listening(TABLE, 8080, Transport::Tcp);
        assert_eq!(tcp, BTreeSet::from([1234, 1235]));
        assert_eq!(listening(TABLE, 53, Transport::Udp), BTreeSet::from([1237]));
        assert_eq!(listening(TABLE, 80, Transport::Tcp), BTreeSet::new());
    }

    #[test]
    fn the_socket_of_a_process_is_found_by_its_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = i32::try_from(std::process::id()).unwrap();
        let front = "192.0.2.10:80".parse().unwrap();
        let (socket, owner) = find(&front, own, port).unwrap();
        assert!(owner.ends_with(&format!("({own})")), "{owner}");
        let found = std::net::TcpListener::from(socket);
        assert_eq!(found.local_addr().unwrap(), listener.local_addr().unwrap());
        drop((found, listener));
        let why = find(&front, own, port).unwrap_err().to_string();
        assert!(why.contains("has no tcp socket on port"), "{why}");
    }
}
