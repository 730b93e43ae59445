//! Writes status objects of this node, as few as may be: one writer for each kind.
//!
//! What to write is up to [`StatusObjects`], what is wanted is told by a [`Wishes`]; here is when, and what an answer means. Own objects are
//! watched. Those of other nodes are looked for only when this node begins to say what one node only says at a time, since their
//! nodes take them away themselves unless they died.

use crate::api::{Api, Call, Failure};
use crate::drive::clock::pause;
use crate::drive::decide::View;
use crate::drive::reflect;
use crate::report::own_pod::OwnPod;
use crate::report::retry::Backoff;
use crate::source::kube::{Told, Watched};
use anyhow::{Context, Result};
use serde_json::Value;
use speaker_core::Plan;
use speaker_core::status_objects::{Form, StatusObjects, Subject, Wanted, Write};
use speaker_proto::NodeName;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// What a kind of object is to say.
pub(super) trait Wishes: Send + 'static {
    /// Waits until that may have changed.
    ///
    /// # Errors
    /// When it never will again.
    fn changed(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// Whether it may have changed since [`Self::wanted`].
    fn have_changed(&self) -> bool;

    /// What is wanted now; `None`: that is not known yet.
    fn wanted(&mut self) -> Option<Wanted>;
}

/// What follows from the plan alone.
pub(super) struct OfPlan {
    pub(super) node: NodeName,
    pub(super) views: watch::Receiver<Option<Arc<View>>>,
    pub(super) say: fn(&NodeName, &Plan) -> Wanted,
}

impl Wishes for OfPlan {
    async fn changed(&mut self) -> Result<()> {
        self.views.changed().await.context("the views ended")
    }

    fn have_changed(&self) -> bool {
        self.views.has_changed().unwrap_or(false)
    }

    fn wanted(&mut self) -> Option<Wanted> {
        let view = self.views.borrow_and_update().clone();
        let view = view.filter(|view| view.plan.is_complete)?;
        Some((self.say)(&self.node, &view.plan))
    }
}

/// Where and as whom objects are written. Cheap to clone.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) api: Api,
    pub(super) pod: Arc<OwnPod>,
    pub(super) node: NodeName,
}

/// The writer of one kind.
pub(super) struct Statuses<W> {
    api: Api,
    pod: Arc<OwnPod>,
    wishes: W,
    told: mpsc::Receiver<Told>,
    objects: StatusObjects,
    is_synced: bool,
}

impl<W: Wishes> Statuses<W> {
    /// Starts to watch the objects of this node, and to write what is wanted of them.
    pub(super) fn spawn(
        form: &'static Form,
        place: Place,
        wishes: W,
        tasks: &mut JoinSet<Result<()>>,
    ) {
        let Place { api, pod, node } = place;
        let objects = StatusObjects::new(form, node);
        let watched = Watched {
            path: all(form, &pod),
            labels: objects.own_labels(),
            fields: String::new(),
        };
        let (tell, told) = mpsc::channel(TOLD_MAX);
        let (task, _followed) = reflect::follow(api.clone(), watched, SPREAD, tell, |told| told);
        tasks.spawn(task);
        let statuses = Self {
            api,
            pod,
            wishes,
            told,
            objects,
            is_synced: false,
        };
        tasks.spawn(statuses.run());
    }

    /// Writes what the wishes and the API server call for; never ends.
    async fn run(mut self) -> Result<()> {
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
                        let kind = self.objects.form().kind;
                        tracing::warn!(
                            event = "statusNotWritten",
                            kind,
                            error = %failure,
                            "failed to write {kind} objects; trying again"
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
                changed = self.wishes.changed() => changed?,
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
        let Some(wanted) = self.wishes.wanted().filter(|_| self.is_synced) else {
            return Ok(());
        };
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
                if self.wishes.have_changed() {
                    return refused;
                }
            }
        }
        self.objects.forget_others();
        refused
    }

    /// Looks for objects of other nodes about what this one has to say anew.
    async fn look(&mut self, wanted: &Wanted) -> Result<(), Failure> {
        let fresh: Vec<Subject> = self.objects.fresh(wanted).into_iter().cloned().collect();
        if fresh.len() > LOOKS_MAX {
            return self.list(&self.objects.others_labels()).await;
        }
        for subject in fresh {
            self.list(&self.objects.labels_of(&subject)).await?;
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
            let path = format!("{}?labelSelector={labels}&limit={PAGE}{next}", self.all());
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
        let all = self.all();
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

    fn all(&self) -> String {
        all(self.objects.form(), &self.pod)
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
fn all(form: &Form, pod: &OwnPod) -> String {
    let (group, namespace) = (form.group, pod.namespace());
    format!(
        "/apis/{group}/v1beta1/namespaces/{namespace}/{}",
        form.plural
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
