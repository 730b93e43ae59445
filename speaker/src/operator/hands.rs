//! Carries out what [`super::desk`] asks for: reads what is there, takes it over, and writes.
//!
//! Writes are server-side apply as MetalLB's field manager with force, and only while the Lease lets us. Knows nothing of why.

use super::desk::{CRD, Done, Hindrance, Request, conversion};
use super::settings::{LEFT, MANAGER};
use crate::api::{Api, Call, Failure};
use crate::drive::clock::wall;
use crate::leader::Term;
use jiff::Timestamp;
use serde_json::{Value, json};
use speaker_core::deploy::{Adoption, Object, adoption};
use speaker_proto::lease::REQUEST_MAX;

/// What writes.
pub(super) struct Hands {
    api: Api,
    term: Term,
    namespace: String,
}

impl Hands {
    pub(super) fn new(api: Api, term: Term, namespace: &str) -> Self {
        Self {
            api,
            term,
            namespace: namespace.to_owned(),
        }
    }

    /// Does one thing.
    pub(super) async fn carry_out(&self, request: &Request) -> Result<Done, Hindrance> {
        let done = match request {
            Request::Apply(object) => return self.apply(object).await,
            Request::Delete { path, with_pods } => self.delete(path, *with_pods).await,
            Request::Clear {
                path,
                is_theirs_alone,
            } => self.clear(path, *is_theirs_alone).await,
            Request::Convert { by_webhook } => self.convert(*by_webhook).await,
            Request::Say { name, conditions } => self.say(name, conditions).await,
        };
        done.map_err(Hindrance::Failed)
    }

    async fn apply(&self, object: &Object) -> Result<Done, Hindrance> {
        let path = object.path();
        if let Some(live) = self.read(&path).await.map_err(Hindrance::Failed)? {
            match adoption(&live, &object.body, MANAGER) {
                Adoption::None => {}
                Adoption::Selector => {
                    let replaced = self.replace(&path, object, &live).await;
                    replaced.map_err(Hindrance::Failed)?;
                    return Err(Hindrance::Replacing);
                }
                Adoption::Move(patch) => {
                    let call = Call::json_patch(path.clone(), patch);
                    self.write(call).await.map_err(Hindrance::Failed)?;
                    tracing::info!(
                        event = "objectAdopted",
                        kind = object.kind,
                        name = object.name,
                        "fields of whoever installed it are the operator's now"
                    );
                }
            }
        }
        let call = Call::apply(by_us(&path), object.body.clone());
        let is = self.write(call).await.map_err(Hindrance::Failed)?;
        Ok(Done::Is(is))
    }

    /// Takes away what selects other pods than ours, since nobody can change that. A Deployment's pods go with it: nothing is answered by
    /// them. Those of a DaemonSet stay, marked, until ours come to their nodes.
    async fn replace(&self, path: &str, object: &Object, live: &Value) -> Result<(), Failure> {
        let stay = object.kind == "DaemonSet";
        if stay {
            // Again while it is ending: a node that came meanwhile has one more.
            self.mark(live).await?;
        }
        if !live["metadata"]["deletionTimestamp"].is_null() {
            return Ok(());
        }
        let policy = if stay { "Orphan" } else { "Foreground" };
        let call = Call::delete(format!("{path}?propagationPolicy={policy}"));
        match self.write(call).await {
            Ok(_) => {}
            Err(failure) if failure.is_not_found() => {}
            Err(failure) => return Err(failure),
        }
        tracing::warn!(
            event = "objectReplaced",
            kind = object.kind,
            name = object.name,
            "it selected other pods, which nobody can change: it is made anew, and its pods go as ours come"
        );
        Ok(())
    }

    /// Marks the pods of a DaemonSet, by which they are known when nobody owns them any more.
    async fn mark(&self, live: &Value) -> Result<(), Failure> {
        let pods = format!("/api/v1/namespaces/{}/pods", self.namespace);
        let list = self.api.call(Call::get(pods.clone())).await?;
        for pod in list["items"].as_array().into_iter().flatten() {
            let metadata = &pod["metadata"];
            let owners = metadata["ownerReferences"].as_array();
            let mut owners = owners.into_iter().flatten();
            let is_its = owners.any(|owner| owner["uid"] == live["metadata"]["uid"]);
            let (Some(name), true) = (metadata["name"].as_str(), is_its) else {
                continue;
            };
            if metadata["labels"][LEFT].is_null() {
                let mark = json!({"metadata": {"labels": {LEFT: live["metadata"]["name"]}}});
                let call = Call::merge(format!("{pods}/{name}?fieldManager={MANAGER}"), mark);
                match self.write(call).await {
                    Ok(_) => {}
                    Err(failure) if failure.is_not_found() => {}
                    Err(failure) => return Err(failure),
                }
            }
        }
        Ok(())
    }

