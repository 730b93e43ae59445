//! The ConfigurationState of one component: whether the configuration that it runs by is sound, where `kubectl` shows it.
//!
//! Object, labels, condition types, reasons and field owners are MetalLB's (its page on troubleshooting; the schema is
//! `deploy/crds`). What the object should say is a pure function of the problems; the task around it writes only what
//! differs, and looks now and then whether the object is still there. It knows nothing of what a problem means.

use super::leave::Leave;
use super::own_pod::OwnPod;
use super::retry::Backoff;
use crate::api::{Api, Call, Failure};
use crate::drive::{chance, clock};
use serde_json::{Value, json};
use speaker_core::Problem;
use speaker_proto::NodeName;
use speaker_proto::lease::REQUEST_MAX;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Whose configuration it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Component {
    /// The controller; of several replicas only the leader says anything.
    Controller,
    /// The speaker of a node.
    Speaker(NodeName),
}

/// The writer of one ConfigurationState.
pub(crate) struct ConfigState {
    api: Api,
    component: Component,
    owner: Arc<OwnPod>,
    leave: Leave,
    obstacle: Obstacle,
}

/// Says why no configuration can be seen, if something stands in the way.
pub(crate) type Obstacle = Box<dyn Fn() -> Option<String> + Send + Sync>;

impl ConfigState {
    /// Keeps the object of `component` as `problems` says, whenever there is leave, until the sender is gone; `None` there
    /// means that no configuration has been judged yet. Then nothing is written, unless `obstacle` says why that is so.
    pub(crate) fn spawn(
        api: Api,
        component: Component,
        owner: Arc<OwnPod>,
        leave: Leave,
        obstacle: Obstacle,
        problems: watch::Receiver<Option<Vec<Problem>>>,
    ) -> JoinHandle<()> {
        let state = Self {
            api,
            component,
            owner,
            leave,
            obstacle,
        };
        tokio::spawn(state.run(problems))
    }

    async fn run(self, mut problems: watch::Receiver<Option<Vec<Problem>>>) {
        let mut backoff = Backoff::default();
        let mut is_new = true;
        loop {
            let judged = problems.borrow_and_update().as_deref().map(Verdict::of);
            let unseen = (!is_new).then(|| (self.obstacle)()).flatten();
            is_new = false;
            let wait = match judged.or(unseen.map(Verdict::unknown)) {
                None => UNSEEN_LOOK_EVERY,
                Some(verdict) => match self.write(&verdict).await {
                    Ok(()) => {
                        backoff.reset();
                        LOOK_EVERY
                    }
                    Err(failure) => {
                        let wait = backoff.after(&failure);
                        if backoff.is_first() {
                            tracing::warn!(
                                object = self.component.name(),
                                error = %failure,
                                event = "configurationStateNotWritten",
                                "failed to write the ConfigurationState; trying again"
                            );
                        }
                        wait
                    }
                },
            };
            tokio::select! {
                changed = problems.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    clock::pause(chance::within(self.component.spread())).await;
                }
                () = clock::pause(wait + chance::within(wait / 4)) => {}
            }
        }
    }

    async fn write(&self, verdict: &Verdict) -> Result<(), Failure> {
        let owner = self.owner.reference(&self.api).await?;
        let all = format!("{API}/namespaces/{}/{PLURAL}", self.owner.namespace());
        let one = format!("{all}/{}", self.component.name());
        let seen = match self.api.call(Call::get(&one)).await {
            Ok(object) => Some(object),
            Err(failure) if failure.is_not_found() => None,
            Err(failure) => return Err(failure),
        };
        for step in steps(
            &self.component,
            owner,
            verdict,
            seen.as_ref(),
            clock::wall(),
        ) {
            let call = match step {
                Step::Make(object) => Call::post(&all, object),
                Step::Own(metadata) => Call::merge(&one, metadata),
                Step::Say(object) => {
                    let by = self.component.field_owner();
                    Call::apply(format!("{one}/status?fieldManager={by}&force=true"), object)
                }
            };
            self.leave.given().await;
            self.api.call(call.within(REQUEST_MAX.into())).await?;
        }
        Ok(())
    }
}

impl Component {
    fn name(&self) -> String {
        match self {
            Self::Controller => "controller".to_owned(),
            Self::Speaker(node) => format!("speaker-{node}"),
        }
    }

    fn labels(&self) -> Value {
        match self {
            Self::Controller => json!({TYPE_LABEL: "controller"}),
            Self::Speaker(node) => json!({TYPE_LABEL: "speaker", NODE_LABEL: node.as_str()}),
        }
    }

    const fn field_owner(&self) -> &'static str {
        match self {
            Self::Controller => "poolReconciler",
            Self::Speaker(_) => "configReconciler",
        }
    }

    /// One change of the configuration is told by all speakers; they need not do so at once.
    const fn spread(&self) -> Duration {
        match self {
            Self::Controller => Duration::ZERO,
            Self::Speaker(_) => Duration::from_secs(1),
        }
    }

    const fn condition(&self) -> &'static str {
        match self {
            Self::Controller => "poolReconcilerValid",
            Self::Speaker(_) => "configReconcilerValid",
        }
    }
}

/// What is to be said of the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Verdict {
    /// Nothing is wrong.
    Sound,
    /// This is.
    Faulty(String),
    /// It cannot be seen, for this reason.
    Unknown(String),
}

