//! The stanza of the definition of BGPPeer by which its versions are converted: kept while there is a resource, looked at by the clock.
//!
//! The definition is not the operator's, so that it has no label to be followed by; one look is one small question. Knows no connection.

use super::{Desk, Request};
use serde_json::{Value, json};
use speaker_proto::{Span, Time};

impl Desk {
    /// Another look at the conversion, if it is time; for the first [`Desk::work`] sees.
    pub(super) fn conversion_again(&self, now: Time) -> Option<Request> {
        let is_ours = !self.wanted.is_empty() && self.done.contains(&conversion_path());
        (is_ours && self.conversion_due <= now).then_some(Request::Convert { by_webhook: true })
    }
}

/// As what the conversion goes.
pub(super) fn conversion_path() -> String {
    CRD.to_owned()
}

/// As what the end of conversion goes.
pub(super) fn unconversion() -> String {
    format!("{CRD}#None")
}

/// What the stanza is to say.
pub(in crate::operator) fn conversion(namespace: &str, by_webhook: bool) -> Value {
    if !by_webhook {
        return json!({"strategy": "None", "webhook": null});
    }
    let service =
        json!({"name": "metallb-webhook-service", "namespace": namespace, "path": "/convert"});
    json!({
        "strategy": "Webhook",
        "webhook": {"clientConfig": {"service": service}, "conversionReviewVersions": ["v1beta1", "v1beta2"]},
    })
}

/// The definition whose versions are converted.
pub(in crate::operator) const CRD: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/bgppeers.metallb.io";
/// Who applies MetalLB's definitions is answered within this; MetalLB's operator looks at everything twice as often.
pub(super) const CONVERSION_AGAIN: Span = Span::s(10);
