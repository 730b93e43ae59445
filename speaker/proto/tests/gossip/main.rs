//! Membership among several nodes, on a virtual clock.

mod cluster;
mod death;
mod identity;
mod knowledge;
mod scale;
