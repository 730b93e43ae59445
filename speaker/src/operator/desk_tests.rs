//! The desk told of a small cluster's objects, with every answer played by the test.

use super::work::LEFTOVERS;
use super::*;
use crate::operator::settings::LABEL;
use serde_json::json;
use speaker_core::plan::Obstacle;

/// What an API server would have, and the requests that came.
struct Played {
    desk: Desk,
    now: Time,
    version: u64,
    done: Vec<String>,
    news: Vec<News>,
}

const NAMESPACE: &str = "metallb-system";
const RESOURCES: &str = "/apis/metallb.io/v1beta1/namespaces/metallb-system/metallbs";
const PODS: &str = "/api/v1/namespaces/metallb-system/pods";
const DAEMON_SET: &str = "/apis/apps/v1/namespaces/metallb-system/daemonsets/speaker";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/metallb-system/deployments/controller";

impl Played {
    /// After everything was listed, and nothing was there.
    fn new() -> Self {
        let mut played = Self::unsynced();
        played.sync();
        played
    }

    fn unsynced() -> Self {
        let mut usual = Options::new(NAMESPACE, "c:1", "s:1");
        usual
            .labels
            .insert(LABEL.to_owned(), "metallb-operator".to_owned());
        Self {
            desk: Desk::new(NAMESPACE, usual),
            now: Time::from_ns(1),
            version: 0,
            done: Vec::new(),
            news: Vec::new(),
        }
    }

    fn sync(&mut self) {
        for collection in self.desk.collections().to_vec() {
            self.desk.take(&collection.path, Told::Synced);
        }
    }

    fn metallb(&mut self, name: &str, spec: Value) {
        let metadata = json!({"name": name, "namespace": NAMESPACE, "generation": 1});
        let object = json!({"metadata": metadata, "spec": spec});
        self.desk.take(RESOURCES, Told::Put(object));
    }

    fn gone(&mut self, name: &str) {
        let told = Told::Gone(NAMESPACE.to_owned(), name.to_owned());
        self.desk.take(RESOURCES, told);
    }

    /// Answers everything that is asked for, as a server does that obeys.
    fn run(&mut self) -> Vec<String> {
        while let Some(request) = self.desk.next(self.now) {
            let answer = self.obey(&request);
            self.note(&request);
            self.answer(&request, Ok(answer));
        }
        std::mem::take(&mut self.done)
    }

    fn note(&mut self, request: &Request) {
        let short = |path: &str| path.rsplit('/').take(2).collect::<Vec<_>>().join(" of ");
        self.done.push(match request {
            Request::Apply(object) => format!("apply {}", object.title()),
            Request::Delete { path, with_pods } => {
                let how = if *with_pods { "end" } else { "delete" };
                format!("{how} {}", short(path))
            }
            Request::Clear { path, .. } => format!("clear {}", short(path)),
            Request::Convert { by_webhook } => format!("convert {by_webhook}"),
            Request::Say { name, conditions } => {
                let said = conditions.as_array().unwrap().iter();
                let said = said.filter(|one| one["status"] == "True");
                let said: Vec<&str> = said.map(|one| text(&one["type"])).collect();
                format!("say {name} {}", said.join(" "))
            }
        });
        assert!(self.done.len() < 100, "{:#?}", self.done);
    }

    fn answer(&mut self, request: &Request, answer: Result<Done, Hindrance>) {
        let news = self.desk.answer(self.now, request, answer);
        self.news.extend(news);
    }

    fn obey(&mut self, request: &Request) -> Done {
        self.version += 1;
        let mut object = match request {
            Request::Apply(object) => {
                let mut body = object.body.clone();
                body["status"] = rolled_out();
                body
            }
            Request::Delete { path, with_pods } if *with_pods => {
                let mut live = self.desk.live[path].clone();
                live["metadata"]["deletionTimestamp"] = json!("now");
                live
            }
            Request::Delete { .. } | Request::Clear { .. } | Request::Convert { .. } => {
                return Done::Nothing;
            }
            Request::Say { name, conditions } => {
                let mut metallb = self.desk.metallbs[name].clone();
                metallb["status"]["conditions"] = conditions.clone();
                metallb
            }
        };
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        object["metadata"]["generation"] = json!(1);
        Done::Is(object)
    }

