//! NetworkPolicies: the controller is reached where it serves, and reaches the API server. Speakers are on the node's network, where
//! no policy holds.

use super::controller::{CONTROLLER, WEBHOOK_PORT};
use super::{Object, Options, own, pods, texts};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

pub(super) fn objects(options: &Options) -> Vec<Object> {
    if !options.has_policies {
        return Vec::new();
    }
    let ours = LabelSelector {
        match_labels: Some(texts([("app", "metallb")])),
        ..LabelSelector::default()
    };
    let served = [options.ports.metrics, WEBHOOK_PORT];
    let controller = NetworkPolicySpec {
        pod_selector: Some(pods::selector(CONTROLLER)),
        policy_types: both(),
        ingress: Some(vec![NetworkPolicyIngressRule {
            ports: ports(&served),
            ..NetworkPolicyIngressRule::default()
        }]),
        egress: Some(vec![NetworkPolicyEgressRule {
            ports: ports(&API_SERVER),
            ..NetworkPolicyEgressRule::default()
        }]),
    };
    let nothing = NetworkPolicySpec {
        pod_selector: Some(ours),
        policy_types: both(),
        ..NetworkPolicySpec::default()
    };
    vec![
        policy(options, "default-deny", nothing),
        policy(options, CONTROLLER, controller),
    ]
}

fn policy(options: &Options, name: &str, spec: NetworkPolicySpec) -> Object {
    Object::of(&NetworkPolicy {
        metadata: own(options, name),
        spec: Some(spec),
    })
}

fn both() -> Option<Vec<String>> {
    Some(["Ingress", "Egress"].map(str::to_owned).to_vec())
}

fn ports(numbers: &[u16]) -> Option<Vec<NetworkPolicyPort>> {
    let port = |number: &u16| NetworkPolicyPort {
        port: Some(IntOrString::Int((*number).into())),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    };
    Some(numbers.iter().map(port).collect())
}

/// Of the Service, and where it usually leads: networks judge before or after that.
const API_SERVER: [u16; 2] = [443, 6443];
