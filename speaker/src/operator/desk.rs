//! What the operator knows, and what it does next: a machine without I/O.
//!
//! MetalLB resources and the objects that carry our label come in as they are told, [`Desk::next`] says one request, and its answer comes
//! back. An object is applied once by each process, and again when it is not as it was left; nothing is remembered beyond a process's
//! life, so that whatever was done halfway is gone on with. Without a resource everything that carries our label goes, in stages:
//! webhooks, conversion, pods, what pods left, the rest. A resource that cannot be read changes nothing. Knows neither clock nor
//! connection, nor whether it may write.

mod applied;
mod collection;
mod conversion;
mod word;
mod work;

pub(super) use collection::Collection;
pub(super) use conversion::{CRD, conversion};

use crate::api::Failure;
use crate::report::retry::Backoff;
use crate::source::kube::Told;
use applied::{Applied, lasting};
use collection::{collections, judgements};
use conversion::{CONVERSION_AGAIN, conversion_path, unconversion};
use serde_json::Value;
use speaker_core::crd::MetalLb;
use speaker_core::crd::metallb::NAME;
use speaker_core::deploy::{self, Object, Options};
use speaker_core::foreign::foreign_peers_told;
use speaker_core::problem::Faults;
use speaker_proto::{Span, Time};
use std::collections::{BTreeMap, BTreeSet};

/// The state of a leading operator.
pub(super) struct Desk {
    namespace: String,
    usual: Options,
    collections: Vec<Collection>,
    /// What speakers of nodes say of the configuration, where one says that somebody else has a peer.
    foreign: BTreeMap<String, String>,
    /// What has not been seen whole yet.
    unsynced: BTreeSet<String>,
    /// Why not, if something stands in the way.
    obstacle: Option<String>,
    /// The resources, by name.
    metallbs: BTreeMap<String, Value>,
    asked: Asked,
    /// What is to be there: by the last resource that could be read.
    wanted: Vec<Object>,
    /// What carries our label, by path.
    live: BTreeMap<String, Value>,
    /// What this process applied, by path.
    applied: BTreeMap<String, Applied>,
    /// Paths that were seen to with nothing left to do.
    done: BTreeSet<String>,
    /// When the conversion is looked at again.
    conversion_due: Time,
    /// What failed last, by path.
    troubles: BTreeMap<String, Trouble>,
}

/// What the resource of the right name asks for.
enum Asked {
    /// There is none.
    Nothing,
    /// This.
    Good(Box<MetalLb>),
    /// Nothing that makes sense.
    Bad(Faults),
}

struct Trouble {
    what: String,
    backoff: Backoff,
    until: Time,
    /// It is on its way, and nothing is wrong.
    is_wait: bool,
}

/// One thing to do.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Request {
    /// Make an object what it should be, and ours.
    Apply(Box<Object>),
    /// Take away what carries our label, or what we made.
    Delete {
        path: String,
        /// Stay until its pods are gone.
        with_pods: bool,
    },
    /// Take away what MetalLB left, if it is there.
    Clear {
        path: String,
        /// Only if MetalLB's operator made it.
        is_theirs_alone: bool,
    },
    /// Let versions of BGPPeer be converted by our webhook, or by nobody.
    Convert { by_webhook: bool },
    /// Write conditions into a resource.
    Say { name: String, conditions: Value },
}

/// What came of a request.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Done {
    /// The object as it is now.
    Is(Value),
    /// There is nothing more to do there.
    Nothing,
}

/// Why nothing came of it.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Hindrance {
    /// The API server's word.
    Failed(Failure),
    /// The object selected other pods than ours, and cannot be made to select these: it goes, and comes anew when it is gone.
    Replacing,
}

/// What is worth telling.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum News {
    /// An object was made or changed.
    Applied(String),
    /// An object that somebody changed is as it should be again.
    Repaired(String),
    /// An object was taken away.
    Removed(String),
    /// Something cannot be done; told for the first failure of a row.
    Failed(String),
    /// Conditions of a resource changed; the text is of the one that holds.
    Said(String, String),
}

impl Desk {
    pub(super) fn new(namespace: &str, usual: Options) -> Self {
        let collections = collections(namespace, &usual);
        Self {
            namespace: namespace.to_owned(),
            usual,
            unsynced: collections.iter().map(|one| one.path.clone()).collect(),
            collections,
            foreign: BTreeMap::new(),
            obstacle: None,
            metallbs: BTreeMap::new(),
            asked: Asked::Nothing,
            wanted: Vec::new(),
            live: BTreeMap::new(),
            applied: BTreeMap::new(),
            done: BTreeSet::new(),
            conversion_due: Time::default(),
            troubles: BTreeMap::new(),
        }
    }

    /// What is to be followed.
    pub(super) fn collections(&self) -> &[Collection] {
        &self.collections
    }

    /// What is followed beside that, and never waited for: what speakers say of the configuration.
    pub(super) fn judgements(&self) -> Collection {
        judgements(&self.namespace)
    }

    /// Notes what stands in the way of seeing everything whole.
    pub(super) fn hear_of(&mut self, obstacle: Option<String>) {
        self.obstacle = obstacle;
    }

