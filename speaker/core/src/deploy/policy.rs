//! The ValidatingAdmissionPolicy by which a speaker writes the ConfigMap of its own node and no other object of that kind.
//!
//! A role grants kinds and names, and cannot tell one node's speaker from another's: all have one account. Their tokens can: an API server
//! from 1.30 on writes the node of the pod into them. Whoever steals a speaker's token can so publish hardware of the node that it had already.
//! Governed by "Validating Admission Policy" in the Kubernetes documentation.

use super::speaker::SPEAKER;
use super::{Object, Options, global, texts};
use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicyBindingSpec,
    ValidatingAdmissionPolicySpec, Validation,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

pub(super) fn objects(options: &Options) -> [Object; 2] {
    let list = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
    let account = format!("system:serviceaccount:{}:{SPEAKER}", options.namespace);
    let rule = NamedRuleWithOperations {
        api_groups: list(&[""]),
        api_versions: list(&["v1"]),
        operations: list(&["CREATE", "UPDATE"]),
        resources: list(&["configmaps"]),
        ..NamedRuleWithOperations::default()
    };
    let policy = ValidatingAdmissionPolicySpec {
        failure_policy: Some("Fail".to_owned()),
        match_constraints: Some(MatchResources {
            namespace_selector: Some(at_home(options)),
            resource_rules: Some(vec![rule]),
            ..MatchResources::default()
        }),
        match_conditions: Some(vec![MatchCondition {
            name: "by-a-speaker".to_owned(),
            expression: format!("request.userInfo.username == '{account}'"),
        }]),
        validations: Some(vec![Validation {
            expression: OF_ITS_NODE.to_owned(),
            message: Some("a speaker writes the ConfigMap of its own node only".to_owned()),
            reason: Some("Forbidden".to_owned()),
            ..Validation::default()
        }]),
        ..ValidatingAdmissionPolicySpec::default()
    };
    let binding = ValidatingAdmissionPolicyBindingSpec {
        policy_name: POLICY.to_owned(),
        validation_actions: vec!["Deny".to_owned()],
        match_resources: Some(MatchResources {
            namespace_selector: Some(at_home(options)),
            ..MatchResources::default()
        }),
        ..ValidatingAdmissionPolicyBindingSpec::default()
    };
    [
        Object::of(&ValidatingAdmissionPolicy {
            metadata: global(options, POLICY),
            spec: Some(policy),
            ..ValidatingAdmissionPolicy::default()
        }),
        Object::of(&ValidatingAdmissionPolicyBinding {
            metadata: global(options, POLICY),
            spec: binding,
        }),
    ]
}

/// The namespace of the installation, by the label that every namespace has.
fn at_home(options: &Options) -> LabelSelector {
    LabelSelector {
        match_labels: Some(texts([(
            "kubernetes.io/metadata.name",
            options.namespace.as_str(),
        )])),
        ..LabelSelector::default()
    }
}

/// Name of the policy and of its binding.
const POLICY: &str = "heliograph-speaker-configmaps";
/// A token without a node, as an older server's or one that somebody asked for by hand, writes nothing.
const OF_ITS_NODE: &str = "has(request.userInfo.extra) && \
    'authentication.kubernetes.io/node-name' in request.userInfo.extra && \
    object.metadata.name == 'speaker-' + request.userInfo.extra['authentication.kubernetes.io/node-name'][0]";
