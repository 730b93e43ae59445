//! What of TLS is allowed: MetalLB's three flags, with the names and numbers of Go's `crypto/tls` that they use.
//!
//! A name that Go knows and we cannot speak is left out with a note, since leaving out is what the list is for; a name that nobody
//! knows is an error.

use super::served::Served;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::{ServerConfig, SupportedCipherSuite, version};
use std::sync::Arc;

/// The flags as typed.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct TlsArgs {
    /// Least version of TLS that is spoken: VersionTLS12 or VersionTLS13, which is the default
    #[arg(
        long,
        value_name = "VERSION",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) tls_min_version: String,

    /// Cipher suites of TLS 1.2 by Go's names, comma-separated; empty: all. Those of TLS 1.3 cannot be chosen
    #[arg(
        long,
        value_name = "NAMES",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) tls_cipher_suites: String,

    /// Groups for the exchange of keys by number (29 X25519, 23 P-256, 24 P-384), comma-separated, the preferred first; empty: all
    #[arg(
        long,
        value_name = "NUMBERS",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) tls_curve_preferences: String,
}

/// The flags, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Options {
    is_tls12_allowed: bool,
    /// Names of suites of TLS 1.2; all if empty.
    suites: Vec<&'static str>,
    /// Numbers of groups; all if empty.
    groups: Vec<u16>,
    /// What was left out, to be logged.
    pub(crate) notes: Vec<String>,
}

impl Options {
    /// Checks the flags.
    ///
    /// # Errors
    /// When one names what nobody knows, names the same twice, or leaves nothing to speak.
    pub(crate) fn read(args: &TlsArgs) -> Result<Self> {
        let mut notes = Vec::new();
        let is_tls12_allowed =
            least_version(&args.tls_min_version, &mut notes).context("--tls-min-version")?;
        let suites = suites(&args.tls_cipher_suites, &mut notes).context("--tls-cipher-suites")?;
        ensure!(
            is_tls12_allowed || args.tls_cipher_suites.is_empty(),
            "--tls-cipher-suites: cipher suites cannot be configured with TLS 1.3; allow \
             --tls-min-version=VersionTLS12 or leave the list out"
        );
        let groups =
            groups(&args.tls_curve_preferences, &mut notes).context("--tls-curve-preferences")?;
        Ok(Self {
            is_tls12_allowed,
            suites,
            groups,
            notes,
        })
    }

    /// How a server speaks that shows what `served` holds.
    pub(crate) fn server(&self, served: Arc<Served>) -> Arc<ServerConfig> {
        let versions: &[_] = if self.is_tls12_allowed {
            &[&version::TLS13, &version::TLS12]
        } else {
            &[&version::TLS13]
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(self.provider()))
            .with_protocol_versions(versions)
            .expect("suites of TLS 1.3 are always in")
            .with_no_client_auth()
            .with_cert_resolver(served);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }

    fn provider(&self) -> CryptoProvider {
        let mut provider = ring::default_provider();
        if !self.suites.is_empty() {
            provider
                .cipher_suites
                .retain(|suite| suite.tls13().is_some() || self.suites.contains(&go_name(*suite)));
        }
        if !self.groups.is_empty() {
            let named = self.groups.iter().filter_map(|number| group(*number));
            provider.kx_groups = named.collect();
        }
        provider
    }
}

/// Whether TLS 1.2 may be spoken.
fn least_version(typed: &str, notes: &mut Vec<String>) -> Result<bool> {
    match typed {
        "" | "VersionTLS13" => Ok(false),
        "VersionTLS12" => Ok(true),
        "VersionTLS10" | "VersionTLS11" => {
            notes.push(format!(
                "--tls-min-version={typed}: TLS 1.2 is the oldest version spoken"
            ));
            Ok(true)
        }
        other => bail!("{other:?} is not known; known are VersionTLS12, VersionTLS13"),
    }
}

fn suites(typed: &str, notes: &mut Vec<String>) -> Result<Vec<&'static str>> {
    let all: Vec<&'static str> = ring::ALL_CIPHER_SUITES
        .iter()
        .copied()
        .map(go_name)
        .collect();
    let mut chosen = Vec::new();
    for name in list(typed) {
        // Go has two names for one suite.
        let long = format!("{name}_SHA256");
        match all.iter().find(|known| **known == name || **known == long) {
            Some(known) => chosen.push(*known),
            None if OTHER_SUITES.contains(&name) => {
                notes.push(format!(
                    "--tls-cipher-suites: {name} is not spoken here, left out"
                ));
            }
            None => bail!("{name:?} is not known; known are {}", all.join(", ")),
        }
    }
    ensure!(
        typed.is_empty() || !chosen.is_empty(),
        "none of the list is spoken here; choose from {}",
        all.join(", ")
    );
    Ok(chosen)
}

fn groups(typed: &str, notes: &mut Vec<String>) -> Result<Vec<u16>> {
    let mut chosen = Vec::new();
    for text in list(typed) {
        let number =
            number(text).with_context(|| format!("{text:?} is not known; known are {GROUPS}"))?;
        ensure!(!chosen.contains(&number), "{text} is there twice");
        if group(number).is_some() {
            chosen.push(number);
        } else {
            notes.push(format!(
                "--tls-curve-preferences: {text} is not spoken here, left out"
            ));
        }
    }
    ensure!(
        typed.is_empty() || !chosen.is_empty(),
        "none of the list is spoken here; choose from {GROUPS}"
    );
    Ok(chosen)
}

/// The number of a group that Go knows, by number or by Go's name.
fn number(text: &str) -> Option<u16> {
    let known = GO_GROUPS.iter();
    let typed: Option<u16> = text.parse().ok();
    let mut found = known.filter(|(number, name)| typed == Some(*number) || *name == text);
    found.next().map(|(number, _)| *number)
}

fn group(number: u16) -> Option<&'static dyn SupportedKxGroup> {
    let mut all = ring::ALL_KX_GROUPS.iter().copied();
    all.find(|group| u16::from(group.name()) == number)
}

/// Go names suites as the register does, the library puts the version first for those of TLS 1.3.
fn go_name(suite: SupportedCipherSuite) -> &'static str {
    let name = suite.suite().as_str().unwrap_or_default();
    match name {
        "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
        "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
        "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
        same => same,
    }
}

fn list(typed: &str) -> impl Iterator<Item = &str> {
    typed
        .split(',')
        .map(str::trim)
        .filter(|_| !typed.is_empty())
}

const GROUPS: &str = "29 (X25519), 23 (CurveP256), 24 (CurveP384)";

/// Go's numbers (the register of RFC 8446 §4.2.7) and names.
const GO_GROUPS: [(u16, &str); 7] = [
    (23, "CurveP256"),
    (24, "CurveP384"),
    (25, "CurveP521"),
    (29, "X25519"),
    (4587, "SecP256r1MLKEM768"),
    (4588, "X25519MLKEM768"),
    (4589, "SecP384r1MLKEM1024"),
];

/// Suites that Go has and we have not: they lack forward secrecy or authenticated encryption.
const OTHER_SUITES: [&str; 13] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
];

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
