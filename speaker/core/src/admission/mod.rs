//! What the webhooks answer: whether an object may be written, and BGPPeers of one version as the other.
//!
//! A pure function from a request's body to an answer's. It knows no TLS, no HTTP but status codes, no client and no cache:
//! the other objects are given. Rules: MetalLB's webhooks (`docs/metallb.md` says where we differ); the forms of
//! AdmissionReview and ConversionReview in Kubernetes' "Dynamic Admission Control" and "Versions in
//! CustomResourceDefinitions".

mod between;
mod convert;
mod review;
mod verdict;

#[cfg(test)]
mod tests;

use crate::key::Kind;
use crate::world::World;
use std::sync::Arc;

/// What to send back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body; JSON if the status is 200, else text or nothing.
    pub body: Vec<u8>,
}

/// The other objects.
#[derive(Clone, PartialEq, Debug)]
pub enum Given {
    /// Not seen whole yet.
    Unknown,
    /// Configuration and nodes, each kind seen whole.
    Known(Arc<World>),
}

/// The path at which BGPPeers are converted.
pub const CONVERT: &str = "/convert";

/// The path at which a MetalLB is judged: the operator's, since it alone acts on one.
pub const METALLB: &str = "/validate-metallb-io-v1beta1-metallb";

/// The paths at which objects are judged, with their kind.
pub const PATHS: [(&str, Kind); 6] = [
    ("/validate-metallb-io-v1beta1-ipaddresspool", Kind::Pool),
    ("/validate-metallb-io-v1beta2-bgppeer", Kind::BgpPeer),
    (
        "/validate-metallb-io-v1beta1-bgpadvertisement",
        Kind::BgpAdvertisement,
    ),
    (
        "/validate-metallb-io-v1beta1-l2advertisement",
        Kind::L2Advertisement,
    ),
    ("/validate-metallb-io-v1beta1-community", Kind::Community),
    ("/validate-metallb-io-v1beta1-bfdprofile", Kind::BfdProfile),
];

/// Answers a request for `path`. `namespace` is where configuration counts. Never fails: what is malformed is answered so.
pub fn answer(path: &str, body: &[u8], given: &Given, namespace: &str) -> Answer {
    if path == CONVERT {
        return convert::answer(body);
    }
    if path == METALLB {
        return review::answer_metallb(body);
    }
    match kind_at(path) {
        Some(kind) => review::answer(kind, body, given, namespace),
        None => Answer {
            status: 404,
            body: b"404 page not found\n".to_vec(),
        },
    }
}

/// The answer to a request for an object's path that is not even JSON by its content type, and the like.
pub fn malformed(why: &str) -> Answer {
    review::malformed(why)
}

/// Whether what is answered at `path` may depend on other objects.
pub fn needs_given(path: &str) -> bool {
    kind_at(path).is_some_and(|kind| kind != Kind::L2Advertisement)
}

fn kind_at(path: &str) -> Option<Kind> {
    PATHS
        .iter()
        .find(|(known, _)| *known == path)
        .map(|(_, kind)| *kind)
}
