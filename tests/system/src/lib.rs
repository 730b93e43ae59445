//! What the suites that touch a real kernel share. They need root, make namespaces of their own and clean up.

pub mod lab;
