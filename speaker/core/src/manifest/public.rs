//! Objects as they may be shown to others: without what is secret, and without what was not understood of them.

use serde_json::Value;

/// Takes out of a manifest that [`super::write`] made what may not leave the cluster: passwords, and annotations that are not
/// MetalLB's or ours, since anything can stand in those (kubectl keeps whole objects there, passwords included).
pub fn without_secrets(mut manifest: Value) -> Value {
    if let Some(password) = manifest.pointer_mut("/spec/password") {
        *password = Value::from(LEFT_OUT);
    }
    let annotations = manifest.pointer_mut("/metadata/annotations");
    if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
        for (key, value) in annotations {
            if !OPEN.iter().any(|prefix| key.starts_with(prefix)) {
                *value = Value::from(LEFT_OUT);
            }
        }
    }
    manifest
}

/// Prefixes of annotations whose values are settings.
const OPEN: [&str; 3] = [
    "metallb.io/",
    "metallb.universe.tf/",
    crate::annotations::PREFIX,
];
/// What stands in the place of what was taken out.
pub const LEFT_OUT: &str = "(left out)";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::World;
    use crate::manifest::{read, write};

    #[test]
    fn passwords_and_what_kubectl_keeps_are_left_out_and_the_rest_stays() {
        let mut world = World::default();
        for object in read("test.yaml", OBJECTS, "metallb-system").objects {
            assert!(world.put(object));
        }
        assert!(world.problems.is_empty(), "{:?}", world.problems);
        let shown: Vec<Value> = write(&world).map(without_secrets).collect();
        let text = serde_json::to_string(&shown).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(shown.len(), 2);
        let peer = shown.iter().find(|o| o["kind"] == "BGPPeer").unwrap();
        assert_eq!(peer["spec"]["password"], LEFT_OUT);
        assert_eq!(peer["spec"]["peerAddress"], "192.0.2.1");
        let service = shown.iter().find(|o| o["kind"] == "Service").unwrap();
        let annotations = &service["metadata"]["annotations"];
        assert_eq!(annotations["metallb.io/allow-shared-ip"], "key");
        assert_eq!(annotations["example.com/token"], LEFT_OUT);
    }

    const OBJECTS: &str = r#"
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata:
  name: tor
  namespace: metallb-system
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: '{"spec":{"password":"hunter2"}}'
spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.1, password: hunter2}
---
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: default
  annotations: {metallb.io/allow-shared-ip: key, example.com/token: hunter2}
spec: {type: LoadBalancer, ports: [{port: 80}]}
"#;
}