    /// Takes what the API server tells of a collection.
    pub(super) fn take(&mut self, collection: &str, told: Told) {
        let is_resource = collection == self.resources();
        if collection == self.judgements().path {
            return self.judge(told);
        }
        match told {
            Told::Synced => {
                self.unsynced.remove(collection);
            }
            Told::Put(object) if is_resource => {
                let key = name(&object).to_owned();
                let was = self.metallbs.insert(key.clone(), object);
                let is = &self.metallbs[&key];
                if was.is_none_or(|was| asks(&was) != asks(is)) {
                    self.read();
                }
            }
            Told::Gone(_, name) if is_resource => {
                self.metallbs.remove(&name);
                self.read();
            }
            Told::Put(object) if !self.is_near(&object) => {}
            Told::Put(object) => {
                let path = format!("{collection}/{}", name(&object));
                self.see(path, object);
            }
            Told::Gone(_, name) => self.forget(&format!("{collection}/{name}")),
        }
    }

    fn judge(&mut self, told: Told) {
        match told {
            Told::Put(state) => {
                let summary = text(&state["status"]["errorSummary"]);
                let told: Vec<&str> = foreign_peers_told(summary).collect();
                let key = name(&state).to_owned();
                match told.is_empty() {
                    true => self.foreign.remove(&key),
                    false => self.foreign.insert(key, told.join("\n")),
                };
            }
            Told::Gone(_, name) => {
                self.foreign.remove(&name);
            }
            Told::Synced => {}
        }
    }

    fn resources(&self) -> String {
        format!(
            "/apis/metallb.io/v1beta1/namespaces/{}/metallbs",
            self.namespace
        )
    }

    /// Whether an object is of this installation: those of the cluster may be of one in another namespace.
    fn is_near(&self, object: &Value) -> bool {
        let of_policy = |match_by: &str| {
            let selector = &object["spec"][match_by]["namespaceSelector"]["matchLabels"];
            &selector["kubernetes.io/metadata.name"]
        };
        let places = [
            &object["webhooks"][0]["clientConfig"]["service"]["namespace"],
            of_policy("matchConstraints"),
            of_policy("matchResources"),
        ];
        let mut places = places.into_iter().filter(|place| !place.is_null());
        places.all(|place| *place == *self.namespace)
    }

    /// Reads the resource of the right name anew.
    fn read(&mut self) {
        let was_nothing = matches!(self.asked, Asked::Nothing);
        self.asked = match self.metallbs.get(NAME).map(MetalLb::read) {
            None => Asked::Nothing,
            Some(Ok(metallb)) => Asked::Good(Box::new(metallb)),
            Some(Err(faults)) => Asked::Bad(faults),
        };
        match &self.asked {
            Asked::Nothing => self.wanted.clear(),
            Asked::Good(metallb) => self.wanted = deploy::running(&metallb.options(&self.usual)),
            // What was asked for before stays in force.
            Asked::Bad(_) => {}
        }
        self.troubles.clear();
        if was_nothing != matches!(self.asked, Asked::Nothing) {
            // What is installed anew is to be taken away anew, and the other way round.
            self.applied.clear();
            self.done.clear();
        }
    }

    fn see(&mut self, path: String, object: Value) {
        if let Some(applied) = self.applied.get_mut(&path) {
            applied.is_stale |= lasting(&object) != applied.left;
        }
        self.live.insert(path, object);
    }

    fn forget(&mut self, path: &str) {
        self.live.remove(path);
        self.troubles.remove(path);
        if let Some(applied) = self.applied.get_mut(path) {
            applied.is_stale = true;
        }
    }

    /// The next thing to do, if one is due.
    pub(super) fn next(&self, now: Time) -> Option<Request> {
        let is_blind = !self.unsynced.is_empty();
        if is_blind && (self.obstacle.is_none() || self.unsynced.contains(&self.resources())) {
            return None;
        }
        let is_due = |request: &Request| {
            let place = self.place(request);
            let trouble = self.troubles.get(&place).map(|trouble| trouble.until);
            let fight = self.applied.get(&place).map(Applied::due);
            trouble.max(fight).is_none_or(|until| until <= now)
        };
        let mut words = self.metallbs.values().filter_map(|one| self.word(one));
        let work = match self.asked {
            _ if is_blind => Vec::new(),
            Asked::Nothing => self.removal(),
            Asked::Good(_) | Asked::Bad(_) => self.work(),
        };
        work.into_iter()
            .find(|request| is_due(request))
            .or_else(|| words.find(|request| is_due(request)))
            .or_else(|| self.conversion_again(now).filter(|request| is_due(request)))
    }

    /// When something that failed, or must wait, is due. What was due and is not done by now waits for something else.
    pub(super) fn deadline(&self, now: Time) -> Option<Time> {
        let troubles = self.troubles.values().map(|trouble| trouble.until);
        let fights = self.applied.values().filter(|applied| applied.is_stale);
        let due = troubles.chain(fights.map(Applied::due));
        due.filter(|at| *at > now).min()
    }

