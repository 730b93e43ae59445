//! Every recorded exchange of a real API server, sent in order, its answer compared.
//!
//! What is outside the double's extent is listed with its reason in [`super::outside`]; a listed exchange that comes out right
//! fails too, so that the list stays true. Its recorded outcome is planted, so that the story goes on.

use crate::hook::Hook;
use crate::http::{Answer, Place};
use crate::matching::Meanings;
use crate::outside::{is_lost, reason};
use crate::server::Server;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

#[test]
fn recorded_exchanges_are_replayed() {
    let wanted = std::env::var("STORY").unwrap_or_default();
    let mut faults = Vec::new();
    let mut count = 0;
    for file in STORIES.iter().filter(|file| file.contains(&wanted)) {
        let mut story = Story::begin(file);
        if !story.server.is_double() && BY_HOOK.contains(file) {
            eprintln!("{file}: left out, a real server does not find the test's webhook");
            continue;
        }
        let text = fs::read_to_string(data(file)).unwrap();
        for line in text.lines() {
            let exchange: Value = serde_json::from_str(line).unwrap();
            if exchange["request"].is_object() {
                count += 1;
                story.tell(&exchange);
            }
        }
        faults.append(&mut story.faults);
    }
    println!(
        "{count} exchanges, {} of them not as they should be",
        faults.len()
    );
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    assert!(
        !wanted.is_empty() || count >= EXCHANGES_MIN,
        "only {count} exchanges"
    );
}

fn data(file: &str) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/apiserver");
    folder.join(format!("{file}.jsonl"))
}

impl Drop for Story {
    fn drop(&mut self) {
        if self.server.is_double() {
            return;
        }
        let path = format!("/api/v1/namespaces/rec-{}", self.file);
        let headers = headers(&self.server, &json!({}));
        let _ = self.server.place().send("DELETE", &path, &headers, b"");
    }
}

struct Story {
    file: &'static str,
    server: Server,
    hook: Hook,
    meanings: Meanings,
    faults: Vec<String>,
}

impl Story {
    fn begin(file: &'static str) -> Self {
        let server = Server::start();
        let place = server.place();
        let namespaces = [format!("rec-{file}"), "rec-metadata".to_owned()];
        for name in namespaces {
            let body = json!({"metadata": {"name": name}}).to_string();
            let headers = headers(&server, &json!({"contentType": "application/json"}));
            place
                .send("POST", "/api/v1/namespaces", &headers, body.as_bytes())
                .unwrap();
        }
        let hook = Hook::start();
        server.place_hook("hook.example.test", hook.address);
        let mut meanings = Meanings::default();
        meanings.bind("<ca>", &hook.bundle);
        meanings.bind("<other-ca>", &hook.other_bundle);
        Self {
            file,
            server,
            hook,
            meanings,
            faults: Vec::new(),
        }
    }

    /// Sends one exchange and judges the answer.
    fn tell(&mut self, exchange: &Value) {
        let name = exchange["name"].as_str().unwrap();
        let user = exchange["request"]["user"].as_str().unwrap_or("admin");
        if !self.server.knows(user) {
            eprintln!("{}/{name}: left out, {user} has no token there", self.file);
            return;
        }
        self.prepare(name);
        let listed = self
            .server
            .is_double()
            .then(|| reason(self.file, name))
            .flatten();
        let mut exchange = exchange.clone();
        let is_refused = exchange["response"]["status"].as_u64() >= Some(400);
        if listed.is_some() && is_refused && exchange["request"]["method"] != "GET" {
            // What a real server refused must leave no trace.
            exchange["request"]["query"]["dryRun"] = json!("All");
        }
        let exchange = &exchange;
        let outcome = self.exchange(exchange);
        let place = format!("{}/{name}", self.file);
        if !self.server.is_double() && is_lost(self.file, name) {
            return;
        }
        match (outcome, listed) {
            (Ok(()), None) => {}
            (Ok(()), Some(why)) => self
                .faults
                .push(format!("{place}: comes out right, but is listed: {why}")),
            (Err(why), None) => {
                self.faults.push(format!("{place}: {why}"));
                self.plant(exchange);
            }
            (Err(_), Some(_)) => self.plant(exchange),
        }
    }

