//! BGP's objects back into manifests. A password that stands in a BGPPeer is written as it stands there; nothing is known of one in a Secret.

use super::selectors;
use crate::crd::bgp_advertisement::CommunityRef;
use crate::crd::community::CommunityValue;
use crate::crd::{BfdProfile, BgpAdvertisement, BgpPeer, PeerAsn, Remote};
use serde_json::{Map, Value, json};
use std::time::Duration;

pub(super) fn advertisement(o: &BgpAdvertisement) -> Value {
    let communities: Vec<String> = o.communities.iter().map(community).collect();
    json!({
        "apiVersion": "metallb.io/v1beta1",
        "kind": "BGPAdvertisement",
        "metadata": {
            "name": o.name,
            "namespace": o.namespace,
            "annotations": o.annotations,
        },
        "spec": {
            "aggregationLength": o.aggregation_length,
            "aggregationLengthV6": o.aggregation_length_v6,
            "localPref": o.local_pref,
            "communities": communities,
            "ipAddressPools": o.pools,
            "ipAddressPoolSelectors": selectors(&o.pool_selectors),
            "nodeSelectors": selectors(&o.node_selectors),
            "peers": o.peers,
            "serviceSelectors": selectors(&o.service_selectors),
        },
    })
}

fn community(community: &CommunityRef) -> String {
    match community {
        CommunityRef::Named(name) => name.clone(),
        CommunityRef::Value(CommunityValue::Standard(a, b)) => format!("{a}:{b}"),
        CommunityRef::Value(CommunityValue::Large(a, b, c)) => format!("large:{a}:{b}:{c}"),
    }
}

pub(super) fn peer(o: &BgpPeer) -> Value {
    json!({
        "apiVersion": "metallb.io/v1beta2",
        "kind": "BGPPeer",
        "metadata": {
            "name": o.name,
            "namespace": o.namespace,
            "annotations": o.annotations,
        },
        "spec": peer_spec(o),
    })
}

/// What is absent stays so: its absence may mean something.
fn peer_spec(o: &BgpPeer) -> Value {
    let nanos = |time: Duration| json!(format!("{}ns", time.as_nanos()));
    let (peer_asn, dynamic_asn) = match o.peer_asn {
        PeerAsn::Number(number) => (Some(json!(number)), None),
        PeerAsn::Internal => (None, Some(json!("internal"))),
        PeerAsn::External => (None, Some(json!("external"))),
    };
    let (address, interface) = match &o.remote {
        Remote::Address { written, ip: _ } => (Some(json!(written)), None),
        Remote::Interface(name) => (None, Some(json!(name))),
    };
    let secret = o.password_secret.as_ref();
    let fields = [
        ("myASN", Some(json!(o.my_asn))),
        ("peerASN", peer_asn),
        ("dynamicASN", dynamic_asn),
        ("localASN", o.local_asn.map(|asn| json!(asn))),
        ("peerAddress", address),
        ("interface", interface),
        ("sourceAddress", o.source.map(|ip| json!(ip))),
        ("peerPort", Some(json!(o.port))),
        ("holdTime", o.timers.map(|timers| nanos(timers.hold))),
        (
            "keepaliveTime",
            o.timers.map(|timers| nanos(timers.keepalive)),
        ),
        (
            "connectTime",
            o.connect_seconds
                .map(|seconds| json!(format!("{seconds}s"))),
        ),
        ("routerID", o.router_id.map(|ip| json!(ip))),
        ("nodeSelectors", Some(json!(selectors(&o.node_selectors)))),
        (
            "password",
            o.password.as_ref().map(|password| json!(password.0)),
        ),
        (
            "passwordSecret",
            secret.map(|secret| json!({"name": secret.name, "namespace": secret.namespace})),
        ),
        ("bfdProfile", o.bfd_profile.as_ref().map(|name| json!(name))),
        ("enableGracefulRestart", Some(json!(o.graceful_restart))),
        ("ebgpMultiHop", Some(json!(o.multi_hop))),
        ("vrf", Some(json!(o.vrf))),
        ("dualStackAddressFamily", Some(json!(o.dual_stack))),
    ];
    let present = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(present.collect::<Map<_, _>>())
}

pub(super) fn bfd_profile(o: &BfdProfile) -> Value {
    json!({
        "apiVersion": "metallb.io/v1beta1",
        "kind": "BFDProfile",
        "metadata": {"name": o.name, "namespace": o.namespace},
        "spec": {
            "receiveInterval": o.receive_interval,
            "transmitInterval": o.transmit_interval,
            "detectMultiplier": o.detect_multiplier,
            "echoInterval": o.echo_interval,
            "echoMode": o.echo_mode,
            "passiveMode": o.passive_mode,
            "minimumTtl": o.minimum_ttl,
        },
    })
}
