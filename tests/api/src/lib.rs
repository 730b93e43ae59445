//! An API server's double, as far as the speaker, the controller and kubectl need one.

pub mod rbac;
pub mod schema;
