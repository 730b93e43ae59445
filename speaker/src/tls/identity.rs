//! A server's certificate with its key, checked to belong together.
//!
//! The key is kept as the text it came as, to be written where it is kept, and as a signer. Neither has a printed form.

use super::certificate::{Certificate, bundle};
use anyhow::{Context, Result};
use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A certificate with its key.
#[derive(Clone)]
pub(crate) struct Identity {
    /// The server's own certificate.
    pub(crate) leaf: Certificate,
    chain_pem: String,
    key_pem: String,
    signer: Arc<CertifiedKey>,
}

impl Identity {
    /// Reads a chain, the server's own certificate first, and its key in any of the forms PKCS #1, PKCS #8 and SEC 1.
    ///
    /// # Errors
    /// When one of them cannot be read, or the key is not the certificate's.
    pub(crate) fn read(chain_pem: &str, key_pem: &str) -> Result<Self> {
        let chain = bundle(chain_pem.as_bytes()).context("tls.crt")?;
        let leaf = chain.first().expect("a bundle is not empty").clone();
        // The library's own words are left out, since they may quote what they could not read.
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
            .map_err(|_| anyhow::anyhow!("tls.key: not a private key in PEM"))?;
        let ders = chain.into_iter().map(|one| one.der).collect();
        let signer = CertifiedKey::from_der(ders, key, &default_provider())
            .context("tls.key does not belong to tls.crt")?;
        Ok(Self {
            leaf,
            chain_pem: chain_pem.to_owned(),
            key_pem: key_pem.to_owned(),
            signer: Arc::new(signer),
        })
    }

    /// The chain as text.
    pub(crate) fn chain_pem(&self) -> &str {
        &self.chain_pem
    }

    /// The key as text, for the place where it is kept.
    pub(crate) fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// What signs handshakes.
    pub(super) fn signer(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.signer)
    }

    /// Checks as a client would that trusts `roots` and asks for `name`.
    ///
    /// # Errors
    /// With what such a client would say.
    pub(crate) fn convinces(
        &self,
        roots: &[Certificate],
        name: &str,
        now: Timestamp,
    ) -> Result<(), rustls::Error> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().map(|root| root.der.clone()));
        let leaf = ParsedCertificate::try_from(&self.leaf.der)?;
        let name = ServerName::try_from(name)
            .map_err(|_| rustls::Error::General(format!("{name:?} is no DNS name")))?;
        let second = u64::try_from(now.as_second()).unwrap_or_default();
        verify_server_cert_signed_by_trust_anchor(
            &leaf,
            &store,
            self.above(),
            UnixTime::since_unix_epoch(Duration::from_secs(second)),
            default_provider().signature_verification_algorithms.all,
        )?;
        verify_server_name(&leaf, &name)
    }

    fn above(&self) -> &[CertificateDer<'static>] {
        self.signer.cert.get(1..).unwrap_or_default()
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.chain_pem == other.chain_pem && self.key_pem == other.key_pem
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Identity for {:?} until {}",
            self.leaf.names, self.leaf.not_after
        )
    }
}
