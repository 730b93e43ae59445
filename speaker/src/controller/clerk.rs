//! The loop that knows, decides and writes, as long as this process leads.
//!
//! It owns everything that is known; requests are tasks beside it, each begun only while the Lease lets it and nobody else
//! allocates. Knows nothing of how leadership comes about.

use super::board::Board;
use super::desk::{Desk, News, Request};
use super::pools::PoolStatuses;
use super::settings::Settings;
use super::takeover::{FIELD_MANAGER, Rival, Writers};
use super::tell::{self, tell};
use crate::api::{Api, Call, Failure};
use crate::drive::chance;
use crate::drive::clock::{now, pause};
use crate::leader::Term;
use crate::report::events::{EventSender, Subject};
use crate::report::own_pod::OwnPod;
use crate::source::kube::{Item, Told};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use speaker_core::events::{ALLOCATION_PAUSED, CLEAR_ASSIGNMENT, Reason};
use speaker_core::service::ServiceId;
use speaker_core::{Kind, ObjectKey, Problem};
use speaker_proto::lease::REQUEST_MAX;
use speaker_proto::{Span, Time};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// The loop that knows, decides and writes.
pub(super) struct Clerk {
    desk: Desk,
    pools: PoolStatuses,
    writers: Writers,
    /// Who else allocates; `None`: it is not known yet.
    blocked: Option<Rival>,
    /// What is wrong with the configuration; `None`: not all of it has been seen.
    config_problems: Option<Vec<Problem>>,
    /// What services lacked at the last pass.
    service_problems: Vec<Problem>,
    api: Api,
    term: Term,
    board: Board,
    outlets: Outlets,
    requests: JoinSet<Answer>,
    /// The next pass may be made from here on.
    not_before: Time,
}

/// Where what is to be told goes.
pub(super) struct Outlets {
    /// Events about services.
    pub(super) events: EventSender,
    /// The pod of this process.
    pub(super) own: Arc<OwnPod>,
    /// What the ConfigurationState says.
    pub(super) problems: watch::Sender<Option<Vec<Problem>>>,
}

/// The answer to one request.
enum Answer {
    Wrote(ServiceId, Result<Value, Failure>),
    Read(ServiceId, Result<Value, Failure>),
    Pool(String, Result<Value, Failure>),
}

impl Clerk {
    pub(super) fn new(
        settings: &Settings,
        api: Api,
        term: Term,
        board: Board,
        outlets: Outlets,
    ) -> Self {
        Self {
            desk: Desk::new(&settings.namespace, settings.class.clone()),
            pools: PoolStatuses::default(),
            writers: Writers::default(),
            blocked: None,
            config_problems: None,
            service_problems: Vec::new(),
            api,
            term,
            board,
            outlets,
            requests: JoinSet::new(),
            not_before: Time::default(),
        }
    }

    /// Follows what comes, decides and writes, for ever.
    ///
    /// # Errors
    /// When a part that it depends on ends.
    pub(super) async fn run(
        &mut self,
        mut items: mpsc::Receiver<Item>,
        mut rival: watch::Receiver<Option<Rival>>,
    ) -> Result<()> {
        loop {
            self.board.turned.touch();
            let seen = rival.borrow_and_update().clone();
            self.judge(seen);
            self.act();
            self.show();
            let wait = self.wait();
            tokio::select! {
                item = items.recv() => {
                    let Some(item) = item else { bail!("objects are followed no more") };
                    self.take(item);
                    for _ in 1..ITEMS_PER_TURN {
                        let Ok(item) = items.try_recv() else { break };
                        self.take(item);
                    }
                }
                Some(answer) = self.requests.join_next() => {
                    self.answered(answer.context("a request's task failed")?);
                    while let Some(answer) = self.requests.try_join_next() {
                        self.answered(answer.context("a request's task failed")?);
                    }
                }
                changed = rival.changed() => changed.context("nobody looks for rivals any more")?,
                () = pause(wait) => {}
            }
        }
    }

    fn take(&mut self, item: Item) {
        if item.kind == Kind::Pool {
            match &item.told {
                Told::Put(object) => self.pools.put(object),
                Told::Gone(_, name) => self.pools.gone(name),
                Told::Synced => {}
            }
        }
        let news = self.desk.take(now(), item);
        self.tell(&news);
    }

