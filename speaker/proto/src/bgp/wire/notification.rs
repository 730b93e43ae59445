//! NOTIFICATION (RFC 4271 §4.5): what one says, and the text that may come with a shutdown (RFC 9003).

use crate::bgp::message::Notification;
use std::fmt::Write as _;

/// Bytes of text that are sent with a shutdown; some receivers know only RFC 8203 §2, which had room for no more.
const TEXT_BYTES_MAX: usize = 128;

/// CEASE (RFC 4486).
const CEASE: u8 = 6;
/// CEASE: what is told with these may be in words (RFC 9003 §2).
const ADMINISTRATIVE_SHUTDOWN: u8 = 2;
const ADMINISTRATIVE_RESET: u8 = 4;
/// CEASE: routes go, whatever was said about graceful restart (RFC 8538 §3).
const HARD_RESET: u8 = 9;

pub(super) fn decode(body: &[u8]) -> Result<Notification, Notification> {
    let &[code, subcode, ref data @ ..] = body else {
        // The header's check leaves no shorter one.
        return Err(Notification::new(1, 2));
    };
    Ok(Notification {
        code,
        subcode,
        data: data.to_vec(),
    })
}

impl Notification {
    /// CEASE 6/2, administrative shutdown, with a text of which at most 128 bytes are sent (RFC 9003 §2).
    pub fn shutdown(text: &str) -> Self {
        Self::with_text(ADMINISTRATIVE_SHUTDOWN, text)
    }

    /// CEASE 6/4, administrative reset, with a text of which at most 128 bytes are sent (RFC 9003 §2).
    pub fn reset(text: &str) -> Self {
        Self::with_text(ADMINISTRATIVE_RESET, text)
    }

    fn with_text(subcode: u8, text: &str) -> Self {
        let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
        let count = u8::try_from(text.len()).expect("no text is longer than 128 bytes");
        let data = std::iter::once(count).chain(text.bytes()).collect();
        Self {
            code: CEASE,
            subcode,
            data,
        }
    }

    /// CEASE 6/9, a Hard Reset round this: where both sides said N, routes are not kept over it (RFC 8538 §3.1).
    #[must_use]
    pub fn hard(self) -> Self {
        let codes = [self.code, self.subcode];
        Self {
            code: CEASE,
            subcode: HARD_RESET,
            data: codes.into_iter().chain(self.data).collect(),
        }
    }

    /// What a Hard Reset is round; `None` for anything else, and for one with nothing in it.
    pub fn inner(&self) -> Option<Self> {
        match (self.code, self.subcode, self.data.as_slice()) {
            (CEASE, HARD_RESET, &[code, subcode, ref data @ ..]) => Some(Self {
                code,
                subcode,
                data: data.to_vec(),
            }),
            _ => None,
        }
    }

    /// The text of a shutdown or reset, fit for a log: control characters are escaped, and bytes that are no UTF-8 come as hexadecimal
    /// digits (RFC 9003 §2). A length that does not fit the data is no error; what is there is read. `None`: no text.
    pub fn text(&self) -> Option<String> {
        if !matches!(
            (self.code, self.subcode),
            (CEASE, ADMINISTRATIVE_SHUTDOWN | ADMINISTRATIVE_RESET)
        ) {
            return None;
        }
        let (count, text) = self.data.split_first()?;
        let text = text.get(..usize::from(*count)).unwrap_or(text);
        if text.is_empty() {
            return None;
        }
        Some(match std::str::from_utf8(text) {
            Ok(text) => text.escape_debug().to_string(),
            Err(_) => hexadecimal(text),
        })
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}