    /// As the watch tells of it, changed.
    fn edit(&mut self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.desk.live[path].clone();
        change(&mut object);
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let (collection, _) = path.rsplit_once('/').unwrap();
        self.desk.take(collection, Told::Put(object));
    }

    fn vanish(&mut self, path: &str) {
        let (collection, name) = path.rsplit_once('/').unwrap();
        let told = Told::Gone(NAMESPACE.to_owned(), name.to_owned());
        self.desk.take(collection, told);
    }
}

/// Of either kind of workload.
fn rolled_out() -> Value {
    json!({
        "observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2,
        "numberAvailable": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1,
    })
}

fn starting(done: &[String], word: &str) -> usize {
    done.iter().filter(|one| one.starts_with(word)).count()
}

#[test]
fn nothing_is_done_before_everything_has_been_seen() {
    let mut played = Played::unsynced();
    played.metallb(NAME, json!({}));
    assert_eq!(played.run(), [""; 0]);
    played.sync();
    assert!(!played.run().is_empty());
}

#[test]
fn what_stands_in_the_way_of_seeing_everything_is_told() {
    let mut played = Played::unsynced();
    played.desk.hear_of(Some("x cannot be followed".to_owned()));
    played.metallb(NAME, json!({}));
    assert_eq!(played.run(), [""; 0], "there may be other resources");
    played.desk.take(RESOURCES, Told::Synced);
    assert_eq!(played.run(), ["say metallb Degraded"]);
    let said = &played.desk.metallbs[NAME]["status"]["conditions"][3];
    assert_eq!(said["message"], "x cannot be followed");
    played.desk.hear_of(None);
    played.sync();
    assert_eq!(
        played.run().last().unwrap(),
        "say metallb Available Upgradeable"
    );
}

#[test]
fn a_new_resource_is_brought_about_and_then_nothing_is_left_to_do() {
    let mut played = Played::new();
    played.metallb(NAME, json!({}));
    let done = played.run();
    let applied = starting(&done, "apply ");
    assert_eq!(applied, played.desk.wanted.len());
    assert_eq!(done[applied], "convert true");
    assert_eq!(starting(&done, "clear "), LEFTOVERS.len());
    assert_eq!(done.last().unwrap(), "say metallb Available Upgradeable");
    assert_eq!(played.run(), [""; 0]);
    assert_eq!(played.desk.deadline(played.now), None);
}

#[test]
fn metallb_1_8_a_wrong_name_is_told_and_nothing_is_done() {
    let mut played = Played::new();
    played.metallb("other", json!({}));
    assert_eq!(played.run(), ["say other Degraded"]);
    let said = &played.desk.metallbs["other"]["status"]["conditions"][3];
    assert_eq!(said["reason"], "IncorrectMetalLBResourceName");
}

#[test]
fn a_peer_that_somebody_elses_frr_has_is_told_for_as_long_as_a_speaker_says_so() {
    let mut played = Played::new();
    played.metallb(NAME, json!({}));
    played.run();
    let judge = |played: &mut Played, node: &str, summary: &str| {
        let path = played.desk.judgements().path;
        let status = json!({"errorSummary": summary});
        let state = json!({"metadata": {"name": node}, "status": status});
        played.desk.take(&path, Told::Put(state));
    };
    let why = Obstacle::ForeignConfiguration("frr/edge".to_owned());
    let told = format!("BGPPeer metallb-system/tor: {why}");
    let summary = format!("configuration error: something else\nconfiguration error: {told}");
    judge(&mut played, "speaker-n1", &summary);
    judge(&mut played, "speaker-n2", &summary);
    judge(
        &mut played,
        "speaker-n3",
        "configuration error: something else",
    );
    assert_eq!(played.run(), ["say metallb Available Upgradeable Degraded"]);
    let said = played.desk.metallbs[NAME]["status"]["conditions"][3].clone();
    assert_eq!(said["reason"], "ForeignBGPSpeaker");
    assert_eq!(said["message"], told);
    judge(&mut played, "speaker-n1", "");
    assert_eq!(played.run(), [""; 0], "another node still says so");
    let path = played.desk.judgements().path;
    let gone = Told::Gone(NAMESPACE.to_owned(), "speaker-n2".to_owned());
    played.desk.take(&path, gone);
    assert_eq!(played.run(), ["say metallb Available Upgradeable"]);
}

