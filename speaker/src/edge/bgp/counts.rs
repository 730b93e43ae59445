//! What the kernel counts of TCP-MD5 in this network namespace: the only trace of a wrong password, which gets no answer.

use anyhow::{Context, Result};
use std::fs;

/// Segments that were dropped for their signature, of all connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Md5Counts {
    /// Without one, where there is a password: the other side has none.
    pub(crate) missing: u64,
    /// With one, where there is no password.
    pub(crate) unexpected: u64,
    /// With another one: passwords differ.
    pub(crate) wrong: u64,
}

impl Md5Counts {
    /// As they are now.
    ///
    /// # Errors
    /// When the file is not there or not as expected.
    pub(crate) fn read() -> Result<Self> {
        let text = fs::read_to_string(FILE).with_context(|| format!("failed to read {FILE}"))?;
        Self::parse(&text).with_context(|| format!("{FILE} has no counters of TCP-MD5"))
    }

    /// Of a group there are two lines, one with names and one with numbers, which begin alike.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
        let (names, numbers) = (lines.next()?, lines.next()?);
        let number_of = |wanted: &str| {
            let mut pairs = names.split_whitespace().zip(numbers.split_whitespace());
            pairs.find(|(name, _)| *name == wanted)?.1.parse().ok()
        };
        Some(Self {
            missing: number_of("TCPMD5NotFound")?,
            unexpected: number_of("TCPMD5Unexpected")?,
            wrong: number_of("TCPMD5Failure")?,
        })
    }
}

/// Of the thread's own namespace, which in tests is not the process'.
const FILE: &str = "/proc/thread-self/net/netstat";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_their_names() {
        let text = "IpExt: A\nIpExt: 1\nTcpExt: X TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure Y\nTcpExt: 9 1 2 3 8\n";
        let counts = Md5Counts::parse(text).unwrap();
        assert_eq!((counts.missing, counts.unexpected, counts.wrong), (1, 2, 3));
        assert_eq!(Md5Counts::parse("TcpExt: X\nTcpExt: 1\n"), None);
    }

    #[test]
    fn this_kernel_has_them() {
        Md5Counts::read().unwrap();
    }
}
