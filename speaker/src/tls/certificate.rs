//! One certificate as read, and lists of them as PEM (RFC 7468).
//!
//! Reads what decisions need: the key it belongs to is [`super::Identity`]'s.

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// A certificate and what it says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Certificate {
    /// As signed.
    pub(crate) der: CertificateDer<'static>,
    /// The first moment at which it counts.
    pub(crate) not_before: Timestamp,
    /// The last one.
    pub(crate) not_after: Timestamp,
    /// Whether it may sign others.
    pub(crate) is_authority: bool,
    /// The DNS names that it is for.
    pub(crate) names: Vec<String>,
}

impl Certificate {
    /// Reads what was signed.
    ///
    /// # Errors
    /// When it is no certificate.
    pub(crate) fn read(der: CertificateDer<'static>) -> Result<Self> {
        let (_, parsed) = X509Certificate::from_der(&der).context("not a certificate")?;
        let alternative = parsed
            .subject_alternative_name()
            .context("its alternative names cannot be read")?;
        let names = alternative.map_or_else(Vec::new, |extension| {
            let names = extension.value.general_names.iter();
            names.filter_map(dns_name).collect()
        });
        Ok(Self {
            not_before: moment(parsed.validity().not_before.timestamp()),
            not_after: moment(parsed.validity().not_after.timestamp()),
            is_authority: parsed.is_ca(),
            names,
            der: der.clone(),
        })
    }

    /// Whether it counts at that moment.
    pub(crate) fn counts_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// The moment at which two thirds of its life are over: the last third is left for whatever hinders its renewal.
    pub(crate) fn renewal(&self) -> Timestamp {
        let life_s = self.not_after.as_second() - self.not_before.as_second();
        moment(self.not_before.as_second() + life_s / 3 * 2)
    }
}

fn dns_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    }
}

/// Reads the certificates of a PEM text, in their order; other sections are passed over.
///
/// # Errors
/// When one of them cannot be read, or there is none, or there are more than [`CERTIFICATES_MAX`].
pub(crate) fn bundle(pem: &[u8]) -> Result<Vec<Certificate>> {
    let mut read = Vec::new();
    for (at, der) in CertificateDer::pem_slice_iter(pem).enumerate() {
        if at == CERTIFICATES_MAX {
            bail!("more than {CERTIFICATES_MAX} certificates");
        }
        let der = der.with_context(|| format!("certificate {at}: not PEM"))?;
        read.push(Certificate::read(der).with_context(|| format!("certificate {at}"))?);
    }
    if read.is_empty() {
        bail!("no certificate in it");
    }
    Ok(read)
}

/// The PEM text of certificates.
pub(crate) fn pem<'a>(certificates: impl IntoIterator<Item = &'a Certificate>) -> String {
    let sections = certificates
        .into_iter()
        .map(|one| section(CERTIFICATE, &one.der));
    sections.collect()
}

/// One section of PEM: the label and what it holds.
pub(super) fn section(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut section = format!("-----BEGIN {label}-----\n");
    for at in (0..text.len()).step_by(LINE) {
        let end = (at + LINE).min(text.len());
        section.push_str(text.get(at..end).expect("Base64 is ASCII"));
        section.push('\n');
    }
    section + "-----END " + label + "-----\n"
}

/// Certificates hold seconds of a calendar that ends in 9999, as ours does.
pub(super) fn moment(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(if second < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

const CERTIFICATE: &str = "CERTIFICATE";
const LINE: usize = 64; // RFC 7468 §2
const CERTIFICATES_MAX: usize = 32; // a chain or a bundle has two or three; all is read at each look
