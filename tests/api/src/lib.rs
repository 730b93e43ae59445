//! An API server's double, as far as the speaker, the controller and kubectl need one.

pub mod apply;
pub mod history;
pub mod oracle;
pub mod rbac;
pub mod schema;
