//! Writes the ServiceL2Status objects of this node, as few as may be.
//!
//! What to write is up to [`L2Statuses`]; here is when, and what an answer means. Own objects are watched. Those of other nodes are
//! looked for only when this node begins to announce a service, since their nodes take them away themselves unless they
//! died.

use crate::api::{Api, Call, Failure};
use crate::drive::clock::pause;
use crate::drive::decide::View;
use crate::drive::reflect;
use crate::report::own_pod::OwnPod;
use crate::report::retry::Backoff;
use crate::source::kube::{Told, Watched};
use anyhow::{Context, Result};
use serde_json::Value;
use speaker_core::l2_status::{
    L2Statuses, NODE_LABEL, SERVICE_NAME_LABEL, SERVICE_NAMESPACE_LABEL, Wanted, Write, wanted,
};
use speaker_core::service::ServiceId;
use speaker_proto::NodeName;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// The writer.
pub(super) struct Statuses {
    api: Api,
    pod: Arc<OwnPod>,
    node: NodeName,
    views: watch::Receiver<Option<Arc<View>>>,
    told: mpsc::Receiver<Told>,
    objects: L2Statuses,
    is_synced: bool,
}

impl Statuses {
    /// Starts to watch the objects of this node.
    pub(super) fn open(
        api: Api,
        pod: Arc<OwnPod>,
        node: NodeName,
        views: watch::Receiver<Option<Arc<View>>>,
        tasks: &mut JoinSet<Result<()>>,
    ) -> Self {
        let watched = Watched {
            path: all(&pod),
            labels: format!("{NODE_LABEL}={node}"),
            fields: String::new(),
        };
        let (tell, told) = mpsc::channel(TOLD_MAX);
        let (task, _followed) = reflect::follow(api.clone(), watched, SPREAD, tell, |told| told);
        tasks.spawn(task);
        Self {
            api,
            pod,
            objects: L2Statuses::new(node.clone()),
            node,
            views,
            told,
            is_synced: false,
        }
    }

