//! A simulated cluster: real speakers without their shell, on a virtual clock, from one seed.
//!
//! Every node runs the machines that ship: the agent with election, plan and tables, the pulse, gossip, the announcing machine; and a
//! model of its kernel that runs the real packet logic over tables written as the shell writes them. Network, segment, clients,
//! clocks, API server and faults are pretended. `docs/simulator.md` says what is and what is not.

#![forbid(unsafe_code)]

pub mod api;
mod binary;
pub mod chance;
pub mod client;
pub mod clock;
pub mod coverage;
mod decide;
mod fault;
mod flow;
mod heirs;
pub mod history;
pub mod kernel;
pub mod lan;
pub mod net;
pub mod node;
pub mod oracle;
pub mod plant;
mod process;
mod pulse;
pub mod queue;
mod rest;
pub mod run;
pub mod segment;
pub mod shrink;
mod steer;
mod threads;
mod trace;
pub mod truth;
mod vicinity;
mod work;
mod world;
