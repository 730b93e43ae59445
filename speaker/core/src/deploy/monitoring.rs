//! Where Prometheus finds the metrics. They come by HTTPS, and whoever reads them needs the right to get /metrics.
//!
//! The kinds of the Prometheus operator (`monitoring.coreos.com/v1`) are no types here: they are two, and small.

use super::controller::CONTROLLER;
use super::speaker::SPEAKER;
use super::{Monitors, Object, Options, texts};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

pub(super) fn objects(options: &Options) -> Vec<Object> {
    let services = [CONTROLLER, SPEAKER].map(|component| service(options, component));
    let mut objects = services.to_vec();
    for component in [CONTROLLER, SPEAKER] {
        objects.extend(monitor(options, component));
    }
    objects
}

fn service(options: &Options, component: &str) -> Object {
    let name = service_name(component);
    let mut labels = texts([("name", name.as_str())]);
    labels.extend(options.labels.clone());
    let is_annotated = options.monitors == Monitors::Annotations;
    Object::of(&Service {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(options.namespace.clone()),
            labels: Some(labels),
            annotations: is_annotated.then(|| texts([("prometheus.io/scrape", "true")])),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            selector: Some(texts([("component", component)])),
            ports: Some(vec![ServicePort {
                name: Some(PORT.to_owned()),
                port: options.ports.metrics.into(),
                target_port: Some(IntOrString::Int(options.ports.metrics.into())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    })
}

fn monitor(options: &Options, component: &str) -> Option<Object> {
    let tls = json!({"insecureSkipVerify": true});
    let (kind, plural, spec) = match options.monitors {
        Monitors::Annotations => return None,
        Monitors::Services => {
            let endpoint = json!({
                "port": PORT, "scheme": "https", "honorLabels": true, "tlsConfig": tls,
                "bearerTokenFile": "/var/run/secrets/kubernetes.io/serviceaccount/token",
            });
            let selected = json!({"matchLabels": {"name": service_name(component)}});
            let spec = json!({"endpoints": [endpoint], "selector": selected});
            ("ServiceMonitor", "servicemonitors", spec)
        }
        Monitors::Pods => {
            let endpoint = json!({"port": PORT, "scheme": "https", "tlsConfig": tls});
            let selected = json!({"matchLabels": {"app": "metallb", "component": component}});
            let spec = json!({"podMetricsEndpoints": [endpoint], "selector": selected});
            ("PodMonitor", "podmonitors", spec)
        }
    };
    Some(by_hand(options, kind, plural, component, spec))
}

fn by_hand(
    options: &Options,
    kind: &str,
    plural: &str,
    component: &str,
    mut spec: Value,
) -> Object {
    let name = format!("{component}-monitor");
    spec["namespaceSelector"] = json!({"matchNames": [options.namespace]});
    let mut labels = texts([("app", "metallb"), ("component", component)]);
    labels.extend(options.labels.clone());
    let metadata = json!({"name": name, "namespace": options.namespace, "labels": labels});
    Object {
        api_version: API_VERSION.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        namespace: Some(options.namespace.clone()),
        name,
        body: json!({"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}),
    }
}

fn service_name(component: &str) -> String {
    format!("{component}-monitor-service")
}

const API_VERSION: &str = "monitoring.coreos.com/v1";
const PORT: &str = "metricshttps";
