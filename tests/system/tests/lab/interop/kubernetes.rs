//! The same from an API server: peers, pools and passwords are objects there.

use super::frr::{announced_by_all, bgpd};
use super::{POOL, peer, service};
use std::fs;
use system_tests::lab::TestLab;
use xtask::lab::router::frr::Frr;

#[test]
fn a_cluster_announces_by_bgp_once_the_password_is_there() {
    let mut lab = TestLab::routed_cluster();
    let config = bgpd(&lab, " neighbor {N} password secret\n");
    let frr = Frr::start(&mut lab, &config, "").unwrap();
    lab.start_speakers().unwrap();
    let tor = peer("tor", "192.0.2.1", "  passwordSecret:\n    name: tor\n");
    apply(&lab, "bgp.yaml", &format!("{POOL}{tor}"));
    apply(&lab, "late.yaml", &service("late"));
    lab.eventually("it says what it waits for", || {
        let text = lab.said("n1", &["bgp"])?;
        match text.contains("there is no Secret metallb-system/tor yet") {
            true => Ok(()),
            false => Err(text),
        }
    });
    apply(&lab, "secret.yaml", SECRET);
    let late = lab.frontends_of("default/late")[0].vip;
    announced_by_all(&lab, &frr, late);
}

#[track_caller]
fn apply(lab: &TestLab, name: &str, text: &str) {
    let file = lab.folder().join(name);
    fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    lab.kubectl(&["apply", "--server-side", "--validate=false", "-f", &file]);
}

const SECRET: &str = "\
apiVersion: v1
kind: Secret
metadata:
  name: tor
  namespace: metallb-system
type: kubernetes.io/basic-auth
data:
  password: c2VjcmV0
";
