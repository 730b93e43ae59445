//! The flags as manifests of MetalLB have them, and what can be spoken then.

use super::super::client_tests::{Server, today};
use super::*;
use crate::tls::self_signed;

fn read(version: &str, suites: &str, groups: &str) -> Result<Options> {
    Options::read(&TlsArgs {
        tls_min_version: version.to_owned(),
        tls_cipher_suites: suites.to_owned(),
        tls_curve_preferences: groups.to_owned(),
    })
}

fn refused(version: &str, suites: &str, groups: &str) -> String {
    format!("{:#}", read(version, suites, groups).unwrap_err())
}

#[test]
fn without_flags_tls_1_3_is_asked_for() {
    let options = read("VersionTLS13", "", "").unwrap();
    assert!(!options.is_tls12_allowed && options.notes.is_empty());
    assert_eq!(
        options,
        read("", "", "").unwrap(),
        "an empty flag is as none"
    );
    assert_eq!(options.provider().kx_groups.len(), 3);
}

#[test]
fn what_nobody_knows_is_an_error_that_lists_the_known() {
    let version = refused("TLS1.2", "", "");
    assert!(
        version.contains("--tls-min-version: \"TLS1.2\""),
        "{version}"
    );
    assert!(version.ends_with("VersionTLS12, VersionTLS13"), "{version}");
    let suite = refused("VersionTLS12", "TLS_NONE", "");
    assert!(
        suite.contains("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        "{suite}"
    );
    for group in ["0", "65536", "P-256", "x"] {
        let said = refused("", "", group);
        assert!(said.contains("29 (X25519), 23 (CurveP256)"), "{said}");
    }
    assert!(refused("", "", "23,CurveP256").contains("twice"));
    assert!(refused("", "", "23,").contains("\"\" is not known"));
}

#[test]
fn suites_cannot_be_chosen_where_only_tls_1_3_is_spoken() {
    let said = refused("VersionTLS13", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "");
    assert!(said.contains("cannot be configured with TLS 1.3"), "{said}");
}

#[test]
fn what_go_speaks_and_we_do_not_is_left_out_with_a_note() {
    let suites = "TLS_RSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305";
    let options = read("VersionTLS11", suites, "4588,29").unwrap();
    assert_eq!(
        options.suites,
        ["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"]
    );
    assert_eq!(options.groups, [29]);
    assert_eq!(options.notes.len(), 3, "{:?}", options.notes);
    let none = refused("VersionTLS12", "TLS_RSA_WITH_AES_128_CBC_SHA", "");
    assert!(none.contains("none of the list"), "{none}");
    assert!(refused("", "", "25").contains("none of the list"));
}

#[tokio::test]
async fn a_client_without_tls_1_3_is_turned_away_unless_allowed() {
    for (least, is_served) in [("VersionTLS13", false), ("VersionTLS12", true)] {
        let identity = self_signed(&["a.example".to_owned()], today()).unwrap();
        let server = Server::start(identity, &read(least, "", "").unwrap()).await;
        let old = server.client(&[&version::TLS12]).await;
        assert_eq!(old.is_ok(), is_served, "{least}: {old:?}");
        assert!(server.client(&[&version::TLS13]).await.is_ok());
    }
}

#[tokio::test]
async fn only_the_chosen_group_and_suite_are_spoken() {
    let identity = self_signed(&["a.example".to_owned()], today()).unwrap();
    let suites = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    let options = read("VersionTLS12", suites, "24").unwrap();
    let server = Server::start(identity, &options).await;
    let spoken = server.client(&[&version::TLS12]).await.unwrap();
    assert_eq!(spoken.suite, suites);
    assert_eq!(spoken.group, 24);
}
