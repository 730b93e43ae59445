//! The ValidatingWebhookConfiguration: which kinds are judged before they are stored.
//!
//! The controller adds the `caBundle` of its own certificate; until it has, and while no controller runs, these kinds cannot be
//! written. There is no webhook on Services.

use super::controller::WEBHOOK_SERVICE;
use super::{Object, Options, global};
use crate::admission::PATHS;
use crate::key::Kind;
use k8s_openapi::api::admissionregistration::v1::{
    RuleWithOperations, ServiceReference, ValidatingWebhook, ValidatingWebhookConfiguration,
    WebhookClientConfig,
};

pub(super) fn configuration(options: &Options) -> Object {
    let webhooks = PATHS
        .iter()
        .filter_map(|(path, kind)| webhook(options, path, *kind));
    Object::of(&ValidatingWebhookConfiguration {
        metadata: global(options, "metallb-webhook-configuration"),
        webhooks: Some(webhooks.collect()),
    })
}

fn webhook(options: &Options, path: &str, kind: Kind) -> Option<ValidatingWebhook> {
    let (name, version, plural, operations) = registered(kind)?;
    let texts = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
    Some(ValidatingWebhook {
        name: format!("{name}validationwebhook.metallb.io"),
        admission_review_versions: vec!["v1".to_owned()],
        side_effects: "None".to_owned(),
        failure_policy: Some("Fail".to_owned()),
        timeout_seconds: Some(10),
        client_config: WebhookClientConfig {
            service: Some(ServiceReference {
                name: WEBHOOK_SERVICE.to_owned(),
                namespace: options.namespace.clone(),
                path: Some(path.to_owned()),
                ..ServiceReference::default()
            }),
            ..WebhookClientConfig::default()
        },
        rules: Some(vec![RuleWithOperations {
            api_groups: texts(&["metallb.io"]),
            api_versions: texts(&[version]),
            operations: texts(operations),
            resources: texts(&[plural]),
            ..RuleWithOperations::default()
        }]),
        ..ValidatingWebhook::default()
    })
}

type Registered = (
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
);

/// MetalLB's name for the webhook of a kind, the version and plural, and what is judged. A write in an older version is judged in this
/// one.
const fn registered(kind: Kind) -> Option<Registered> {
    match kind {
        // Formats; overlap with any other pool.
        Kind::Pool => Some(("ipaddresspool", "v1beta1", "ipaddresspools", WRITTEN)),
        // Peers that can meet on a node.
        Kind::BgpPeer => Some(("bgppeers", "v1beta2", "bgppeers", WRITTEN)),
        // Aggregation against pools, local preference against other advertisements.
        Kind::BgpAdvertisement => {
            Some(("bgpadvertisement", "v1beta1", "bgpadvertisements", WRITTEN))
        }
        // Selectors and names.
        Kind::L2Advertisement => Some(("l2advertisement", "v1beta1", "l2advertisements", WRITTEN)),
        // Values; names, unique over all objects.
        Kind::Community => Some(("community", "v1beta1", "communities", WRITTEN)),
        // A profile that a peer uses stays.
        Kind::BfdProfile => Some((
            "bfdprofile",
            "v1beta1",
            "bfdprofiles",
            &["CREATE", "DELETE"],
        )),
        Kind::Namespace | Kind::Node | Kind::Service | Kind::EndpointSlice | Kind::Document => None,
    }
}

const WRITTEN: &[&str] = &["CREATE", "UPDATE"];
