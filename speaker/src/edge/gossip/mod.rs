//! Datagrams between speakers: the sockets, the envelope, the seal and the secret that it comes from.
//!
//! [`Sockets`] brings bytes, [`Sealer`] makes what is authentic of them, or says why they are dropped. Frames of others
//! on the same port (MetalLB's memberlist, Serf, a scanner) are counted and never answered. Knows nothing of what a
//! datagram says: that is `speaker_proto::gossip`'s affair.

mod envelope;
mod key;
mod seal;
mod secret;
mod socket;

#[cfg(test)]
pub(crate) use key::Secret;
pub(crate) use seal::{Keys, Sealer};
pub(crate) use secret::{SecretPlace, follow as follow_secret};
pub(crate) use socket::Sockets;

/// Why a datagram was dropped before it was believed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Dropped {
    /// It does not begin as ours do: another protocol's.
    Foreign,
    /// It begins as ours and ends too soon.
    Truncated,
    /// It is longer than any of ours.
    TooLong,
    /// Another version of the envelope.
    Version,
    /// It is not sealed, and here a secret is asked for.
    Unsealed,
    /// It is sealed, and here none is (`--insecure-gossip`).
    Sealed,
    /// It was sealed with a secret that is not known here.
    Key,
    /// The seal is not that of the secret, or the datagram was changed on its way.
    Forged,
    /// It is one of this very process.
    Own,
}

impl Dropped {
    /// Its name in metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Truncated => "truncated",
            Self::TooLong => "too_long",
            Self::Version => "version",
            Self::Unsealed => "unsealed",
            Self::Sealed => "sealed",
            Self::Key => "key",
            Self::Forged => "forged",
            Self::Own => "own",
        }
    }
}