    fn tell(&mut self, news: &[News]) {
        for one in news {
            match one {
                News::Foreign(service, writer) => self.writers.seen(&writer.manager, service),
                News::Written(_) => self.board.note(|figures| figures.writes += 1),
                News::ManyCleared(services, why) => {
                    let text =
                        format!("{services} services lose what they hold, as the first: {why}");
                    self.tell_own_pod(&CLEAR_ASSIGNMENT, text);
                }
                News::Event(..) | News::Cleared(..) | News::Deleted(_) | News::Failed(..) => {}
            }
            tell(&self.outlets.events, self.desk.assignments(), one);
        }
    }

    /// Whether anybody else allocates, and says so when that changes.
    fn judge(&mut self, pods: Option<Rival>) {
        let Some(pods) = pods else { return };
        let rival = self.writers.rival(now()).or(pods);
        if self.blocked.as_ref() == Some(&rival) {
            return;
        }
        match &rival {
            Some(why) => {
                tracing::warn!(
                    event = "allocationPaused",
                    reason = why,
                    "somebody else allocates; nothing is written until that is over"
                );
                self.desk.forget_intentions(now());
                self.service_problems.clear();
            }
            None => tracing::info!(event = "allocationBegins", "nobody else allocates"),
        }
        if let Some(why) = rival.clone() {
            self.tell_own_pod(&ALLOCATION_PAUSED, why);
        }
        self.board
            .note(|figures| figures.is_blocked = rival.is_some());
        self.blocked = Some(rival);
        self.say_problems();
    }

    /// An event on the pod of this process, which is where one looks when nothing happens, or much at once.
    fn tell_own_pod(&self, reason: &'static Reason, message: String) {
        let (api, own, events) = (
            self.api.clone(),
            Arc::clone(&self.outlets.own),
            self.outlets.events.clone(),
        );
        drop(tokio::spawn(async move {
            if let Ok(Some(pod)) = own.reference(&api).await {
                let text = |field: &str| pod[field].as_str().unwrap_or_default().to_owned();
                let subject = Subject {
                    kind: "Pod",
                    api_version: "v1",
                    namespace: own.namespace().to_owned(),
                    name: text("name"),
                    uid: text("uid"),
                };
                events.tell(subject, reason, message);
            }
        }));
    }

    /// Tells figures and ConfigurationState what is wrong. That somebody else allocates is: what is configured has no effect then.
    fn say_problems(&self) {
        let Some(rival) = &self.blocked else { return };
        let mut problems = self.config_problems.clone().unwrap_or_default();
        problems.extend(rival.as_ref().map(|why| Problem {
            object: ObjectKey::new(Kind::Namespace, "", self.outlets.own.namespace()),
            origin: "controller".to_owned(),
            field: String::new(),
            why: format!("{why}; nothing is allocated until that is over"),
        }));
        let is_loaded = self.config_problems.is_some();
        self.board
            .judged(is_loaded, &problems, &self.service_problems);
        let is_judged = is_loaded || rival.is_some();
        self.outlets.problems.send_if_modified(|told| {
            let problems = is_judged.then_some(problems);
            let differs = *told != problems;
            if differs {
                *told = problems;
            }
            differs
        });
    }

    /// Judges the configuration and decides nothing: while somebody else allocates, mistakes in it are told all the same.
    fn look_on(&mut self) {
        if !matches!(self.blocked, Some(Some(_))) || self.not_before > now() {
            return;
        }
        if let Some(problems) = self.desk.judge() {
            self.not_before = now() + SETTLE;
            self.config_problems = Some(problems);
            self.say_problems();
        }
    }