    /// What was done between two exchanges and not recorded.
    fn prepare(&mut self, name: &str) {
        self.hook.expect(name);
        let steps = UNRECORDED
            .iter()
            .filter(|(file, before, ..)| *file == self.file && *before == name);
        for (_, _, method, path, body) in steps {
            if *method == "COMPACT" {
                self.server.compact();
                continue;
            }
            let media = match *method {
                "PATCH" => "application/merge-patch+json",
                _other => "application/json",
            };
            let headers = headers(&self.server, &json!({"contentType": media}));
            let answer = self
                .server
                .place()
                .send(method, path, &headers, body.as_bytes());
            let status = answer.unwrap().status;
            assert!(status < 300, "{method} {path}: {status}");
        }
    }

    fn exchange(&mut self, exchange: &Value) -> Result<(), String> {
        let (request, expected) = (&exchange["request"], &exchange["response"]);
        let mut answer = self.send(request)?;
        let status = json!(answer.status);
        if expected["status"] != status {
            let body = answer.body().unwrap_or_default();
            let body = String::from_utf8_lossy(&body).into_owned();
            let wanted = &expected["status"];
            return Err(format!("status: expected {wanted}, got {status}: {body}"));
        }
        let warnings = json!(answer.header("warning"));
        let expected_warnings = expected.get("warning").cloned().unwrap_or(json!([]));
        self.meanings
            .compare(&expected_warnings, &warnings, "warning")?;
        if expected.get("events").is_some() {
            return self.watch(exchange, &mut answer);
        }
        let bytes = answer.body().map_err(|why| format!("body: {why}"))?;
        let mut body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
        if self.file != "ssa" {
            strip(&mut body);
        }
        self.meanings.compare(&expected["body"], &body, "body")
    }

    fn send(&mut self, request: &Value) -> Result<Answer, String> {
        self.refresh(request);
        let text = |key: &str| request[key].as_str().unwrap_or_default();
        let mut path = self.meanings.fill_text(text("path"));
        let query = request["query"].as_object().into_iter().flatten();
        let pairs: Vec<_> = query
            .map(|(key, value)| {
                let value = self.meanings.fill_text(value.as_str().unwrap_or_default());
                format!("{}={}", encode(key), encode(&value))
            })
            .collect();
        if !pairs.is_empty() {
            path = format!("{path}?{}", pairs.join("&"));
        }
        let body = match request.get("body") {
            None => Vec::new(),
            Some(Value::String(body)) => {
                big(body).unwrap_or_else(|| self.meanings.fill_text(body).into_bytes())
            }
            Some(body) => self.meanings.fill(body).to_string().into_bytes(),
        };
        let headers = headers(&self.server, request);
        let place: Place = self.server.place();
        place
            .send(text("method"), &path, &headers, &body)
            .map_err(|why| format!("failed to send: {why}"))
    }

    /// The newest resourceVersion, and one that is yet to come, where a request wants them.
    fn refresh(&mut self, request: &Value) {
        let told = request.to_string();
        // The revision of a deletion shows in no answer, but a later request may begin there.
        let from = request["query"]["resourceVersion"]
            .as_str()
            .unwrap_or_default();
        if from.starts_with("<rv:")
            && self.meanings.get(from).is_none()
            && !from.contains(['+', 'c'])
        {
            self.meanings
                .bind(from, &self.server.revision().to_string());
        }
        if !told.contains("<rv:current>") && !told.contains("+1000000>") {
            return;
        }
        let newest = self.server.revision();
        self.meanings.bind("<rv:current>", &newest.to_string());
        for word in ["<rv:+1000000>", "<rv:last+1000000>"] {
            self.meanings.bind(word, &(newest + 1_000_000).to_string());
        }
    }

