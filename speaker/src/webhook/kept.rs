//! What the Secret `metallb-webhook-cert` holds, and when it is to hold something else: pure, the time is an argument.
//!
//! Keys and form are those of cert-controller, which MetalLB uses: `ca.crt`, `ca.key`, `tls.crt`, `tls.key`, so that either takes up
//! what the other left. While an authority follows another, `ca.crt` has both, the newer first. Issuing itself is
//! [`crate::tls`]'s.

use crate::tls::{Authority, BACKDATED, Certificate, Identity, bundle, pem};
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::fmt;
use std::time::Duration;

/// Everything that serving and renewing needs.
#[derive(Clone, PartialEq)]
pub(super) struct Kept {
    /// What API servers are to trust, the newest first.
    pub(super) roots: Vec<Certificate>,
    /// Key of the first of them; empty where somebody else issues.
    authority_key: String,
    /// What the server shows.
    pub(super) identity: Identity,
}

/// What is to be done to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// Nothing before that moment.
    Nothing {
        /// When to look again.
        until: Timestamp,
    },
    /// A new certificate of the server.
    Certificate,
    /// A new authority, and a certificate that it signs.
    Authority,
    /// Authorities that nobody needs any more go.
    Trimming,
}

impl Kept {
    /// A new authority and its first certificate, for a server of that name.
    pub(super) fn new(name: &str, now: Timestamp) -> Result<Self> {
        let authority = Authority::new(AUTHORITY_NAME, now)?;
        Ok(Self {
            identity: authority.issue(&[name.to_owned()], now)?,
            authority_key: authority.key_pem(),
            roots: vec![authority.certificate],
        })
    }

    /// Reads the Secret.
    ///
    /// # Errors
    /// With the key of the Secret that is missing or cannot be used; never with what it holds.
    pub(super) fn read(secret: &Value) -> Result<Self> {
        let text = |key: &str| -> Result<String> {
            let text = secret["data"][key].as_str().filter(|text| !text.is_empty());
            let text = text.with_context(|| format!("{key} is missing"))?;
            let bytes = STANDARD.decode(text).ok();
            let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            text.with_context(|| format!("{key}: not Base64 of a text"))
        };
        Ok(Self {
            roots: bundle(text("ca.crt")?.as_bytes()).context("ca.crt")?,
            authority_key: text("ca.key").unwrap_or_default(),
            identity: Identity::read(&text("tls.crt")?, &text("tls.key")?)?,
        })
    }

    /// Whether API servers that trust its roots take it for the server of that name now.
    ///
    /// # Errors
    /// With what they would say.
    pub(super) fn serves(&self, name: &str, now: Timestamp) -> Result<()> {
        let convinced = self.identity.convinces(&self.roots, name, now);
        convinced.with_context(|| format!("tls.crt does not do for {name}"))
    }

    /// The Secret's `data`.
    pub(super) fn data(&self) -> Value {
        json!({
            "ca.crt": STANDARD.encode(pem(&self.roots)),
            "ca.key": STANDARD.encode(&self.authority_key),
            "tls.crt": STANDARD.encode(self.identity.chain_pem()),
            "tls.key": STANDARD.encode(self.identity.key_pem()),
        })
    }

    /// What is due at that moment.
    pub(super) fn due(&self, now: Timestamp) -> Due {
        let Some(root) = self.roots.first() else {
            return Due::Authority;
        };
        let leaf = &self.identity.leaf;
        if root.renewal() <= now {
            return Due::Authority;
        }
        // A certificate that its authority cut short is renewed with the authority, long before.
        if leaf.renewal() <= now {
            return match self.authority() {
                Ok(_) => Due::Certificate,
                Err(_) => Due::Authority,
            };
        }
        let renewal = root.renewal().min(leaf.renewal());
        if self.roots.len() == 1 || self.serves_by_first(now).is_err() {
            return Due::Nothing { until: renewal };
        }
        let trimming = root.not_before + BACKDATED + OVERLAP;
        if trimming <= now {
            return Due::Trimming;
        }
        Due::Nothing {
            until: renewal.min(trimming),
        }
    }

    /// What it is to be instead.
    ///
    /// # Errors
    /// When nothing can be issued.
    pub(super) fn renewed(&self, due: Due, name: &str, now: Timestamp) -> Result<Self> {
        match due {
            Due::Nothing { .. } => Ok(self.clone()),
            Due::Certificate => Ok(Self {
                identity: self.authority()?.issue(&[name.to_owned()], now)?,
                ..self.clone()
            }),
            Due::Authority => {
                let mut next = Self::new(name, now)?;
                // The newest is the one that vouches for what other replicas still show.
                let old = self.roots.iter().filter(|root| root.counts_at(now)).take(1);
                next.roots.extend(old.cloned());
                Ok(next)
            }
            Due::Trimming => Ok(Self {
                roots: self.roots.iter().take(1).cloned().collect(),
                ..self.clone()
            }),
        }
    }

    fn authority(&self) -> Result<Authority> {
        let root = self.roots.first().context("ca.crt is empty")?;
        Authority::read(root.clone(), &self.authority_key)
    }

    fn serves_by_first(&self, now: Timestamp) -> Result<(), rustls::Error> {
        let name = self.identity.leaf.names.first().map_or("", String::as_str);
        let first = self.roots.get(..1).unwrap_or_default();
        self.identity.convinces(first, name, now)
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({} roots, {:?})", self.roots.len(), self.identity)
    }
}

/// Whether somebody else fills this Secret, as cert-manager says on those that it does.
pub(super) fn is_issued_by_others(secret: &Value) -> bool {
    let annotations = &secret["metadata"]["annotations"];
    annotations["cert-manager.io/certificate-name"].is_string()
}

/// How long an old authority stays trusted: replicas take up a new certificate within seconds, and a replica that is cut off from
/// the API server must still be believed when it is back.
pub(super) const OVERLAP: Duration = Duration::from_secs(3600);
const AUTHORITY_NAME: &str = "heliograph-webhook-ca";

#[cfg(test)]
#[path = "kept_tests.rs"]
mod tests;