    /// What a request is about.
    fn place(&self, request: &Request) -> String {
        match request {
            Request::Apply(object) => object.path(),
            Request::Delete { path, .. } | Request::Clear { path, .. } => path.clone(),
            Request::Convert { by_webhook: true } => conversion_path(),
            Request::Convert { by_webhook: false } => unconversion(),
            Request::Say { name, .. } => format!("{}/{name}", self.resources()),
        }
    }

    /// Takes what came of a request.
    pub(super) fn answer(
        &mut self,
        now: Time,
        request: &Request,
        answer: Result<Done, Hindrance>,
    ) -> Option<News> {
        let place = self.place(request);
        if matches!(request, Request::Convert { by_webhook: true }) {
            self.conversion_due = now + CONVERSION_AGAIN;
        }
        match answer {
            Ok(done) => {
                self.troubles.remove(&place);
                self.finish(now, place, request, done)
            }
            Err(hindrance) => self.hinder(now, place, request, &hindrance),
        }
    }

    fn finish(&mut self, now: Time, place: String, request: &Request, done: Done) -> Option<News> {
        match (request, done) {
            (Request::Apply(object), Done::Is(is)) => self.finish_apply(now, place, object, is),
            (Request::Say { name, .. }, Done::Is(is)) => {
                let conditions = is["status"]["conditions"].as_array();
                let said = conditions.into_iter().flatten();
                let said = said.filter(|one| one["status"] == "True");
                let said =
                    said.map(|one| format!("{} {}", text(&one["type"]), text(&one["message"])));
                let said: Vec<String> = said.collect();
                self.metallbs.insert(name.clone(), is);
                Some(News::Said(name.clone(), said.join("; ")))
            }
            (
                Request::Delete {
                    with_pods: true, ..
                },
                Done::Is(is),
            ) => {
                self.live.insert(place.clone(), is);
                Some(News::Removed(place))
            }
            (Request::Delete { .. }, _) => {
                self.live.remove(&place);
                self.applied.remove(&place);
                self.done.insert(place.clone());
                Some(News::Removed(place))
            }
            (Request::Clear { .. } | Request::Convert { .. }, Done::Is(_)) => {
                let is_new = self.done.insert(place.clone());
                Some(match is_new {
                    true => News::Applied(place),
                    false => News::Repaired(place),
                })
            }
            (_, Done::Nothing) => {
                self.done.insert(place);
                None
            }
        }
    }

    fn finish_apply(
        &mut self,
        now: Time,
        place: String,
        object: &Object,
        is: Value,
    ) -> Option<News> {
        let was = self.live.insert(place.clone(), is.clone());
        let is_changed = was.is_none_or(|was| version(&was) != version(&is));
        let before = self.applied.remove(&place);
        let before = before.filter(|before| before.wanted == object.body);
        let is_repair = is_changed && before.is_some();
        let mut applied = before.unwrap_or_else(|| Applied::new(&object.body));
        applied.left = lasting(&is);
        applied.is_stale = false;
        if is_repair {
            applied.repaired(now);
        }
        self.applied.insert(place, applied);
        match (is_changed, is_repair) {
            (false, _) => None,
            (true, true) => Some(News::Repaired(object.title())),
            (true, false) => Some(News::Applied(object.title())),
        }
    }

    fn hinder(
        &mut self,
        now: Time,
        place: String,
        request: &Request,
        hindrance: &Hindrance,
    ) -> Option<News> {
        let title = match request {
            Request::Apply(object) => object.title(),
            Request::Delete { .. }
            | Request::Clear { .. }
            | Request::Convert { .. }
            | Request::Say { .. } => place.clone(),
        };
        let failure = match hindrance {
            Hindrance::Failed(failure) => failure,
            Hindrance::Replacing => {
                self.wait(
                    now,
                    place,
                    format!("{title}: it selected other pods, and is made anew"),
                );
                return None;
            }
        };
        let what = format!("{title}: {failure}");
        let trouble = self.troubles.entry(place).or_insert_with(|| Trouble {
            what: String::new(),
            backoff: Backoff::default(),
            until: now,
            is_wait: false,
        });
        trouble.is_wait = false;
        let wait = u64::try_from(trouble.backoff.after(failure).as_nanos()).unwrap_or(u64::MAX);
        trouble.until = now + Span::from_ns(wait);
        let is_news = trouble.what != what;
        trouble.what.clone_from(&what);
        is_news.then_some(News::Failed(what))
    }

    /// Looks at a place again soon.
    fn wait(&mut self, now: Time, place: String, what: String) {
        let trouble = Trouble {
            what,
            backoff: Backoff::default(),
            until: now + REPLACED_AGAIN,
            is_wait: true,
        };
        self.troubles.insert(place, trouble);
    }
}

/// What a resource asks for.
fn asks(metallb: &Value) -> (&Value, &Value) {
    (&metallb["spec"], &metallb["metadata"]["annotations"])
}

fn name(object: &Value) -> &str {
    text(&object["metadata"]["name"])
}

fn version(object: &Value) -> &str {
    text(&object["metadata"]["resourceVersion"])
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

const REPLACED_AGAIN: Span = Span::s(1); // somebody else takes the object away meanwhile

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