    async fn delete(&self, path: &str, with_pods: bool) -> Result<Done, Failure> {
        let policy = match with_pods {
            true => "Foreground",
            false => "Background",
        };
        let call = Call::delete(format!("{path}?propagationPolicy={policy}"));
        match self.write(call).await {
            // It is still there until its pods are gone.
            Ok(object) if object["kind"] != "Status" && with_pods => Ok(Done::Is(object)),
            Ok(_) => Ok(Done::Nothing),
            Err(failure) if failure.is_not_found() => Ok(Done::Nothing),
            Err(failure) => Err(failure),
        }
    }

    async fn clear(&self, path: &str, is_theirs_alone: bool) -> Result<Done, Failure> {
        let Some(live) = self.read(path).await? else {
            return Ok(Done::Nothing);
        };
        let managers = live["metadata"]["managedFields"].as_array();
        let is_theirs = managers
            .into_iter()
            .flatten()
            .any(|entry| entry["manager"] == MANAGER);
        if is_theirs_alone && !is_theirs {
            return Ok(Done::Nothing);
        }
        match self.write(Call::delete(path)).await {
            Ok(_) => Ok(Done::Is(live)),
            Err(failure) if failure.is_not_found() => Ok(Done::Nothing),
            Err(failure) => Err(failure),
        }
    }

    async fn convert(&self, by_webhook: bool) -> Result<Done, Failure> {
        let Some(live) = self.read(CRD).await? else {
            // Without the kind there is nothing to convert.
            return Ok(Done::Nothing);
        };
        let there = &live["spec"]["conversion"];
        let wanted = conversion(&self.namespace, by_webhook);
        let service = |one: &Value| {
            let service = &one["webhook"]["clientConfig"]["service"];
            ["namespace", "name", "path"].map(|field| service[field].clone())
        };
        if there["strategy"] == wanted["strategy"] && service(there) == service(&wanted) {
            return Ok(Done::Nothing);
        }
        let call = Call::merge(
            format!("{CRD}?fieldManager={MANAGER}"),
            json!({"spec": {"conversion": wanted}}),
        );
        self.write(call).await.map(Done::Is)
    }

    async fn say(&self, name: &str, conditions: &Value) -> Result<Done, Failure> {
        let path = format!(
            "/apis/metallb.io/v1beta1/namespaces/{}/metallbs/{name}/status",
            self.namespace
        );
        let body = json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "MetalLB",
            "metadata": {"name": name, "namespace": self.namespace},
            "status": {"conditions": timed(conditions)},
        });
        match self.write(Call::apply(by_us(&path), body)).await {
            Ok(is) => Ok(Done::Is(is)),
            Err(failure) if failure.is_not_found() => Ok(Done::Nothing),
            Err(failure) => Err(failure),
        }
    }

    async fn read(&self, path: &str) -> Result<Option<Value>, Failure> {
        match self.api.call(Call::get(path)).await {
            Ok(object) => Ok(Some(object)),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Writes while that can end within the Lease.
    async fn write(&self, call: Call) -> Result<Value, Failure> {
        if !self.term.may_write() {
            return Err(Failure::Broken("the Lease is not renewed".to_owned()));
        }
        self.api.call(call.within(REQUEST_MAX.into())).await
    }
}

fn by_us(path: &str) -> String {
    format!("{path}?fieldManager={MANAGER}&force=true")
}

/// Conditions that changed changed now.
fn timed(conditions: &Value) -> Value {
    let now = Timestamp::try_from(wall()).unwrap_or(Timestamp::UNIX_EPOCH);
    let now = format!("{now:.0}");
    let mut conditions = conditions.clone();
    for condition in conditions.as_array_mut().into_iter().flatten() {
        if condition["lastTransitionTime"] == "" {
            condition["lastTransitionTime"] = json!(now);
        }
    }
    conditions
}