    /// Writes what the views and the API server call for; never ends.
    pub(super) async fn run(mut self) -> Result<()> {
        let mut backoff = Backoff::default();
        loop {
            self.hear();
            let wait = match self.round().await {
                Ok(()) => {
                    backoff.reset();
                    None
                }
                Err(failure) => {
                    let wait = backoff.after(&failure);
                    if backoff.is_first() {
                        tracing::warn!(
                            event = "serviceL2StatusNotWritten",
                            error = %failure,
                            "failed to write ServiceL2Status objects; trying again"
                        );
                    }
                    Some(wait)
                }
            };
            let again = async {
                match wait {
                    Some(wait) => pause(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.views.changed() => changed.context("the views ended")?,
                told = self.told.recv() => self.take(told.context("the watch ended")?),
                () = again => {}
            }
            pause(SETTLE).await;
        }
    }

    fn hear(&mut self) {
        while let Ok(told) = self.told.try_recv() {
            self.take(told);
        }
    }

    fn take(&mut self, told: Told) {
        match told {
            Told::Put(object) => self.objects.put(&object),
            Told::Gone(_, name) => self.objects.gone(&name),
            Told::Synced => self.is_synced = true,
        }
    }

    /// Does what is to be done now, until it is done or something changed.
    async fn round(&mut self) -> Result<(), Failure> {
        let view = self.views.borrow_and_update().clone();
        let Some(view) = view.filter(|view| self.is_synced && view.plan.is_complete) else {
            return Ok(());
        };
        let wanted = wanted(&view.plan);
        self.look(&wanted).await?;
        let pod = Arc::clone(&self.pod);
        let owner = pod.reference(&self.api).await?;
        let mut refused = Ok(());
        for _ in 0..PASSES {
            for write in self.objects.writes(&wanted, owner) {
                match self.write(write).await {
                    Ok(()) => {}
                    // What is wrong with one object is not wrong with the next.
                    Err(failure) if is_refusal(&failure) => refused = Err(failure),
                    Err(failure) => return Err(failure),
                }
                if self.views.has_changed().unwrap_or(false) {
                    return refused;
                }
            }
        }
        self.objects.forget_others();
        refused
    }

    /// Looks for objects of other nodes for the services that this one announces anew.
    async fn look(&mut self, wanted: &Wanted) -> Result<(), Failure> {
        let fresh: Vec<ServiceId> = self.objects.fresh(wanted).into_iter().cloned().collect();
        if fresh.len() > LOOKS_MAX {
            return self.list(&format!("{NODE_LABEL}!={}", self.node)).await;
        }
        for ServiceId { namespace, name } in fresh {
            let labels =
                format!("{SERVICE_NAME_LABEL}={name},{SERVICE_NAMESPACE_LABEL}={namespace}");
            self.list(&labels).await?;
        }
        Ok(())
    }

    async fn list(&mut self, labels: &str) -> Result<(), Failure> {
        let labels = labels
            .replace('/', "%2F")
            .replace('=', "%3D")
            .replace(',', "%2C")
            .replace('!', "%21");
        let mut next = String::new();
        for _ in 0..PAGES_MAX {
            let path = format!(
                "{}?labelSelector={labels}&limit={PAGE}{next}",
                all(&self.pod)
            );
            let page = self.api.call(Call::get(path)).await?;
            let items = page["items"].as_array().into_iter().flatten();
            items.for_each(|object| self.objects.put(object));
            match page["metadata"]["continue"].as_str() {
                Some(more) if !more.is_empty() => next = format!("&continue={more}"),
                Some(_) | None => break,
            }
        }
        Ok(())
    }

    async fn write(&mut self, write: Write) -> Result<(), Failure> {
        let all = all(&self.pod);
        let (name, call) = match write {
            Write::Make(object) => (None, Call::post(all, object)),
            Write::Own(name, patch) => {
                let path = format!("{all}/{name}");
                (Some(name), Call::merge(path, patch))
            }
            Write::Say(name, patch) => {
                let path = format!("{all}/{name}/status");
                (Some(name), Call::merge(path, patch))
            }
            Write::Delete(name) => {
                let path = format!("{all}/{name}");
                let answer = self.api.call(Call::delete(path)).await;
                return self.is_gone(&name, answer);
            }
        };
        match (self.api.call(call).await, name) {
            (Ok(object), _) => {
                self.objects.put(&object);
                Ok(())
            }
            (Err(failure), Some(name)) if failure.is_not_found() => {
                self.objects.gone(&name);
                Ok(())
            }
            (Err(failure), _) => Err(failure),
        }
    }

    fn is_gone(&mut self, name: &str, answer: Result<Value, Failure>) -> Result<(), Failure> {
        match answer {
            Err(failure) if !failure.is_not_found() => Err(failure),
            Ok(_) | Err(_) => {
                self.objects.gone(name);
                Ok(())
            }
        }
    }
}

/// Whether asking again soon would get the same answer.
fn is_refusal(failure: &Failure) -> bool {
    failure.code().is_some_and(|code| code < 500 && code != 429)
}

/// The collection.
fn all(pod: &OwnPod) -> String {
    format!(
        "/apis/metallb.io/v1beta1/namespaces/{}/servicel2statuses",
        pod.namespace()
    )
}

const PASSES: usize = 2; // a new object takes its status once it is there
const TOLD_MAX: usize = 256; // raw objects on their way
const SPREAD: Duration = Duration::from_secs(2); // as for everything that is followed
/// A VIP that comes and goes within this time is not worth a write.
const SETTLE: Duration = Duration::from_millis(300);
/// Past that one list of everything is cheaper than a list each.
const LOOKS_MAX: usize = 16;
const PAGE: usize = 500;
const PAGES_MAX: usize = 200; // 100,000 objects