#[test]
fn what_somebody_changed_is_put_right_and_what_changes_by_itself_is_left_alone() {
    let mut played = Played::new();
    played.metallb(NAME, json!({}));
    played.run();
    played.news.clear();
    played.edit(DEPLOYMENT, |object| {
        object["metadata"]["managedFields"] = json!([1])
    });
    assert_eq!(played.run(), [""; 0]);
    played.edit(DEPLOYMENT, |object| object["spec"]["replicas"] = json!(5));
    assert_eq!(starting(&played.run(), "apply Deployment controller"), 1);
    let repaired = News::Repaired("Deployment controller".to_owned());
    assert!(played.news.contains(&repaired), "{:?}", played.news);
    played.now += Span::s(1);
    played.vanish(DEPLOYMENT);
    assert_eq!(starting(&played.run(), "apply Deployment controller"), 1);
}

#[test]
fn who_changes_an_object_again_and_again_is_answered_more_and_more_slowly() {
    let mut played = Played::new();
    played.metallb(NAME, json!({}));
    played.run();
    let mut waits = Vec::new();
    for replicas in 2..10 {
        played.edit(DEPLOYMENT, |object| {
            object["spec"]["replicas"] = json!(replicas)
        });
        let begun = played.now;
        if let Some(due) = played.desk.deadline(played.now) {
            played.now = played.now.max(due);
        }
        assert_eq!(starting(&played.run(), "apply Deployment controller"), 1);
        waits.push(played.now.since(begun).ns() / 1_000_000_000);
    }
    assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 32]);
    played.now += Span::s(400);
    played.edit(DEPLOYMENT, |object| object["spec"]["replicas"] = json!(0));
    let done = played.run();
    assert_eq!(starting(&done, "apply Deployment controller"), 1, "at once");
}

#[test]
fn the_conversion_is_looked_at_every_ten_seconds() {
    let mut played = Played::new();
    played.metallb(NAME, json!({}));
    assert_eq!(starting(&played.run(), "convert true"), 1);
    played.news.clear();
    played.now += Span::ms(9_999);
    assert_eq!(played.run(), [""; 0]);
    played.now += Span::ms(1);
    assert_eq!(played.run(), ["convert true"], "it was right");
    assert_eq!(played.news, []);
    played.now += Span::s(10);
    let request = played.desk.next(played.now).unwrap();
    played.answer(&request, Ok(Done::Is(json!({}))));
    assert_eq!(played.news, [News::Repaired(CRD.to_owned())]);
    assert_eq!(played.run(), [""; 0]);
    played.gone(NAME);
    played.now += Span::s(10);
    assert_eq!(starting(&played.run(), "convert true"), 0);
}

#[test]
fn pods_that_are_missing_are_told_until_they_are_there() {
    let mut played = Played::new();
    played.metallb(NAME, json!({}));
    played.run();
    played.edit(DEPLOYMENT, |object| {
        object["status"]["availableReplicas"] = json!(0)
    });
    assert_eq!(played.run(), ["say metallb Progressing"]);
    played.edit(DEPLOYMENT, |object| {
        object["status"]["availableReplicas"] = json!(1)
    });
    assert_eq!(played.run(), ["say metallb Available Upgradeable"]);
}

#[test]
fn a_resource_that_cannot_be_read_leaves_everything_as_it_is() {
    let mut played = Played::new();
    played.metallb(NAME, json!({"logLevel": "debug"}));
    played.run();
    played.metallb(NAME, json!({"bgpBackend": "bird"}));
    assert_eq!(played.run(), ["say metallb Degraded"]);
    let said = &played.desk.metallbs[NAME]["status"]["conditions"][3];
    let why = "MetalLB metallb-system/metallb: spec.bgpBackend: \"bird\" is none of native, frr, frr-k8s, frr-k8s-external";
    assert_eq!(said["message"], why);
    played.edit(DEPLOYMENT, |object| object["spec"]["replicas"] = json!(5));
    assert_eq!(
        played.run(),
        ["apply Deployment controller"],
        "the last good one is kept up"
    );
}

