//! The object that ships, in the kernel of this machine: the real verifier, every case of the table of frames through both
//! programs, and answers across namespaces to the tools and stacks of others.
//!
//! Needs root. Everything it makes is its own: namespaces named `hgk-…`, programs and maps that nothing pins.
#![expect(
    clippy::unwrap_used,
    reason = "in a test binary a panic is a failed test"
)]

mod answers;
mod frames;
mod load;
mod moves;
mod net;
mod options;
mod program;
mod shares;
mod spread;
