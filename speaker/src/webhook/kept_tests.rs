//! The life of the Secret: issued, renewed, followed by another authority, taken over from MetalLB.

use super::*;

const NAME: &str = "metallb-webhook-service.metallb-system.svc";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn new() -> (Kept, Timestamp) {
    let now = at("2026-03-01T12:00:00Z");
    (Kept::new(NAME, now).unwrap(), now)
}

/// A Secret as MetalLB's cert-controller leaves it: RSA, keys in PKCS #1.
fn metallbs() -> Value {
    let data = ["ca.crt", "ca.key", "tls.crt", "tls.key"].map(|file| {
        let path = format!("{}/src/tls/metallb/{file}", env!("CARGO_MANIFEST_DIR"));
        (file, STANDARD.encode(std::fs::read(path).unwrap()))
    });
    json!({"data": std::collections::BTreeMap::from(data)})
}

#[test]
fn what_was_written_is_read_again() {
    let (kept, now) = new();
    let again = Kept::read(&json!({"data": kept.data()})).unwrap();
    assert!(again == kept);
    again.serves(NAME, now).unwrap();
    assert!(
        again
            .serves("metallb-webhook-service.other.svc", now)
            .is_err()
    );
    assert_eq!(again.due(now), kept.due(now));
}

#[test]
fn the_secret_that_metallb_left_is_taken_as_it_is() {
    let kept = Kept::read(&metallbs()).unwrap();
    let now = at("2027-03-01T12:00:00Z");
    kept.serves(NAME, now).unwrap();
    let Due::Nothing { until } = kept.due(now) else {
        panic!("something is due");
    };
    assert!(until > at("2033-01-01T00:00:00Z"), "{until}");
    assert!(Kept::read(&json!({"data": kept.data()})).unwrap() == kept);
}

#[test]
fn an_authority_of_metallb_is_followed_by_ours_since_it_cannot_sign_here() {
    let kept = Kept::read(&metallbs()).unwrap();
    let late = at("2034-01-01T00:00:00Z");
    assert_eq!(kept.due(late), Due::Authority);
    let next = kept.renewed(Due::Authority, NAME, late).unwrap();
    next.serves(NAME, late).unwrap();
    assert_eq!(next.roots.len(), 2);
    assert_eq!(next.roots[1], kept.roots[0]);
}

#[test]
fn a_secret_that_cannot_be_used_says_which_key_is_why_and_not_what_it_holds() {
    let (kept, _) = new();
    let cases = [
        ("tls.crt", Value::Null, "tls.crt is missing"),
        ("ca.crt", json!(""), "ca.crt is missing"),
        ("tls.key", json!("%%"), "tls.key: not Base64"),
        (
            "tls.key",
            json!(STANDARD.encode("s3cret")),
            "tls.key: not a private key",
        ),
        (
            "tls.crt",
            json!(STANDARD.encode("x")),
            "tls.crt: no certificate",
        ),
    ];
    for (key, value, why) in cases {
        let mut data = kept.data();
        data[key] = value;
        let said = format!("{:#}", Kept::read(&json!({"data": data})).unwrap_err());
        assert!(said.contains(why), "{why}: {said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
    assert!(Kept::read(&Value::Null).is_err() && Kept::read(&json!({})).is_err());
}

#[test]
fn a_certificate_is_renewed_after_two_thirds_by_the_same_authority() {
    let (kept, now) = new();
    let Due::Nothing { until } = kept.due(now) else {
        panic!("something is due at once");
    };
    assert_eq!(until, at("2026-10-30T19:40:00Z"));
    assert_eq!(kept.due(until), Due::Certificate);
    let next = kept.renewed(Due::Certificate, NAME, until).unwrap();
    assert_eq!(next.roots, kept.roots, "callers need learn nothing");
    assert!(next.identity != kept.identity);
    next.serves(NAME, at("2027-10-30T00:00:00Z")).unwrap();
    assert!(matches!(next.due(until), Due::Nothing { .. }));
}

#[test]
fn without_its_key_an_authority_is_followed_by_another() {
    let (kept, _) = new();
    let mut data = kept.data();
    data.as_object_mut().unwrap().remove("ca.key");
    let kept = Kept::read(&json!({"data": data})).unwrap();
    assert_eq!(kept.due(at("2026-12-01T00:00:00Z")), Due::Authority);
}

#[test]
fn the_old_authority_is_trusted_for_an_hour_beside_the_new() {
    let (kept, _) = new();
    let late = at("2032-12-01T00:00:00Z");
    assert_eq!(kept.due(late), Due::Authority);
    let next = kept.renewed(Due::Authority, NAME, late).unwrap();
    let both = [next.roots[0].clone(), kept.roots[0].clone()];
    assert_eq!(next.roots, both);
    // Whoever still shows the old certificate is believed, and whoever shows the new one too.
    for identity in [&kept.identity, &next.identity] {
        let then = at("2026-12-01T00:00:00Z");
        let when = if identity == &kept.identity {
            then
        } else {
            late
        };
        identity.convinces(&both, NAME, when).unwrap();
    }
    let trimming = at("2032-12-01T01:00:00Z");
    assert_eq!(next.due(late), Due::Nothing { until: trimming });
    assert_eq!(next.due(trimming), Due::Trimming);
    let trimmed = next.renewed(Due::Trimming, NAME, trimming).unwrap();
    assert_eq!(trimmed.roots, both[..1]);
    assert!(matches!(trimmed.due(trimming), Due::Nothing { .. }));
    assert!(next.identity == trimmed.identity);
}

#[test]
fn an_authority_that_still_vouches_for_the_certificate_is_not_trimmed() {
    let (kept, now) = new();
    let (other, _) = new();
    let odd = Kept {
        roots: vec![other.roots[0].clone(), kept.roots[0].clone()],
        ..kept
    };
    let later = at("2026-03-02T12:00:00Z");
    assert!(matches!(odd.due(later), Due::Nothing { .. }));
    odd.serves(NAME, now).unwrap();
}

#[test]
fn a_secret_of_cert_manager_says_so() {
    let issued = json!({"metadata": {"annotations": {"cert-manager.io/certificate-name": "c"}}});
    assert!(is_issued_by_others(&issued) && !is_issued_by_others(&json!({"metadata": {}})));
}

#[test]
fn no_key_is_printed() {
    let (kept, _) = new();
    let shown = format!("{kept:?}");
    assert!(
        !shown.contains("PRIVATE") && shown.starts_with("Kept(1 roots, Identity for"),
        "{shown}"
    );
}