#[test]
fn after_a_start_with_a_bad_resource_nothing_is_taken_away() {
    let mut played = Played::new();
    played.metallb(NAME, json!({"bgpBackend": "bird"}));
    let told = Told::Put(json!({"metadata": {"name": "controller"}}));
    played
        .desk
        .take("/apis/apps/v1/namespaces/metallb-system/deployments", told);
    assert_eq!(played.run(), ["say metallb Degraded"]);
}

#[test]
fn a_failure_is_told_once_and_tried_again_later() {
    let mut played = Played::new();
    played.metallb(NAME, json!({}));
    let failure = || Hindrance::Failed(Failure::told(403, "Forbidden".into(), "no".into(), None));
    loop {
        let request = played.desk.next(played.now).unwrap();
        if matches!(&request, Request::Apply(object) if object.kind == "DaemonSet") {
            played.answer(&request, Err(failure()));
            break;
        }
        let answer = played.obey(&request);
        played.answer(&request, Ok(answer));
    }
    let done = played.run();
    assert_eq!(starting(&done, "apply DaemonSet"), 0, "{done:?}");
    assert_eq!(done.last().unwrap(), "say metallb Degraded");
    let said = &played.desk.metallbs[NAME]["status"]["conditions"][3];
    assert_eq!(said["message"], "DaemonSet speaker: no (403)");
    played.now = played.desk.deadline(played.now).unwrap();
    let request = played.desk.next(played.now).unwrap();
    played.news.clear();
    played.answer(&request, Err(failure()));
    assert_eq!(played.news, []);
    played.now = played.desk.deadline(played.now).unwrap();
    assert_eq!(
        played.run().last().unwrap(),
        "say metallb Available Upgradeable"
    );
}

#[test]
fn what_went_by_itself_is_no_trouble_any_more() {
    let mut played = Played::new();
    let policies = "/apis/networking.k8s.io/v1/namespaces/metallb-system/networkpolicies";
    let told = Told::Put(json!({"metadata": {"name": "default-deny"}}));
    played.desk.take(policies, told);
    played.metallb(NAME, json!({}));
    loop {
        let request = played.desk.next(played.now).unwrap();
        if matches!(request, Request::Delete { .. }) {
            let failure = Failure::told(403, "Forbidden".into(), "no".into(), None);
            played.answer(&request, Err(Hindrance::Failed(failure)));
            break;
        }
        let answer = played.obey(&request);
        played.answer(&request, Ok(answer));
    }
    assert_eq!(played.run().last().unwrap(), "say metallb Degraded");
    played.vanish(&format!("{policies}/default-deny"));
    assert_eq!(played.run(), ["say metallb Available Upgradeable"]);
    assert_eq!(played.desk.deadline(played.now), None);
}

#[test]
fn another_selector_is_waited_for_and_tried_again_soon() {
    let mut played = Played::new();
    played.metallb(NAME, json!({}));
    loop {
        let request = played.desk.next(played.now).unwrap();
        if matches!(&request, Request::Apply(object) if object.kind == "DaemonSet") {
            played.answer(&request, Err(Hindrance::Replacing));
            break;
        }
        let answer = played.obey(&request);
        played.answer(&request, Ok(answer));
    }
    played.news.clear();
    assert_eq!(
        played.run().last().unwrap(),
        "say metallb Progressing",
        "nothing is wrong"
    );
    let said = &played.desk.metallbs[NAME]["status"]["conditions"][2];
    let what = "DaemonSet speaker: it selected other pods, and is made anew";
    assert_eq!(said["message"], what);
    assert_eq!(
        played.desk.deadline(played.now),
        Some(played.now + Span::s(1))
    );
    played.now += Span::s(1);
    assert_eq!(
        played.run().last().unwrap(),
        "say metallb Available Upgradeable"
    );
}

