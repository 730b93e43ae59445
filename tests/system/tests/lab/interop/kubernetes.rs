//! The same from an API server: peers, pools and passwords are objects there.

use super::frr::{announced_by_all, bgpd};
use super::{POOL, peer, service};
use serde_json::Value;
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

#[test]
fn a_secret_of_the_wrong_type_makes_the_configuration_of_its_node_invalid_until_it_is_mended() {
    let mut lab = TestLab::routed_cluster();
    lab.start_speakers().unwrap();
    let tor = peer(
        "tor",
        "192.0.2.1",
        "  passwordSecret:\n    name: tor\n  nodeSelectors:\n    - matchLabels: {kubernetes.io/hostname: n1}\n",
    );
    apply(&lab, "bgp.yaml", &format!("{POOL}{tor}"));
    let wrong = SECRET.replace("kubernetes.io/basic-auth", "Opaque");
    apply(&lab, "secret.yaml", &wrong);
    let why = "spec.passwordSecret: Secret metallb-system/tor: its type is \"Opaque\"";
    judged(&lab, "n1", "Invalid", why);
    judged(&lab, "n2", "Valid", "");
    // The type of a Secret cannot be changed.
    lab.kubectl(&["delete", "secret", "-n", "metallb-system", "tor"]);
    apply(&lab, "secret.yaml", SECRET);
    judged(&lab, "n1", "Valid", "");
}

/// Waits until the ConfigurationState of a node's speaker has this result and says this.
#[track_caller]
fn judged(lab: &TestLab, node: &str, result: &str, why: &str) {
    lab.eventually(&format!("{node} is {result}"), || {
        let words = "get configurationstates -n metallb-system -o json";
        let words: Vec<&str> = words.split(' ').collect();
        let all: Value = serde_json::from_str(&lab.kubectl(&words)).unwrap();
        let name = format!("speaker-{node}");
        let mut states = all["items"].as_array().unwrap().iter();
        let state = states.find(|state| state["metadata"]["name"] == *name);
        let status = &state.ok_or("there is none")?["status"];
        let said = status["errorSummary"].as_str().unwrap_or_default();
        match status["result"] == *result && said.contains(why) {
            true => Ok(()),
            false => Err(status.to_string()),
        }
    });
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
