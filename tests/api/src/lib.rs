//! An API server's double, as far as the speaker, the controller and kubectl need one.
//!
//! In the middle is a store without I/O: a request goes in, and an answer, a watch or a question to a webhook comes out
//! ([`serve`]). Around it is a listener that speaks HTTP. The double is honest where it answers: every recorded exchange of a
//! real server that falls into its extent is replayed against it (`tests/api/tests/api.rs`), and where they differ the double
//! is wrong. Outside its extent are strategic merge patches (415), OpenAPI, and everything that controllers do.

mod access;
mod answer;
pub mod apply;
mod body;
mod builtin;
mod call;
mod discovery;
mod double;
mod faults;
pub mod history;
mod hooks;
mod kinds;
mod listen;
mod meta;
pub mod oracle;
mod policies;
mod post;
pub mod rbac;
mod read;
mod review;
mod route;
pub mod schema;
mod select;
mod serve;
mod service;
mod store;
mod table;
mod user;
mod value;
mod watch;
mod write;

pub use double::{Double, Options, Written};
pub use faults::{Fault, Rule};
pub use listen::Logged;
pub use post::Places;
pub use store::Key;
pub use user::Users;
