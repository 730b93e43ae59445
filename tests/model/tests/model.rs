//! Behaviour of the functional core: folders of data in, text out.
#![expect(
    clippy::unwrap_used,
    reason = "in a test binary a panic is a failed test"
)]

mod admission;
mod allocation;
mod bfd;
mod bgp;
mod built;
mod deploy;
mod frames;
mod hex;
mod manifests;
mod monitoring;
mod reference;
mod reviews;
mod rules;
mod scenario;
mod schemas;
mod told;
mod types;
mod unsafe_code;
