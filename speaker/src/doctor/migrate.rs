//! `ctl doctor --migrate`: what an API server says of the MetalLB whose place is to be taken.
//!
//! Asks with the rights of whoever runs it, reads a bounded number of objects, and writes nothing. What may not be read is noted under its name.

use super::gather::unseen;
use crate::api::{Access, Call, connect};
use anyhow::{Context, Result};
use serde_json::Value;
use speaker_core::doctor::Facts;
use speaker_core::doctor::migrate::{ClusterFacts, Workload};
use speaker_core::foreign::is_metallbs;

/// What is seen of the cluster.
///
/// # Errors
/// When there is no way to an API server.
pub(super) fn gather(access: &Access, namespace: &str) -> Result<Facts> {
    let mut facts = Facts::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start a runtime")?;
    runtime.block_on(async {
        let api = connect(access).await?;
        let mut cluster = ClusterFacts {
            namespace: namespace.to_owned(),
            ..ClusterFacts::default()
        };
        let of_core = format!("/api/v1/namespaces/{namespace}");
        let of_apps = format!("/apis/apps/v1/namespaces/{namespace}");
        let mut ask = async |path: &str| match api.call(Call::get(path)).await {
            Ok(answer) => Some(answer),
            // What is not there has nothing to say.
            Err(failure) if failure.code() == Some(404) => None,
            Err(failure) => {
                unseen(&mut facts, path, &failure.into());
                None
            }
        };
        cluster.kubernetes = ask("/version").await.as_ref().and_then(version);
        let own = ask(&of_core).await;
        let level = own.as_ref().map(|own| &own["metadata"]["labels"][ENFORCE]);
        cluster.pod_security = level.and_then(Value::as_str).map(str::to_owned);
        for kind in ["Deployment", "DaemonSet"] {
            let path = format!("{of_apps}/{}s?limit={LIST_MAX}", kind.to_lowercase());
            let list = ask(&path).await;
            cluster
                .workloads
                .extend(items(list.as_ref()).map(|item| workload(kind, item)));
        }
        let maps = ask(&format!("{of_core}/configmaps?limit={LIST_MAX}")).await;
        cluster.config_maps = items(maps.as_ref()).map(name).collect();
        let frr = ask(&format!("{FRR}?limit={LIST_MAX}")).await;
        cluster.frr_configurations = items(frr.as_ref())
            .filter(|item| !is_metallbs(item))
            .map(full_name)
            .collect();
        let services = ask(&format!("/api/v1/services?limit={SERVICES_MAX}")).await;
        cluster.pending = items(services.as_ref())
            .filter(|item| {
                item["spec"]["type"] == "LoadBalancer"
                    && item["status"]["loadBalancer"]["ingress"].is_null()
            })
            .map(full_name)
            .collect();
        facts.cluster = Some(cluster);
        Ok(facts)
    })
}

fn items(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(|list| list["items"].as_array())
        .into_iter()
        .flatten()
}

fn name(item: &Value) -> String {
    let name = item["metadata"]["name"].as_str();
    name.unwrap_or_default().to_owned()
}

fn full_name(item: &Value) -> String {
    let namespace = item["metadata"]["namespace"].as_str();
    format!("{}/{}", namespace.unwrap_or_default(), name(item))
}

/// Numbers of `{"major": "1", "minor": "31+"}`.
fn version(answer: &Value) -> Option<(u32, u32)> {
    let number = |field: &str| {
        let text = answer[field].as_str()?;
        text.trim_end_matches(|c: char| !c.is_ascii_digit())
            .parse()
            .ok()
    };
    Some((number("major")?, number("minor")?))
}

fn workload(kind: &str, item: &Value) -> Workload {
    let metadata = &item["metadata"];
    let template = &item["spec"]["template"];
    let containers = template["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten();
    let images = containers.filter_map(|container| {
        let name = container["name"].as_str()?;
        Some((name.to_owned(), container["image"].as_str()?.to_owned()))
    });
    let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
    Workload {
        name: format!("{kind}/{}", name(item)),
        images: images.collect(),
        is_of_helm: metadata["labels"]["app.kubernetes.io/managed-by"] == "Helm",
        is_of_operator: owners.clone().any(|owner| owner["kind"] == "MetalLB"),
        is_ours: ["labels", "annotations"]
            .iter()
            .any(|place| !template["metadata"][place][MARK].is_null()),
    }
}

const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
/// On pods of ours.
const MARK: &str = "heliograph.io/part";
const FRR: &str = "/apis/frrk8s.metallb.io/v1beta1/frrconfigurations";
/// Of one kind in one namespace; there are a few.
const LIST_MAX: u32 = 500;
/// Of all services: enough to say that something is wrong.
const SERVICES_MAX: u32 = 5000;
