//! Who listens on a few ports, by the tables of proc_pid_net(5).
//!
//! The name of a process can be seen by root, in the process namespace of the node; elsewhere it stays unknown.

use anyhow::{Context, Result};
use speaker_core::doctor::facts::Listener;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};

/// Everybody who listens on one of these ports, in this thread's network namespace.
///
/// # Errors
/// When the tables cannot be read.
pub(super) fn listeners(ports: &[u16]) -> Result<Vec<Listener>> {
    let mut found: BTreeMap<(bool, u16), BTreeSet<u64>> = BTreeMap::new();
    for (table, is_udp) in [
        ("tcp", false),
        ("tcp6", false),
        ("udp", true),
        ("udp6", true),
    ] {
        let path = format!("/proc/thread-self/net/{table}");
        let file = match fs::File::open(&path) {
            // A kernel without IPv6 has no table of it.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            file => file.with_context(|| format!("failed to read {path}"))?,
        };
        for line in BufReader::new(file).lines() {
            let line = line.with_context(|| format!("failed to read {path}"))?;
            if let Some((port, inode)) = listens(&line, is_udp)
                && ports.contains(&port)
            {
                found.entry((is_udp, port)).or_default().insert(inode);
            }
        }
    }
    let inodes: BTreeSet<u64> = found.values().flatten().copied().collect();
    let owners = owners(&inodes);
    Ok(found
        .into_iter()
        .map(|((is_udp, port), inodes)| Listener {
            is_udp,
            port,
            process: inodes.iter().find_map(|inode| owners.get(inode).cloned()),
        })
        .collect())
}

/// Port and inode of a row that tells of somebody who waits for whoever comes.
fn listens(line: &str, is_udp: bool) -> Option<(u16, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, port) = fields.get(1)?.rsplit_once(':')?;
    let state = *fields.get(3)?;
    let is_listening = state == if is_udp { CLOSE } else { LISTEN };
    let port = u16::from_str_radix(port, 16).ok()?;
    let inode = fields.get(9)?.parse().ok()?;
    is_listening.then_some((port, inode))
}

/// The processes that have these sockets, as far as they can be seen.
fn owners(inodes: &BTreeSet<u64>) -> BTreeMap<u64, String> {
    let mut owners = BTreeMap::new();
    if inodes.is_empty() {
        return owners;
    }
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let files = fs::read_dir(process.path().join("fd"));
        for file in files.into_iter().flatten().flatten().take(FILES_MAX) {
            let Some(inode) = socket_of(&file.path()).filter(|inode| inodes.contains(inode)) else {
                continue;
            };
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            owners.insert(inode, format!("{} (process {pid})", name.trim()));
        }
    }
    owners
}

/// The inode of `socket:[123]`.
fn socket_of(file: &std::path::Path) -> Option<u64> {
    let target = fs::read_link(file).ok()?;
    let text = target.to_str()?.strip_prefix("socket:[")?;
    text.strip_suffix(']')?.parse().ok()
}

/// TCP_LISTEN and TCP_CLOSE of include/net/tcp_states.h; an unconnected UDP socket has the latter.
const LISTEN: &str = "0A";
const CLOSE: &str = "07";
/// Of one process; a proxy has some ten thousand.
const FILES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testnet::eventually;

    #[test]
    fn rows_of_the_kernels_tables_are_read() {
        let tcp = "   0: 00000000:1F0A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0";
        assert_eq!(listens(tcp, false), Some((7946, 4711)));
        let connected = tcp.replace(" 0A ", " 01 ");
        assert_eq!(listens(&connected, false), None);
        let udp = "  10: 00000000000000000000000000000000:0EC8 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 12 2 0000000000000000 0";
        assert_eq!(listens(udp, true), Some((3784, 12)));
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        assert_eq!(listens(head, false), None);
    }

    #[test]
    fn this_process_is_found_by_its_sockets() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = std::net::UdpSocket::bind("[::1]:0").unwrap();
        let ports = [
            tcp.local_addr().unwrap().port(),
            udp.local_addr().unwrap().port(),
        ];
        let own = format!("(process {})", std::process::id());
        // A child that another test starts has all files of this process until it runs its program.
        eventually("this process is found by both", || {
            let found = listeners(&ports).unwrap();
            ports.into_iter().zip([false, true]).all(|(port, is_udp)| {
                let is_it = |it: &&Listener| it.port == port && it.is_udp == is_udp;
                let process = found.iter().find(is_it).and_then(|it| it.process.clone());
                process.is_some_and(|process| process.contains(&own))
            })
        });
    }
}