    /// Decides, and begins what may be begun.
    fn act(&mut self) {
        if self.blocked != Some(None) {
            self.look_on();
            return;
        }
        if !self.term.may_write() {
            return;
        }
        if self.desk.is_due() && self.not_before <= now() {
            self.not_before = now() + SETTLE;
            // A large cluster takes a moment, which the other tasks of this worker need not wait for.
            let passed = tokio::task::block_in_place(|| self.desk.pass(now()));
            if let Some((passed, news)) = passed {
                passed.came.iter().for_each(tell::came);
                self.board.passed(&self.desk);
                self.pools.want(passed.usage);
                self.config_problems = Some(passed.config_problems);
                self.service_problems = passed.service_problems;
                self.tell(&news);
                self.say_problems();
            }
        }
        while self.term.may_write()
            && let Some(request) = self.desk.next(now())
        {
            self.begin(request);
        }
        while self.term.may_write()
            && let Some((name, object)) = self.pools.next(now())
        {
            let api = self.api.clone();
            let namespace = self.outlets.own.namespace().to_owned();
            self.requests.spawn(async move {
                let path = format!(
                    "/apis/metallb.io/v1beta1/namespaces/{namespace}/ipaddresspools/{name}/status?fieldManager={FIELD_MANAGER}"
                );
                let call = Call::put(path, object).within(REQUEST_MAX.into());
                Answer::Pool(name, api.call(call).await)
            });
        }
    }

    fn begin(&mut self, request: Request) {
        let api = self.api.clone();
        match request {
            Request::Write(id, object) => {
                self.requests.spawn(async move {
                    let path = format!("{}/status?fieldManager={FIELD_MANAGER}", path(&id));
                    let call = Call::put(path, object).within(REQUEST_MAX.into());
                    Answer::Wrote(id, api.call(call).await)
                });
            }
            Request::Read(id, conflicts) => {
                self.requests.spawn(async move {
                    let wait = CONFLICT_WAIT * (1 << conflicts);
                    pause(wait + chance::within(wait)).await;
                    let call = Call::get(path(&id)).within(REQUEST_MAX.into());
                    Answer::Read(id, api.call(call).await)
                });
            }
        }
    }

    fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Wrote(id, answer) => {
                let failure = answer.as_ref().err();
                if failure.is_some_and(Failure::is_conflict) {
                    self.board.note(|figures| figures.conflicts += 1);
                } else if failure.is_some_and(|failure| !failure.is_not_found()) {
                    self.board.note(|figures| figures.write_failures += 1);
                }
                let (news, read) = self.desk.wrote(now(), &id, answer);
                self.tell(&news);
                if let Some(read) = read {
                    self.begin(read);
                }
            }
            Answer::Read(id, answer) => {
                let news = self.desk.read(now(), &id, answer);
                self.tell(&news);
            }
            Answer::Pool(name, answer) => {
                if let Some(error) = self.pools.wrote(now(), &name, answer) {
                    tracing::warn!(
                        op = "updatePoolStatus",
                        pool = name,
                        error,
                        "the status cannot be written; trying again"
                    );
                }
            }
        }
    }

    fn show(&self) {
        // Events tell of statuses, and nobody waits for them: while statuses are queued, the server is to be theirs.
        self.outlets.events.give_way(self.desk.is_pressed());
        self.board.note(|figures| {
            figures.updates = self.desk.updates;
            figures.update_errors = self.desk.update_errors;
            figures.duplicates = self.desk.duplicates;
            figures.pending = self.desk.pending() as u64;
            figures.api.events_lost = self.outlets.events.lost();
        });
    }

    /// Until when there is nothing to do of itself.
    fn wait(&self) -> Duration {
        let now = now();
        if self.blocked != Some(None) || !self.term.may_write() {
            return TURN_MAX.min(Duration::from_millis(200));
        }
        let pass = self.desk.is_due().then_some(self.not_before);
        let due = [pass, self.desk.due(), self.pools.due()];
        let first = due.into_iter().flatten().min();
        let wait = first.map_or(TURN_MAX, |at| at.since(now).into());
        // What is due and did not begin waits for an answer.
        wait.clamp(Duration::from_millis(5), TURN_MAX)
    }

    /// Begins nothing more and waits for what is under way.
    pub(super) async fn finish(mut self) {
        while let Some(answer) = self.requests.join_next().await {
            if let Ok(answer @ (Answer::Wrote(..) | Answer::Pool(..))) = answer {
                self.answered(answer);
            }
        }
    }
}

fn path(id: &ServiceId) -> String {
    let ServiceId { namespace, name } = id;
    format!("/api/v1/namespaces/{namespace}/services/{name}")
}

const ITEMS_PER_TURN: usize = 512; // then a look at what is due
const SETTLE: Span = Span::ms(50); // a burst of changes costs one pass
const TURN_MAX: Duration = Duration::from_secs(1); // health wants to see a turn now and then
const CONFLICT_WAIT: Duration = Duration::from_millis(10);
