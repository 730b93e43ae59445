//! Heliograph's one binary.
fn main() {}
