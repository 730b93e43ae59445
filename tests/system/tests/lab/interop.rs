//! Speakers and routers of other makes: sessions, routes, and packets that take them.
//!
//! The service `default/web` has addresses of a pool that no link has, so that nobody finds it but by its routes.

#[path = "interop/apart.rs"]
mod apart;
#[path = "interop/dead_router.rs"]
mod dead_router;
#[path = "interop/fields.rs"]
mod fields;
#[path = "interop/flaps.rs"]
mod flaps;
#[path = "interop/frr.rs"]
mod frr;
#[path = "interop/kubernetes.rs"]
mod kubernetes;
#[path = "interop/listening.rs"]
mod listening;
#[path = "interop/metallb.rs"]
mod metallb;
#[path = "interop/others.rs"]
mod others;
#[path = "interop/pause.rs"]
mod pause;
#[path = "interop/rack.rs"]
mod rack;
#[path = "interop/restarts.rs"]
mod restarts;
#[path = "interop/secrets.rs"]
mod secrets;
#[path = "interop/sight.rs"]
mod sight;
#[path = "interop/signed.rs"]
mod signed;
#[path = "interop/steered.rs"]
mod steered;
#[path = "interop/stops.rs"]
mod stops;
#[path = "interop/traffic.rs"]
pub(super) mod traffic;
#[path = "interop/unnumbered.rs"]
mod unnumbered;
#[path = "interop/wire.rs"]
mod wire;

use serde_json::Value;
use system_tests::lab::TestLab;

/// The lab with a router's namespace, and these lines more in the manifest of BGP.
#[track_caller]
fn routed(more: &str) -> TestLab {
    routed_with(&[], more)
}

/// The same with further flags of every speaker.
#[track_caller]
fn routed_with(flags: &'static [&'static str], more: &str) -> TestLab {
    let manifest = format!("{POOL}{more}");
    TestLab::routed_with(
        flags,
        &[
            ("bgp.yaml", "", &manifest),
            (
                "web.yaml",
                "  namespace: default\nspec:\n  type: LoadBalancer",
                "  namespace: default\n  annotations:\n    metallb.io/address-pool: routed\nspec:\n  type: LoadBalancer",
            ),
        ],
    )
}

/// Waits until `n1` has BFD up with a peer, at the ordinary intervals; that session. `look` asserts what must hold all the time.
#[track_caller]
fn bfd_settled(lab: &TestLab, peer: &str, look: impl Fn()) -> Value {
    lab.eventually("BFD is up, at the ordinary intervals", || {
        look();
        let mut seen = lab.seen("n1", &["bfd", peer])?;
        let session = seen["sessions"][0].take();
        let is_up = session["state"] == "up" && session["theirs"]["state"] == "up";
        match is_up && session["interval_ms"] == 100 {
            true => Ok(session),
            false => Err(session.to_string()),
        }
    })
}

/// A peer by name, address and further lines of its spec.
fn peer(name: &str, address: &str, more: &str) -> String {
    format!(
        "\
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata:
  name: {name}
  namespace: metallb-system
spec:
  myASN: 64512
  peerASN: 64513
  peerAddress: \"{address}\"
{more}"
    )
}

/// A service of the routed pool, on the pods of `default/web`'s IPv4 side.
fn service(name: &str) -> String {
    format!(
        "\
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: default
  annotations:
    metallb.io/address-pool: routed
spec:
  type: LoadBalancer
  clusterIPs: [10.96.0.99]
  selector:
    app: web
  ports:
    - name: http
      protocol: TCP
      port: 80
      appProtocol: http
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-v4
  namespace: default
  labels:
    kubernetes.io/service-name: {name}
addressType: IPv4
ports:
  - name: http
    protocol: TCP
    port: 8080
endpoints:
  - addresses: [10.244.1.11]
    nodeName: n1
    conditions: {{ready: true}}
"
    )
}

const POOL: &str = "\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata:
  name: routed
  namespace: metallb-system
spec:
  autoAssign: false
  addresses:
    - 198.51.100.0/28
    - 2001:db8:100::/124
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata:
  name: routed
  namespace: metallb-system
spec:
  ipAddressPools: [routed]
  communities: [\"64512:7\", \"large:64512:1:2\"]
---
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata:
  name: fast
  namespace: metallb-system
spec:
  receiveInterval: 100
  transmitInterval: 100
";
