//! Certificates that we issue, and those that MetalLB left behind.

use super::*;
use crate::tls::{bundle, pem};
use std::slice::from_ref;

const NAME: &str = "metallb-webhook-service.metallb-system.svc";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn names() -> Vec<String> {
    vec![NAME.to_owned()]
}

#[test]
fn a_certificate_convinces_who_trusts_its_authority_and_nobody_else() {
    let now = at("2026-03-01T12:00:00Z");
    let authority = Authority::new("heliograph-ca", now).unwrap();
    let identity = authority.issue(&names(), now).unwrap();
    assert_eq!(identity.leaf.names, [NAME]);
    let roots = from_ref(&authority.certificate);
    identity.convinces(roots, NAME, now).unwrap();
    let other = Authority::new("heliograph-ca", now).unwrap();
    assert!(
        identity
            .convinces(from_ref(&other.certificate), NAME, now)
            .is_err()
    );
    assert!(identity.convinces(roots, "other.svc", now).is_err());
    assert!(identity.convinces(&[], NAME, now).is_err());
    for beyond in ["2026-03-01T10:59:00Z", "2027-03-01T12:00:01Z"] {
        assert!(
            identity.convinces(roots, NAME, at(beyond)).is_err(),
            "{beyond}"
        );
    }
}

#[test]
fn a_year_counts_and_the_last_third_of_it_is_for_renewal() {
    let now = at("2026-03-01T12:00:00Z");
    let authority = Authority::new("heliograph-ca", now).unwrap();
    let leaf = authority.issue(&names(), now).unwrap().leaf;
    assert_eq!(leaf.not_before, at("2026-03-01T11:00:00Z"));
    assert_eq!(leaf.not_after, at("2027-03-01T12:00:00Z"));
    assert_eq!(leaf.renewal(), at("2026-10-30T19:40:00Z"));
    assert!(leaf.counts_at(leaf.not_before) && leaf.counts_at(leaf.not_after));
    assert!(!leaf.is_authority && authority.certificate.is_authority);
}

#[test]
fn nothing_outlives_its_authority() {
    let made = at("2026-03-01T12:00:00Z");
    let authority = Authority::new("heliograph-ca", made).unwrap();
    let late = at("2035-12-01T00:00:00Z");
    let leaf = authority.issue(&names(), late).unwrap().leaf;
    assert_eq!(leaf.not_after, authority.certificate.not_after);
}

#[test]
fn what_was_kept_can_be_taken_up() {
    let now = at("2026-03-01T12:00:00Z");
    let authority = Authority::new("heliograph-ca", now).unwrap();
    let kept = bundle(pem([&authority.certificate]).as_bytes())
        .unwrap()
        .remove(0);
    let again = Authority::read(kept, &authority.key_pem()).unwrap();
    let identity = again.issue(&names(), now).unwrap();
    identity
        .convinces(from_ref(&authority.certificate), NAME, now)
        .unwrap();
    let kept = Identity::read(identity.chain_pem(), identity.key_pem()).unwrap();
    assert_eq!(kept, identity);
}

#[test]
fn keys_of_others_are_refused_and_no_key_is_shown() {
    let now = at("2026-03-01T12:00:00Z");
    let (ours, other) = (
        Authority::new("a", now).unwrap(),
        Authority::new("b", now).unwrap(),
    );
    let mixed = Authority::read(ours.certificate.clone(), &other.key_pem()).unwrap_err();
    assert!(
        format!("{mixed:#}").contains("ca.key does not belong to ca.crt"),
        "{mixed:#}"
    );
    let (a, b) = (
        ours.issue(&names(), now).unwrap(),
        ours.issue(&names(), now).unwrap(),
    );
    let mixed = Identity::read(a.chain_pem(), b.key_pem()).unwrap_err();
    assert!(
        format!("{mixed:#}").contains("tls.key does not belong to tls.crt"),
        "{mixed:#}"
    );
    let broken =
        Identity::read(a.chain_pem(), "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n").unwrap_err();
    assert!(!format!("{broken:#?}").contains("c2VjcmV0"), "{broken:#?}");
    let leaf_as_authority = Authority::read(a.leaf.clone(), a.key_pem()).unwrap_err();
    assert!(
        format!("{leaf_as_authority:#}").contains("may not sign"),
        "{leaf_as_authority:#}"
    );
    let shown = format!("{ours:?} {a:?}");
    assert_eq!(
        shown,
        "Authority until 2036-02-27T12:00:00Z \
         Identity for [\"metallb-webhook-service.metallb-system.svc\"] until 2027-03-01T12:00:00Z"
    );
}

#[test]
fn the_rsa_certificate_of_metallb_is_served_though_its_authority_cannot_sign_here() {
    let now = at("2027-03-01T12:00:00Z");
    let text = |file: &str| {
        let path = format!("{}/src/tls/metallb/{file}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    };
    let identity = Identity::read(&text("tls.crt"), &text("tls.key")).unwrap();
    let roots = bundle(text("ca.crt").as_bytes()).unwrap();
    identity.convinces(&roots, NAME, now).unwrap();
    let authority = Authority::read(roots[0].clone(), &text("ca.key")).unwrap_err();
    assert!(
        format!("{authority:#}").contains("not a private key that can sign here"),
        "{authority:#}"
    );
}

#[test]
fn a_self_signed_certificate_vouches_for_itself_alone() {
    let now = at("2026-03-01T12:00:00Z");
    let identity = self_signed(&["controller".to_owned()], now).unwrap();
    identity
        .convinces(from_ref(&identity.leaf), "controller", now)
        .unwrap();
    assert!(self_signed(&[], now).is_err());
}

#[test]
fn a_bundle_of_nothing_or_of_too_much_is_refused() {
    let one = pem([&Authority::new("a", at("2026-03-01T12:00:00Z"))
        .unwrap()
        .certificate]);
    assert_eq!(bundle(one.repeat(2).as_bytes()).unwrap().len(), 2);
    for (text, why) in [
        (String::new(), "no certificate"),
        ("Cg==\n".to_owned(), "no certificate"),
        (one.repeat(33), "more than 32"),
        (one.replace('M', "%"), "not PEM"),
        (section("CERTIFICATE", b"x"), "not a certificate"),
    ] {
        let said = format!("{:#}", bundle(text.as_bytes()).unwrap_err());
        assert!(said.contains(why), "{why}: {said}");
    }
}
