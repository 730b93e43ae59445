//! The threads that own a clock: everything else is told what time it is.
//!
//! [`pulse`] renews the deadline, [`decide`] runs the agent and writes the kernel's tables. Both are plain threads:
//! a hung runtime worker must mean nothing to the VIPs, and a hung pulse or decide must mean silence. [`bfd`] has a thread of its own too, so that
//! nothing keeps it from being heard in time.

pub(crate) mod allocate;
pub(crate) mod announce;
pub(crate) mod audit;
pub(crate) mod bfd;
pub(crate) mod bgp;
pub(crate) mod chance;
pub(crate) mod clock;
pub(crate) mod decide;
pub(crate) mod fences;
pub(crate) mod hands;
pub(crate) mod links;
pub(crate) mod members_board;
pub(crate) mod membership;
pub(crate) mod probe;
pub(crate) mod pulse;
pub(crate) mod reflect;
pub(crate) mod sockets;
pub(crate) mod vicinity;
pub(crate) mod wake;
