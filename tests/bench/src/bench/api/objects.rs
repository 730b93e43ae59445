//! A cluster as an API server has it: the bench's usual one with the fields beside those that decide anything.

use super::super::cluster::{self, Size};
use crate::http::Call;
use serde_json::{Value, json};

/// What is measured.
pub(super) const SIZE: Size = Size {
    services: 10_000,
    nodes: 1_000,
};

/// Where services are, all in one namespace.
pub(super) const SERVICES: &str = "/api/v1/namespaces/bench/services";
pub(super) const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/bench/endpointslices";
pub(super) const NODES: &str = "/api/v1/nodes";
pub(super) const NAMESPACES: &str = "/api/v1/namespaces";
pub(super) const POOLS: &str = "/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools";
pub(super) const PEERS: &str = "/apis/metallb.io/v1beta2/namespaces/metallb-system/bgppeers";
pub(super) const ADVERTISEMENTS: &str =
    "/apis/metallb.io/v1beta1/namespaces/metallb-system/l2advertisements";
pub(super) const EVENTS: &str = "/api/v1/namespaces/bench/events";

/// A service as an operator applies it.
pub(super) fn service(number: usize) -> Value {
    let mut service = cluster::service(number);
    let name = service["metadata"]["name"].clone();
    service
        .as_object_mut()
        .map(|fields| fields.remove("status"));
    service["metadata"]["labels"] = json!({
        "app.kubernetes.io/name": name, "app.kubernetes.io/instance": name, "app.kubernetes.io/managed-by": "Helm",
    });
    service["metadata"]["annotations"] =
        json!({"meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": "bench"});
    service["spec"]["selector"] =
        json!({"app.kubernetes.io/name": name, "app.kubernetes.io/instance": name});
    service["spec"]["ports"] =
        json!([{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]);
    service
}

/// Its slice, with a target for each endpoint as the endpoint slice controller writes it.
pub(super) fn slice(number: usize, is_ready: bool) -> Value {
    let mut slice = cluster::slice_value(SIZE, number, is_ready);
    let name = cluster::service_name(number);
    for (at, endpoint) in slice["endpoints"]
        .as_array_mut()
        .into_iter()
        .flatten()
        .enumerate()
    {
        endpoint["conditions"]["terminating"] = json!(false);
        endpoint["zone"] = json!("zone-a");
        endpoint["targetRef"] = json!({
            "kind": "Pod", "namespace": "bench", "name": format!("{name}-7d4b9c6f5-{at:05}"),
            "uid": format!("00000000-0000-4000-8000-{number:012}"),
        });
    }
    slice
}

/// A change of one endpoint's readiness: of a service with policy Local of the one on this node, else of the first.
pub(super) fn slice_change(number: usize, is_ready: bool) -> Call {
    let mut endpoints = slice(number, true)["endpoints"].take();
    endpoints[0]["conditions"]["ready"] = json!(is_ready);
    endpoints[0]["conditions"]["serving"] = json!(is_ready);
    let path = format!("{SLICES}/{}-1", cluster::service_name(number));
    Call::send("PATCH", path, &json!({"endpoints": endpoints}))
}

/// A write of a service's status, as the controller does it: `item` is the service as it was read.
pub(super) fn status_write(mut item: Value, address: Option<String>) -> Call {
    let path = format!("{SERVICES}/{}/status", name(&item));
    item["apiVersion"] = json!("v1");
    item["kind"] = json!("Service");
    if let Some(metadata) = item["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    let annotations = &mut item["metadata"]["annotations"];
    match address {
        Some(address) => {
            annotations["metallb.io/ip-allocated-from-pool"] = json!("pool");
            item["status"]["loadBalancer"] = json!({"ingress": [{"ip": address}]});
        }
        None => {
            annotations
                .as_object_mut()
                .map(|all| all.remove("metallb.io/ip-allocated-from-pool"));
            item["status"]["loadBalancer"] = json!({});
        }
    }
    Call::send("PUT", format!("{path}?fieldManager=bench"), &item)
}

/// An event about a service, of the size that the controller's have.
pub(super) fn event(item: &Value, number: usize) -> Call {
    let name = name(item);
    let event = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": format!("{name}.plain.{number:x}"), "namespace": "bench"},
        "involvedObject": {
            "kind": "Service", "apiVersion": "v1", "name": name, "namespace": "bench", "uid": item["metadata"]["uid"],
        },
        "type": "Normal", "reason": "IPAllocated", "message": "Assigned IP [\"10.64.1.1\"]", "count": 1,
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z",
        "source": {"component": "bench"}, "reportingComponent": "bench", "reportingInstance": "bench",
    });
    Call::send("POST", EVENTS, &event)
}

pub(super) fn name(item: &Value) -> &str {
    item["metadata"]["name"].as_str().unwrap_or_default()
}

/// A node with what a kubelet says of itself.
pub(super) fn node(number: usize) -> Value {
    let mut node = cluster::node(number);
    let labels = &mut node["metadata"]["labels"];
    labels["kubernetes.io/os"] = json!("linux");
    labels["kubernetes.io/arch"] = json!("amd64");
    labels["topology.kubernetes.io/zone"] = json!("zone-a");
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "Kubelet", "message": "as it should be"});
    node["status"]["conditions"] = json!([
        condition("MemoryPressure", "False"),
        condition("DiskPressure", "False"),
        condition("PIDPressure", "False"),
        condition("Ready", "True"),
    ]);
    node
}
