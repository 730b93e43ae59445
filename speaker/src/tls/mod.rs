//! Certificates, and servers that speak TLS with them.
//!
//! [`Authority`] issues, [`Identity`] is a certificate with its key, [`Served`] the one that a server shows at the moment, [`Files`] one that
//! somebody else keeps in a folder, [`Options`] what the flags allow, [`serve`] a bounded server of HTTP/1.1. A lower layer
//! of the shell: every part may use it, and it knows none of them, nor Kubernetes. The time is an argument, and no key is ever
//! printed.
//!
//! Governed by RFC 5280 (certificates), RFC 8446 (TLS 1.3) and the names of Go's `crypto/tls`, which MetalLB's flags use.

mod authority;
mod certificate;
mod files;
mod identity;
mod options;
mod served;
mod server;

pub(crate) use authority::{Authority, BACKDATED, self_signed};
pub(crate) use certificate::{Certificate, bundle, pem};
pub(crate) use files::{CertDir, follow};
pub(crate) use identity::Identity;
pub(crate) use options::{Options, TlsArgs};
pub(crate) use served::Served;
pub(crate) use server::{HANDSHAKE_TIME, Limits, serve};

#[cfg(test)]
pub(crate) mod client_tests;
