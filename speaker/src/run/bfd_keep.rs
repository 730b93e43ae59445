//! BFD sessions for the next process, in a file of the node's run directory.
//!
//! They are read once, at the start, so that a file does what a pinned map would, and can be read by people; root alone may, for the
//! directory is closed to others. Times count from the boot: whose boot it was, the caller knows. What cannot be read is left, and the
//! sessions begin anew.

use crate::drive::bfd::{Kept, SessionKey};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use speaker_core::LinkName;
use speaker_proto::bfd::{Diagnostic, Peer, Saved, State};
use speaker_proto::{Span, Time};
use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::num::{NonZeroU8, NonZeroU32};
use std::path::Path;

/// One session. Spans and times are in nanoseconds.
#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Row {
    peer: IpAddr,
    local: Option<IpAddr>,
    interface: Option<String>,
    vrf: Option<String>,
    is_multihop: bool,
    port: u16,
    mine: NonZeroU32,
    transmit: u64,
    receive: u64,
    until: u64,
    theirs: Option<NonZeroU32>,
    their_diagnostic: u8,
    their_multiplier: NonZeroU8,
    their_transmit: u64,
    their_receive: u64,
    they_demand: bool,
}

/// Writes them, in place of those of before.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn save(run_dir: &Path, kept: &BTreeMap<SessionKey, Kept>) -> Result<()> {
    let rows: Vec<Row> = kept.iter().map(|(key, kept)| row(key, kept)).collect();
    let text = serde_json::to_vec(&rows).context("failed to put BFD sessions into JSON")?;
    let file = run_dir.join(FILE);
    fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))
}

/// Reads them, once: the sessions are this process' from now on.
pub(super) fn take(run_dir: &Path) -> BTreeMap<SessionKey, Kept> {
    let file = run_dir.join(FILE);
    let text = fs::read(&file).unwrap_or_default();
    drop(fs::remove_file(&file));
    let rows: Vec<Row> = serde_json::from_slice(&text).unwrap_or_default();
    rows.into_iter().take(ROWS_MAX).map(session).collect()
}

fn row(key: &SessionKey, kept: &Kept) -> Row {
    let Saved {
        mine,
        peer,
        transmit,
        receive,
        until,
    } = kept.session;
    Row {
        peer: key.peer,
        local: key.local,
        interface: key.interface.as_ref().map(ToString::to_string),
        vrf: key.vrf.as_ref().map(ToString::to_string),
        is_multihop: key.is_multihop,
        port: kept.port,
        mine,
        transmit: transmit.ns(),
        receive: receive.ns(),
        until: until.ns(),
        theirs: peer.discriminator,
        their_diagnostic: peer.diagnostic.0,
        their_multiplier: peer.multiplier,
        their_transmit: peer.transmit.ns(),
        their_receive: peer.receive.ns(),
        they_demand: peer.is_demand,
    }
}

fn session(row: Row) -> (SessionKey, Kept) {
    let link = |name: Option<String>| name.map(|name| LinkName::from(name.as_str()));
    let key = SessionKey {
        peer: row.peer,
        local: row.local,
        interface: link(row.interface),
        vrf: link(row.vrf),
        is_multihop: row.is_multihop,
    };
    let session = Saved {
        mine: row.mine,
        peer: Peer {
            discriminator: row.theirs,
            // Only sessions that are Up are kept.
            state: State::Up,
            diagnostic: Diagnostic(row.their_diagnostic),
            multiplier: row.their_multiplier,
            transmit: Span::from_ns(row.their_transmit),
            receive: Span::from_ns(row.their_receive),
            is_demand: row.they_demand,
        },
        transmit: Span::from_ns(row.transmit),
        receive: Span::from_ns(row.receive),
        until: Time::from_ns(row.until),
    };
    let kept = Kept {
        session,
        port: row.port,
    };
    (key, kept)
}

const FILE: &str = "bfd.json";
/// As many as there can be sessions.
const ROWS_MAX: usize = crate::drive::bfd::SESSIONS_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> BTreeMap<SessionKey, Kept> {
        let key = SessionKey {
            peer: "fe80::1".parse().unwrap(),
            local: Some("192.0.2.11".parse().unwrap()),
            interface: Some("tor".into()),
            vrf: Some("red".into()),
            is_multihop: true,
        };
        let three = NonZeroU32::MIN.saturating_add(2);
        let session = Saved {
            mine: NonZeroU32::MIN,
            peer: Peer {
                discriminator: Some(three),
                state: State::Up,
                diagnostic: Diagnostic(3),
                multiplier: NonZeroU8::MIN,
                transmit: Span::ms(1),
                receive: Span::ms(2),
                is_demand: true,
            },
            transmit: Span::ms(3),
            receive: Span::ms(4),
            until: Time::ms(5),
        };
        let kept = Kept {
            session,
            port: 49_152,
        };
        BTreeMap::from([(key, kept)])
    }

    #[test]
    fn sessions_are_read_as_they_were_written_and_only_once() {
        let dir = tempfile::tempdir().unwrap();
        assert!(take(dir.path()).is_empty(), "there is none yet");
        save(dir.path(), &kept()).unwrap();
        assert_eq!(take(dir.path()), kept());
        assert!(take(dir.path()).is_empty(), "they are this process' now");
    }

    #[test]
    fn what_cannot_be_read_is_left() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "[{\"peer\":1}]").unwrap();
        assert!(take(dir.path()).is_empty());
    }
}