    fn watch(&mut self, exchange: &Value, answer: &mut Answer) -> Result<(), String> {
        for during in exchange["during"].as_array().into_iter().flatten() {
            let name = during["name"].as_str().unwrap();
            self.exchange(during)
                .map_err(|why| format!("during {name}: {why}"))?;
        }
        let response = &exchange["response"];
        let events = response["events"].as_array().into_iter().flatten();
        for (at, expected) in events.enumerate() {
            let event = answer.line().map_err(|why| format!("event {at}: {why}"))?;
            if event.is_none() && at > 0 && expected["type"] == "BOOKMARK" {
                // The server says the last bookmark once or twice.
                return Ok(());
            }
            let mut event = event.ok_or_else(|| format!("event {at}: the watch ended before"))?;
            strip(&mut event["object"]);
            self.meanings
                .compare(expected, &event, &format!("event {at}"))?;
        }
        if response["endedByServer"] == true {
            match answer.line().map_err(|why| format!("end: {why}"))? {
                None => {}
                // The server may say the last bookmark twice.
                Some(event) if event["type"] == "BOOKMARK" => {}
                Some(event) => return Err(format!("unexpected event {event}")),
            }
        }
        Ok(())
    }

    /// Makes the double's state what the real server's was after an exchange.
    fn plant(&mut self, exchange: &Value) {
        let exchanges = exchange["during"].as_array().into_iter().flatten();
        for exchange in exchanges.chain([exchange]) {
            let method = exchange["request"]["method"].as_str().unwrap_or_default();
            let object = &exchange["response"]["body"];
            let is_written = matches!(method, "POST" | "PUT" | "PATCH")
                && exchange["response"]["status"]
                    .as_u64()
                    .is_some_and(|status| status < 300)
                && exchange["request"]["query"]["dryRun"].is_null()
                && object["metadata"]["resourceVersion"].is_string();
            if is_written {
                self.server.plant(&mut self.meanings, object);
            }
        }
    }
}

fn headers(server: &Server, request: &Value) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    if request["headers"]["User-Agent"].is_null() {
        headers.push(("User-Agent".to_owned(), "recorder".to_owned()));
    }
    let user = request["user"].as_str().unwrap_or("admin");
    headers.extend(server.credentials(user));
    for (name, key) in [("Content-Type", "contentType"), ("Accept", "accept")] {
        if let Some(value) = request[key].as_str() {
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
    let more = request["headers"].as_object().into_iter().flatten();
    headers.extend(
        more.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())),
    );
    headers
}

/// `managedFields` are recorded in one story alone.
fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("managedFields");
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Bodies that were too big to record.
fn big(word: &str) -> Option<Vec<u8>> {
    let map = |key: &str, value: usize| {
        let mut object = json!({"metadata": {"name": "big"}});
        let text = json!({"a": "x".repeat(value)});
        if key == "data" {
            object["data"] = text;
        } else {
            object["metadata"]["annotations"] = text;
        }
        Some(object.to_string().into_bytes())
    };
    match word {
        "<a ConfigMap of 3 MiB and 100 bytes>" => map("data", (3 << 20) + 100),
        "<a ConfigMap of 1 MiB and 1 byte of data>" => map("data", (1 << 20) + 1),
        "<a ConfigMap with 300 kB of annotations>" => map("annotations", 300_000),
        _other => None,
    }
}

const STORIES: &[&str] = &[
    "metadata",
    "writes",
    "conflicts",
    "patches",
    "status",
    "lists",
    "watches",
    "services",
    "crds",
    "ssa",
    "admission",
    "conversion",
    "leases",
    "events",
    "rbac",
    "errors",
    "discovery",
    "controllers",
];

/// Stories with a webhook, whose host only the double can be told.
const BY_HOOK: &[&str] = &["admission", "conversion"];