#[test]
fn pods_of_before_go_one_by_one_as_ours_come() {
    let mut played = Played::new();
    for node in ["a", "b"] {
        played
            .desk
            .take(PODS, Told::Put(json!({"metadata": {"name": node}})));
    }
    let available =
        |count: u64| move |set: &mut Value| set["status"]["numberAvailable"] = json!(count);
    played.metallb(NAME, json!({}));
    let ended = |done: &[String]| -> Vec<String> {
        let ended = done.iter().filter(|one| one.ends_with(" of pods"));
        ended.cloned().collect()
    };
    loop {
        let request = played.desk.next(played.now).unwrap();
        let is_speaker = matches!(&request, Request::Apply(object) if object.kind == "DaemonSet");
        let mut answer = played.obey(&request);
        if let (true, Done::Is(object)) = (is_speaker, &mut answer) {
            // Nobody has looked at the new one yet.
            object["status"] = Value::Null;
        }
        played.answer(&request, Ok(answer));
        if matches!(&request, Request::Say { .. }) {
            break;
        }
    }
    assert_eq!(
        ended(&played.run()),
        [""; 0],
        "how many there are to be is not known"
    );
    played.edit(DAEMON_SET, |set| {
        set["status"] = rolled_out();
        set["status"]["numberAvailable"] = json!(0);
    });
    assert_eq!(ended(&played.run()), ["delete a of pods"]);
    assert_eq!(ended(&played.run()), [""; 0], "it is still there");
    played.vanish(&format!("{PODS}/a"));
    assert_eq!(ended(&played.run()), [""; 0], "its node has no speaker yet");
    played.edit(DAEMON_SET, available(1));
    assert_eq!(ended(&played.run()), ["delete b of pods"]);
    played.vanish(&format!("{PODS}/b"));
    let said = &played.desk.metallbs[NAME]["status"]["conditions"][0];
    assert_eq!(said["status"], "False");
    played.edit(DAEMON_SET, available(2));
    assert_eq!(
        played.run().last().unwrap(),
        "say metallb Available Upgradeable"
    );
}

#[test]
fn without_the_resource_everything_goes_in_its_order() {
    let mut played = Played::new();
    played.metallb(NAME, json!({}));
    played.run();
    played.gone(NAME);
    let first = [
        "delete metallb-webhook-configuration of validatingwebhookconfigurations",
        "convert false",
        "end speaker of daemonsets",
        "end controller of deployments",
    ];
    let mut done = played.run();
    done[2..].sort_by_key(|one| one.contains("controller"));
    assert_eq!(done, first);
    played.vanish(DEPLOYMENT);
    assert_eq!(played.run(), [""; 0], "speakers are still there");
    played.vanish("/apis/apps/v1/namespaces/metallb-system/daemonsets/speaker");
    let done = played.run();
    let left = [
        "delete metallb-webhook-cert of secrets",
        "delete heliograph-controller of leases",
    ];
    assert_eq!(done[..2], left);
    assert_eq!(starting(&done[2..], "delete "), 6, "{done:?}");
    assert!(played.desk.live.is_empty());
    assert_eq!(played.run(), [""; 0]);
    played.metallb(NAME, json!({}));
    let done = played.run();
    assert_eq!(starting(&done, "convert true"), 1, "anew");
    assert_eq!(done.last().unwrap(), "say metallb Available Upgradeable");
}

#[test]
fn a_removal_goes_on_where_another_process_ended() {
    let mut played = Played::new();
    let told = Told::Put(json!({"metadata": {"name": "metallb-excludel2"}}));
    played
        .desk
        .take("/api/v1/namespaces/metallb-system/configmaps", told);
    let done = played.run();
    assert_eq!(
        done.last().unwrap(),
        "delete metallb-excludel2 of configmaps"
    );
}

#[test]
fn webhooks_of_another_namespace_are_not_ours() {
    let mut played = Played::new();
    let service = json!({"namespace": "elsewhere"});
    let webhooks = json!([{"clientConfig": {"service": service}}]);
    let object =
        json!({"metadata": {"name": "metallb-webhook-configuration"}, "webhooks": webhooks});
    let collection = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    played.desk.take(collection, Told::Put(object));
    assert_eq!(played.run(), [""; 0]);
}

#[test]
fn what_is_not_wanted_any_more_is_taken_away() {
    let mut played = Played::new();
    let told = Told::Put(json!({"metadata": {"name": "default-deny"}}));
    played.desk.take(
        "/apis/networking.k8s.io/v1/namespaces/metallb-system/networkpolicies",
        told,
    );
    played.metallb(NAME, json!({}));
    assert_eq!(starting(&played.run(), "delete default-deny"), 1);
}
