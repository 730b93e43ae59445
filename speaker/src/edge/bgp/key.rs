//! Passwords of TCP-MD5 sessions (RFC 2385). They are in no log and no answer.

use std::fmt;
use zeroize::Zeroizing;

/// A password as the kernel takes it: 1 to 80 bytes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key(Zeroizing<Vec<u8>>);

/// Why a password cannot be one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum KeyError {
    /// It has no bytes, which would mean no password to the kernel.
    Empty,
    /// It has so many bytes.
    TooLong(usize),
}

impl Key {
    /// From its bytes, all of which count.
    ///
    /// # Errors
    /// When the kernel would not take it.
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        match bytes.len() {
            0 => Err(KeyError::Empty),
            length if length > KEY_BYTES_MAX => Err(KeyError::TooLong(length)),
            _ => Ok(Self(Zeroizing::new(bytes.to_vec()))),
        }
    }

    /// How long it is, which an operator compares with what the router was told.
    pub(crate) fn length(&self) -> usize {
        self.0.len()
    }

    /// Whether it begins or ends in white space, as a file's last line does: seldom meant, and nobody sees it.
    pub(crate) fn has_white_space_around(&self) -> bool {
        self.0.trim_ascii().len() != self.0.len()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the password is empty"),
            Self::TooLong(length) => write!(
                f,
                "the password has {length} bytes, and TCP-MD5 takes {KEY_BYTES_MAX}"
            ),
        }
    }
}

/// TCP_MD5SIG_MAXKEYLEN of linux/tcp.h.
pub(super) const KEY_BYTES_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_one_to_eighty_bytes_and_is_never_shown() {
        assert_eq!(Key::new(b""), Err(KeyError::Empty));
        assert_eq!(Key::new(&[b'x'; 81]), Err(KeyError::TooLong(81)));
        let key = Key::new(&[b'x'; 80]).unwrap();
        assert_eq!((key.length(), format!("{key:?}").as_str()), (80, "Key(…)"));
        let why = KeyError::TooLong(81).to_string();
        assert_eq!(why, "the password has 81 bytes, and TCP-MD5 takes 80");
    }

    #[test]
    fn white_space_around_a_password_is_seen_and_kept() {
        let key = Key::new(b"secret\n").unwrap();
        assert!(key.has_white_space_around());
        assert_eq!(key.length(), 7);
        assert!(!Key::new(b"two words").unwrap().has_white_space_around());
    }
}