/// Story, exchange, and what was done before it: seen from what comes after.
const UNRECORDED: &[(&str, &str, &str, &str, &str)] = &[
    (
        "conflicts",
        "put-after-delete",
        "DELETE",
        "/apis/metallb.io/v1beta1/namespaces/rec-conflicts/ipaddresspools/gone",
        "",
    ),
    (
        "conflicts",
        "put-after-recreate",
        "POST",
        "/apis/metallb.io/v1beta1/namespaces/rec-conflicts/ipaddresspools",
        r#"{"apiVersion":"metallb.io/v1beta1","kind":"IPAddressPool","metadata":{"name":"gone"},"spec":{"addresses":["192.0.2.16/28"]}}"#,
    ),
    (
        "writes",
        "del-collection",
        "POST",
        "/api/v1/namespaces/rec-writes/configmaps",
        r#"{"metadata":{"name":"many-0","labels":{"many":"1"}},"data":{"a":"1"}}"#,
    ),
    (
        "writes",
        "del-collection",
        "POST",
        "/api/v1/namespaces/rec-writes/configmaps",
        r#"{"metadata":{"name":"many-1","labels":{"many":"1"}},"data":{"a":"1"}}"#,
    ),
    (
        "writes",
        "del-collection",
        "POST",
        "/api/v1/namespaces/rec-writes/configmaps",
        r#"{"metadata":{"name":"many-2","labels":{"many":"1"}},"data":{"a":"1"}}"#,
    ),
    (
        "lists",
        "rv-too-large",
        "POST",
        "/api/v1/namespaces/default/configmaps",
        r#"{"metadata":{"name":"elsewhere"}}"#,
    ),
    (
        "lists",
        "expire-page-2",
        "PATCH",
        "/api/v1/namespaces/rec-lists/configmaps/o2",
        r#"{"data":{"n":"2"}}"#,
    ),
    (
        "lists",
        "expire-page-2",
        "POST",
        "/api/v1/namespaces/default/configmaps",
        r#"{"metadata":{"name":"after"}}"#,
    ),
    ("lists", "expire-page-2", "COMPACT", "", ""),
    (
        "watches",
        "send-initial-events-cr",
        "POST",
        "/api/v1/namespaces/default/configmaps",
        r#"{"metadata":{"name":"later"}}"#,
    ),
    (
        "rbac",
        "named-ok",
        "POST",
        "/api/v1/namespaces/rec-rbac/configmaps",
        r#"{"metadata":{"name":"one"},"data":{"a":"1"}}"#,
    ),
    (
        "errors",
        "404-path",
        "POST",
        "/api/v1/namespaces/rec-errors/configmaps",
        r#"{"metadata":{"name":"one"},"data":{"a":"1"}}"#,
    ),
    (
        "crds",
        "table-pools",
        "POST",
        "/apis/metallb.io/v1beta1/namespaces/rec-crds/l2advertisements",
        r#"{"apiVersion":"metallb.io/v1beta1","kind":"L2Advertisement","metadata":{"name":"full"},"spec":{"ipAddressPools":["a","b"],"ipAddressPoolSelectors":[{"matchLabels":{"a":"b"}}],"interfaces":["eth0"],"nodeSelectors":[{"matchLabels":{"n":"1"}}]}}"#,
    ),
    (
        "crds",
        "table-pools",
        "POST",
        "/apis/metallb.io/v1beta1/namespaces/rec-crds/bgpadvertisements",
        r#"{"apiVersion":"metallb.io/v1beta1","kind":"BGPAdvertisement","metadata":{"name":"full"},"spec":{"ipAddressPools":["a"],"peers":["d"],"nodeSelectors":[{"matchLabels":{"n":"1"}}]}}"#,
    ),
];

/// Stories shrink by accident: fewer exchanges than these are a mistake.
const EXCHANGES_MIN: usize = 600;
