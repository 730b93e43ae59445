//! Issues certificates: an authority of our own, and servers' certificates that it signs (RFC 5280).
//!
//! Keys are P-256: small, quick to sign with, and known to every client. Serial numbers and keys are the library's chance; the
//! time is an argument. Knows nothing of where authorities are kept.

use super::certificate::{Certificate, section};
use super::identity::Identity;
use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::time::Duration;

/// Signs certificates of servers.
pub(crate) struct Authority {
    /// What clients trust.
    pub(crate) certificate: Certificate,
    key: KeyPair,
}

impl Authority {
    /// A new one, with a name for people.
    ///
    /// # Errors
    /// When the library cannot make it.
    pub(crate) fn new(name: &str, now: Timestamp) -> Result<Self> {
        let key = KeyPair::generate().context("failed to make a key")?;
        let mut params = params(name, now, AUTHORITY_LIFE, Timestamp::MAX);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let signed = params
            .self_signed(&key)
            .context("failed to sign an authority")?;
        let certificate = Certificate::read(signed.der().clone())?;
        Ok(Self { certificate, key })
    }

    /// One that was kept: its certificate and its key as PEM.
    ///
    /// # Errors
    /// When one cannot be read, they do not belong together, or the key cannot sign here. The library signs with keys in PKCS #8
    /// alone, MetalLB keeps its own in PKCS #1: such an authority is trusted to its end, and a new one follows it.
    pub(crate) fn read(certificate: Certificate, key_pem: &str) -> Result<Self> {
        let unusable = || anyhow::anyhow!("ca.key: not a private key that can sign here");
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| unusable())?;
        let key = KeyPair::try_from(&key).map_err(|_| unusable())?;
        let issuer = Self { certificate, key };
        ensure!(
            issuer.certificate.is_authority,
            "ca.crt may not sign others"
        );
        let probe = issuer.issue(&["probe.invalid".to_owned()], issuer.certificate.not_before)?;
        probe
            .convinces(
                std::slice::from_ref(&issuer.certificate),
                "probe.invalid",
                issuer.certificate.not_before,
            )
            .context("ca.key does not belong to ca.crt")?;
        Ok(issuer)
    }

    /// The key as text, for the place where it is kept.
    pub(crate) fn key_pem(&self) -> String {
        section("PRIVATE KEY", self.key.serialized_der())
    }

    /// A server's certificate for these DNS names, with a new key; it ends with the authority at the latest.
    ///
    /// # Errors
    /// When a name is none, or the library cannot make it.
    pub(crate) fn issue(&self, names: &[String], now: Timestamp) -> Result<Identity> {
        let issuer = Issuer::from_ca_cert_der(&self.certificate.der, &self.key)
            .context("failed to use ca.crt")?;
        let key = KeyPair::generate().context("failed to make a key")?;
        let last = self.certificate.not_after;
        let signed = leaf(names, now, last)?
            .signed_by(&key, &issuer)
            .context("failed to sign a certificate")?;
        identity(signed.der(), &key)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority until {}", self.certificate.not_after)
    }
}

/// A server's certificate that nobody vouches for: it hides what is sent, and proves nothing.
///
/// # Errors
/// When a name is none, or the library cannot make it.
pub(crate) fn self_signed(names: &[String], now: Timestamp) -> Result<Identity> {
    let key = KeyPair::generate().context("failed to make a key")?;
    let signed = leaf(names, now, Timestamp::MAX)?
        .self_signed(&key)
        .context("failed to sign a certificate")?;
    identity(signed.der(), &key)
}

fn identity(der: &CertificateDer<'_>, key: &KeyPair) -> Result<Identity> {
    Identity::read(
        &section("CERTIFICATE", der),
        &section("PRIVATE KEY", key.serialized_der()),
    )
}

fn leaf(names: &[String], now: Timestamp, last: Timestamp) -> Result<CertificateParams> {
    let first = names
        .first()
        .context("no name to issue a certificate for")?;
    let mut params = params(first, now, LEAF_LIFE, last);
    params.subject_alt_names = CertificateParams::new(names)
        .context("failed to name a server")?
        .subject_alt_names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn params(name: &str, now: Timestamp, life: Duration, last: Timestamp) -> CertificateParams {
    let mut subject = DistinguishedName::new();
    // RFC 5280 §A.1: a common name has 64 characters at most; the names that count stand elsewhere.
    let name: String = name.chars().take(64).collect();
    subject.push(DnType::CommonName, name);
    subject.push(DnType::OrganizationName, "heliograph");
    let since_epoch =
        |at: Timestamp| Duration::from_secs(u64::try_from(at.as_second()).unwrap_or(0));
    let epoch = date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params.not_before = epoch + since_epoch(now).saturating_sub(BACKDATED);
    params.not_after = epoch + (since_epoch(now) + life).min(since_epoch(last));
    params
}

/// Clocks of the servers that check it may be behind.
pub(crate) const BACKDATED: Duration = Duration::from_secs(3600);
/// Its key lies beside what it signs, so that a shorter life would protect nothing.
const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 86400);
/// Renewed after two thirds: four months remain for whatever hinders that.
const LEAF_LIFE: Duration = Duration::from_secs(365 * 86400);

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