impl Verdict {
    fn of(problems: &[Problem]) -> Self {
        let mut lines: Vec<String> = problems.iter().take(PROBLEMS_MAX).map(line).collect();
        let left_out = problems.len().saturating_sub(PROBLEMS_MAX);
        if left_out > 0 {
            lines.push(format!("and {left_out} more"));
        }
        match lines.is_empty() {
            true => Self::Sound,
            false => Self::Faulty(lines.join("\n")),
        }
    }

    fn unknown(why: String) -> Self {
        Self::Unknown(shortened(why))
    }

    /// Status, reason and message of the condition.
    fn condition(&self) -> [&str; 3] {
        match self {
            Self::Sound => ["True", "Reconciled", ""],
            Self::Faulty(why) => ["False", "ConfigurationError", why],
            Self::Unknown(why) => ["False", "UnknownError", why],
        }
    }

    /// MetalLB calls valid what is not known to be invalid.
    const fn result(&self) -> &'static str {
        match self {
            Self::Sound => "Valid",
            Self::Faulty(_) => "Invalid",
            Self::Unknown(_) => "Unknown",
        }
    }
}

/// A problem as MetalLB's errors begin; where it was read from is clear in a cluster.
fn line(problem: &Problem) -> String {
    let Problem {
        object, field, why, ..
    } = problem;
    let field = if field.is_empty() {
        String::new()
    } else {
        format!("{field}: ")
    };
    shortened(format!("configuration error: {object}: {field}{why}"))
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(LINE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// One request, with its body.
#[derive(Clone, PartialEq, Debug)]
enum Step {
    /// Make the object; its status is a step of its own, since the main path takes none.
    Make(Value),
    /// Put labels and owner right.
    Own(Value),
    /// Write the status.
    Say(Value),
}

/// What is still to be written so that the object says it.
fn steps(
    component: &Component,
    owner: Option<&Value>,
    verdict: &Verdict,
    seen: Option<&Value>,
    now: SystemTime,
) -> Vec<Step> {
    let mut metadata = json!({"labels": component.labels()});
    if let Some(owner) = owner {
        metadata["ownerReferences"] = json!([owner]);
    }
    let mut steps = Vec::new();
    match seen {
        None => {
            metadata["name"] = json!(component.name());
            let object = json!({"apiVersion": VERSION, "kind": KIND, "metadata": metadata});
            steps.push(Step::Make(object));
        }
        Some(seen) if !is_owned(&metadata, &seen["metadata"]) => {
            steps.push(Step::Own(json!({"metadata": metadata})));
        }
        Some(_) => {}
    }
    let status = seen.map_or(&Value::Null, |seen| &seen["status"]);
    let condition = condition(component, status);
    if !says(status, condition, verdict) {
        let [of_condition, reason, message] = verdict.condition();
        let since = condition
            .filter(|condition| condition["status"] == of_condition)
            .and_then(|condition| condition["lastTransitionTime"].as_str());
        let since = since.map_or_else(|| seconds(now), str::to_owned);
        steps.push(Step::Say(json!({
            "apiVersion": VERSION,
            "kind": KIND,
            "metadata": {"name": component.name()},
            "status": {
                "result": verdict.result(),
                "errorSummary": message,
                "conditions": [{
                    "type": component.condition(),
                    "status": of_condition,
                    "reason": reason,
                    "message": message,
                    "lastTransitionTime": since,
                }],
            },
        })));
    }
    steps
}

fn condition<'s>(component: &Component, status: &'s Value) -> Option<&'s Value> {
    let mut conditions = status["conditions"].as_array()?.iter();
    conditions.find(|condition| condition["type"] == component.condition())
}

fn says(status: &Value, condition: Option<&Value>, verdict: &Verdict) -> bool {
    let Some(condition) = condition else {
        return false;
    };
    let [of_condition, reason, message] = verdict.condition();
    status["result"] == verdict.result()
        && status["errorSummary"].as_str().unwrap_or_default() == message
        && condition["status"] == of_condition
        && condition["reason"] == reason
        && condition["message"] == message
}

/// Whether labels and owner are there; labels of others may be there too.
fn is_owned(wanted: &Value, seen: &Value) -> bool {
    let mut labels = wanted["labels"].as_object().into_iter().flatten();
    let uid = |metadata: &Value| metadata["ownerReferences"][0]["uid"].clone();
    labels.all(|(key, value)| seen["labels"][key] == *value)
        && (uid(wanted).is_null() || uid(wanted) == uid(seen))
}

/// As the API server writes times.
fn seconds(at: SystemTime) -> String {
    let at = jiff::Timestamp::try_from(at).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

const API: &str = "/apis/metallb.io/v1beta1";
const PLURAL: &str = "configurationstates";
const VERSION: &str = "metallb.io/v1beta1";
const KIND: &str = "ConfigurationState";
const TYPE_LABEL: &str = "metallb.io/component-type";
const NODE_LABEL: &str = "metallb.io/node-name";
/// An object that somebody deleted is missed within this time; a thousand nodes cost 17 small reads a second.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Nothing is judged until every kind was seen, which takes a moment; what takes longer has a reason.
const UNSEEN_LOOK_EVERY: Duration = Duration::from_secs(10);
const PROBLEMS_MAX: usize = 20; // whoever mends that many looks again
const LINE_CHARS_MAX: usize = 300; // with four bytes a character all lines stay below the schema's 32,768

#[cfg(test)]
#[path = "config_state_tests.rs"]
mod tests;
