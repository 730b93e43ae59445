//! An independent look at packets that are sent on: everything as it was but the two hardware addresses, one hop, and the checksum
//! that follows from it.
//!
//! RFC 791 for the checksum, which is summed anew here and not corrected as the program does.

use std::format;
use std::string::String;

/// From whom and to whom a packet was sent on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// Ethernet destination.
    pub to: [u8; 6],
    /// Ethernet source.
    pub from: [u8; 6],
}

/// Compares a packet with what it was before; what is wrong with it.
pub fn check_forward(before: &[u8], after: &[u8]) -> Result<Hop, String> {
    if before.len() != after.len() {
        return Err(format!("{} bytes became {}", before.len(), after.len()));
    }
    let mut expected = before.to_vec();
    expected[..12].copy_from_slice(&after[..12]);
    match before.get(12..14) {
        Some([8, 0]) => {
            expected[22] -= 1;
            let was_sound = header_sum(before) == 0xffff;
            if (header_sum(after) == 0xffff) != was_sound {
                return Err(format!("checksum {:02x?}", &after[24..26]));
            }
            expected[24..26].copy_from_slice(&after[24..26]);
        }
        Some([0x86, 0xdd]) => expected[21] -= 1,
        other => return Err(format!("EtherType {other:?}")),
    }
    if expected != after {
        return Err(format!("{before:02x?} became {after:02x?}"));
    }
    let [to, from] = [0, 6].map(|at| {
        let mut mac = [0; 6];
        mac.copy_from_slice(&after[at..at + 6]);
        mac
    });
    Ok(Hop { to, from })
}

/// The sum over an IPv4 header with the checksum in it, or over what the frame has of it: all ones if that is right.
pub(super) fn header_sum(frame: &[u8]) -> u16 {
    let end = 14 + usize::from(frame[14] & 0xf) * 4;
    let header = &frame[14..end.min(frame.len())];
    let words = header.chunks(2).map(|pair| {
        let low = pair.get(1).copied().unwrap_or(0);
        u32::from(u16::from_be_bytes([pair[0], low]))
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
