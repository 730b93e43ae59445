//! Passwords that stand in Secrets beside the other manifests.

use super::frr::{announced_by_all, bgpd};
use super::{peer, routed};
use std::fs;
use system_tests::lab::TestLab;
use xtask::lab::router::frr::Frr;

#[test]
fn rfc2385_a_password_in_a_secret_of_the_directory_is_waited_for_and_shown_nowhere() {
    let mut lab = routed(&peer(
        "tor",
        "192.0.2.1",
        "  passwordSecret:\n    name: tor\n",
    ));
    let config = bgpd(&lab, " neighbor {N} password hunter2\n");
    let frr = Frr::start(&mut lab, &config, "").unwrap();
    lab.start_speakers().unwrap();
    said(&lab, "there is no Secret metallb-system/tor yet");
    lab.edit("secret.yaml", "", SECRET);
    said(&lab, "its type is \"Opaque\"");
    lab.edit("secret.yaml", "Opaque", "kubernetes.io/basic-auth");
    let web = lab.frontends_of("default/web")[0].vip;
    announced_by_all(&lab, &frr, web);
    let speaker = &lab.speakers()["n1"];
    for words in [
        &["bgp", "tor"][..],
        &["plan"],
        &["status"],
        &["why", "default/web"],
    ] {
        let text = speaker.ctl(words).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
    }
    let text = speaker.ctl(&["bgp", "tor"]).unwrap();
    assert!(text.contains("7 bytes"), "{text}");
    for node in lab.speakers().keys() {
        let log = lab.folder().join(format!("log/{node}.log"));
        let text = fs::read_to_string(&log).unwrap();
        assert!(text.contains("msg"), "{} says nothing", log.display());
        assert!(!text.contains("hunter2"), "{}", log.display());
    }
}

#[track_caller]
fn said(lab: &TestLab, expected: &str) {
    lab.eventually(expected, || {
        let text = lab.said("n1", &["bgp"])?;
        match text.contains(expected) {
            true => Ok(()),
            false => Err(text),
        }
    });
}

const SECRET: &str = "\
apiVersion: v1
kind: Secret
metadata:
  name: tor
  namespace: metallb-system
type: Opaque
stringData:
  password: hunter2
";
