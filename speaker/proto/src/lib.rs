//! Protocol machines.
