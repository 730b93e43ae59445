//! What the pods of controller and speaker have in common.

use super::{Component, Options, listed, texts};
use k8s_openapi::api::core::v1::{
    ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, ObjectFieldSelector, PodSpec,
    PodTemplateSpec, Probe, SeccompProfile, Toleration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// What selects the pods of a component; MetalLB's, and never changed: selectors cannot be.
pub(super) fn selector(component: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(texts([("app", "metallb"), ("component", component)])),
        ..LabelSelector::default()
    }
}

/// The metadata of an object that makes pods.
pub(super) fn workload(options: &Options, name: &str) -> ObjectMeta {
    let mut metadata = super::own(options, name);
    metadata
        .labels
        .get_or_insert_default()
        .insert("component".to_owned(), name.to_owned());
    metadata
}

/// The pods of a component, whose parts that an operator may ask for are put into `spec`.
pub(super) fn template(name: &str, component: &Component, mut spec: PodSpec) -> PodTemplateSpec {
    let mut labels = selector(name).match_labels.unwrap_or_default();
    // Tells our pods from MetalLB's.
    labels.insert("heliograph.io/part".to_owned(), name.to_owned());
    let mut nodes = texts([("kubernetes.io/os", "linux")]);
    nodes.extend(component.node_selector.clone());
    spec.node_selector = Some(nodes);
    spec.service_account_name = Some(name.to_owned());
    spec.priority_class_name = Some(component.priority_class.clone());
    spec.runtime_class_name = component.runtime_class.clone();
    spec.affinity = component.affinity.clone();
    let mut tolerations: Vec<Toleration> = spec.tolerations.unwrap_or_default();
    tolerations.extend(component.tolerations.iter().cloned());
    spec.tolerations = listed(tolerations);
    for container in &mut spec.containers {
        container.image = Some(component.image.clone());
        container.command = Some(vec!["/speaker".to_owned()]);
        container.resources = component.resources.clone();
    }
    let annotations = Some(component.annotations.clone());
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: annotations.filter(|annotations| !annotations.is_empty()),
            ..ObjectMeta::default()
        }),
        spec: Some(spec),
    }
}

/// The flags that both understand.
pub(super) fn flags(options: &Options) -> Vec<String> {
    let mut flags = vec![
        format!("--log-level={}", options.log_level.as_str()),
        format!("--port={}", options.ports.metrics),
        format!("--health-probe-port={}", options.ports.health),
    ];
    flags.extend(
        options
            .class
            .iter()
            .map(|class| format!("--lb-class={class}")),
    );
    flags.extend(options.tls.iter().cloned());
    flags
}

/// Which BGP is asked for, as MetalLB's components are told.
pub(super) fn bgp_type(options: &Options) -> Option<EnvVar> {
    let asked = options.bgp_type?;
    Some(value("METALLB_BGP_TYPE", asked.as_str()))
}

/// A variable with that value.
pub(super) fn value(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        ..EnvVar::default()
    }
}

/// A variable with a field of the pod.
pub(super) fn field(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: path.to_owned(),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

/// A port of a container.
pub(super) fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number.into(),
        ..ContainerPort::default()
    }
}

/// How often a kubelet asks, and how many refusals count.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) path: &'static str,
    /// Where it asks; `None`: at the pod's address.
    pub(super) host: Option<&'static str>,
    /// Seconds before the first time, if any.
    pub(super) delay_s: Option<i32>,
    pub(super) period_s: i32,
    pub(super) failures: i32,
}

/// A probe of the health port.
pub(super) fn probe(asked: Asked) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            host: asked.host.map(str::to_owned),
            path: Some(asked.path.to_owned()),
            port: IntOrString::String("health".to_owned()),
            ..HTTPGetAction::default()
        }),
        initial_delay_seconds: asked.delay_s,
        period_seconds: Some(asked.period_s),
        timeout_seconds: Some(1),
        failure_threshold: Some(asked.failures),
        ..Probe::default()
    }
}

/// The calls that a container needs and no more.
pub(super) fn seccomp() -> SeccompProfile {
    SeccompProfile {
        type_: "RuntimeDefault".to_owned(),
        ..SeccompProfile::default()
    }
}
