//! What the kernel program and its hosts share: the map ABI and the packet logic.
//!
//! The logic is generic over [`frame::Frame`] and [`logic::Maps`], so that the BPF object (`main.rs`),
//! the host tests and a simulated kernel run the very same code. This crate knows nothing of services,
//! elections or clusters: it is told by the tables what to answer and until when.
#![no_std]

#[cfg(not(target_arch = "bpf"))]
extern crate std;

pub mod abi;
pub mod frame;
pub mod logic;
#[cfg(not(target_arch = "bpf"))]
pub mod model;
