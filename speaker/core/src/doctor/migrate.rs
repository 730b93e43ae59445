//! `--migrate`: what stands in the way of taking MetalLB's place on a cluster, by `docs/kubernetes.md`, "In MetalLB's place".

use super::{Check, Findings, Severity};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What was seen of a cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ClusterFacts {
    /// Where MetalLB is.
    pub namespace: String,
    /// Kubernetes' version, major and minor.
    pub kubernetes: Option<(u32, u32)>,
    /// What pods the namespace admits; `None`: as the cluster does.
    pub pod_security: Option<String>,
    /// Deployments and DaemonSets there.
    pub workloads: Vec<Workload>,
    /// ConfigMaps there.
    pub config_maps: BTreeSet<String>,
    /// FRRConfigurations that MetalLB has not made.
    pub frr_configurations: BTreeSet<String>,
    /// Load balancers without an address.
    pub pending: BTreeSet<String>,
}

/// A Deployment or a DaemonSet.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Workload {
    /// `DaemonSet/speaker`.
    pub name: String,
    /// Images by container.
    pub images: BTreeMap<String, String>,
    /// Helm made it.
    pub is_of_helm: bool,
    /// A MetalLB resource owns it.
    pub is_of_operator: bool,
    /// It is Heliograph's.
    pub is_ours: bool,
}

pub(super) fn examine(cluster: &ClusterFacts, found: &mut Findings) {
    if let Some((major, minor)) = cluster.kubernetes
        && (major, minor) < KUBERNETES_MIN
    {
        found.add(
            Severity::Error,
            Check::MigrateKubernetes,
            "",
            format!("it is {major}.{minor}"),
            "upgrade Kubernetes to 1.29 at least",
        );
    }
    if let Some(level) = cluster
        .pod_security
        .as_ref()
        .filter(|level| *level != "privileged")
    {
        let namespace = &cluster.namespace;
        found.add(
            Severity::Error,
            Check::MigrateSecurity,
            namespace,
            format!("the namespace enforces the pod security level {level}"),
            format!(
                "kubectl label namespace {namespace} pod-security.kubernetes.io/enforce=privileged --overwrite"
            ),
        );
    }
    way(cluster, found);
    frr(cluster, found);
    if !cluster.pending.is_empty() {
        let some: Vec<&str> = cluster.pending.iter().take(3).map(String::as_str).collect();
        found.add(
            Severity::Note,
            Check::MigratePending,
            "",
            format!(
                "{} load balancers have no address, such as {}",
                cluster.pending.len(),
                some.join(", ")
            ),
            "see why before, so that it is not taken for a fault of the migration: kubectl get services -A",
        );
    }
}

/// What is installed, and which way leads from there.
fn way(cluster: &ClusterFacts, found: &mut Findings) {
    let foreign = || {
        cluster
            .workloads
            .iter()
            .filter(|workload| !workload.is_ours)
    };
    if foreign().next().is_none() {
        found.add(
            Severity::Note,
            Check::MigrateWay,
            &cluster.namespace,
            "nothing of MetalLB's runs there",
            "install: docs/kubernetes.md; or say where it is: --namespace",
        );
        return;
    }
    let (how, remedy) = if foreign().any(|workload| workload.is_of_operator) {
        ("its operator", "docs/operator.md, \"Taking over\"")
    } else if foreign().any(|workload| workload.is_of_helm) {
        ("Helm", "docs/kubernetes.md, \"With Helm\"")
    } else {
        ("manifests", "docs/kubernetes.md, \"In MetalLB's place\"")
    };
    found.add(
        Severity::Note,
        Check::MigrateWay,
        &cluster.namespace,
        format!("MetalLB was installed by {how}"),
        remedy,
    );
    for workload in foreign() {
        let images = workload.images.values();
        let old = images
            .filter(|image| image.contains("metallb"))
            .find(|image| version_of(image).is_some_and(|version| version < METALLB_MIN));
        if let Some(image) = old {
            found.add(
                Severity::Warning,
                Check::MigrateVersion,
                &workload.name,
                format!("it runs {image}"),
                "upgrade MetalLB to 0.15 or 0.16 first",
            );
        }
    }
}

fn frr(cluster: &ClusterFacts, found: &mut Findings) {
    if cluster.config_maps.contains(EXTRAS) {
        found.add(
            Severity::Warning,
            Check::MigrateFrr,
            EXTRAS,
            "this ConfigMap has raw lines of FRR's configuration",
            "they have no effect, for no FRR runs here: docs/bgp.md says what does the same (#raw-lines-of-frr)",
        );
    }
    for name in &cluster.frr_configurations {
        found.add(
            Severity::Warning,
            Check::MigrateFrr,
            name,
            "somebody else configures frr-k8s by this FRRConfiguration",
            "its neighbours are left to it: no speaker of ours dials them; keep frr-k8s for all of BGP (frr-k8s-external), or delete it and move what it says to the routers",
        );
    }
}

/// Major and minor of an image's tag, such as `quay.io/metallb/speaker:v0.14.9`.
fn version_of(image: &str) -> Option<(u32, u32)> {
    let (_, tag) = image.split('@').next()?.rsplit_once(':')?;
    let mut numbers = tag.strip_prefix('v').unwrap_or(tag).split('.');
    let mut next = || numbers.next().and_then(|number| number.parse().ok());
    Some((next()?, next()?))
}

/// The validation rules of the resources need it.
const KUBERNETES_MIN: (u32, u32) = (1, 29);
/// What taking over was tried from.
const METALLB_MIN: (u32, u32) = (0, 15);
/// MetalLB's name for what is added to FRR's configuration.
const EXTRAS: &str = "bgpextras";
