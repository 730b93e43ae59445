//! The chores of the repository, one module each, for `main.rs` and for the suites in `tests/system`.
//!
//! Nothing here is part of the product: it builds, shows and tests the speaker from outside, through its command line.

mod advisories;
pub mod alerts;
pub mod apt;
pub mod bench;
pub mod check;
pub mod docs_run;
pub mod ebpf;
pub mod fuzz;
pub mod haproxy;
pub mod image;
pub mod kubectl;
pub mod lab;
pub mod machine;
pub mod other;
mod packages;
pub mod release;
pub mod routers;
pub mod shells;
pub mod sim;
pub mod test;
mod tidy;
pub mod tools;
pub mod verifier;
pub mod vlan;
