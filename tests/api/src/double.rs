//! The double as a test holds it: started, stopped, asked, and told what should go wrong.

mod birth;
mod renewal;

use crate::answer::Body;
use crate::faults::Rule;
use crate::listen::{Logged, Shared, accept};
use crate::post::Places;
use crate::route::{Request, query};
use crate::serve::Outcome;
use crate::store::{Key, Store};
use crate::user::Users;
use crate::value::text;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use birth::{Identity, furnish};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};

/// What a double is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 for any.
    pub address: SocketAddr,
    /// HTTPS with a certificate of its own. Kubernetes' own clients send no token without.
    pub is_tls: bool,
    /// Folder of CustomResourceDefinitions, which are there from the beginning.
    pub crds: Option<PathBuf>,
    /// Tokens.
    pub users: Users,
    /// Where webhooks are.
    pub places: Places,
    /// Makes uids.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            is_tls: true,
            crds: None,
            users: Users::new(),
            places: Places::new(),
            seed: 0x51ab_0001_d0ab_1e00,
        }
    }
}

/// One write, as the store has it.
#[derive(Clone, Debug)]
pub struct Written {
    /// The revision that it made.
    pub revision: u64,
    /// Of which object.
    pub key: Key,
    /// The object from then on; `None` if it is gone.
    pub object: Option<Arc<Value>>,
}

/// A running double. It stops when it is dropped.
pub struct Double {
    shared: Arc<Shared>,
    address: SocketAddr,
    identity: Option<Identity>,
    runtime: Option<Runtime>,
    folder: tempfile::TempDir,
}

impl Double {
    /// Starts a double with a young cluster.
    ///
    /// # Errors
    /// If the address cannot be listened on, or a definition cannot be read.
    pub fn start(options: Options) -> io::Result<Self> {
        let mut store = Store::new(options.seed, options.users);
        furnish(&mut store, options.crds.as_deref())?;
        let mut double = Self {
            shared: Arc::new(Shared::new(store, options.places)),
            address: options.address,
            identity: options
                .is_tls
                .then(|| Identity::make(options.address))
                .transpose()?,
            runtime: None,
            folder: tempfile::tempdir()?,
        };
        double.resume()?;
        Ok(double)
    }

    /// Breaks all connections and listens no more. Objects stay.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Listens again on the same port, with the same objects.
    ///
    /// # Errors
    /// If the port was taken meanwhile.
    pub fn resume(&mut self) -> io::Result<()> {
        self.stop();
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .enable_all()
            .build()?;
        let listener = bind(self.address)?;
        listener.set_nonblocking(true)?;
        self.address = listener.local_addr()?;
        let tls = self
            .identity
            .as_ref()
            .map(|identity| identity.acceptor.clone());
        let shared = Arc::clone(&self.shared);
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener)
                .expect("the listener is in non-blocking mode and the runtime has I/O");
            accept(listener, tls, shared).await;
        });
        self.runtime = Some(runtime);
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Such as `http://127.0.0.1:40123`.
    pub fn url(&self) -> String {
        let scheme = if self.identity.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.address)
    }

    /// Writes a kubeconfig for a user who has a token, and returns its path.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn kubeconfig(&self, user: &str) -> io::Result<PathBuf> {
        let name: String = user
            .chars()
            .map(|letter| {
                if letter.is_alphanumeric() {
                    letter
                } else {
                    '-'
                }
            })
            .collect();
        let path = self.folder.path().join(format!("{name}.kubeconfig"));
        fs::write(&path, self.kubeconfig_text(user))?;
        Ok(path)
    }

    /// The same as text. A user without a token gets none in it.
    pub fn kubeconfig_text(&self, user: &str) -> String {
        let mut cluster = json!({"server": self.url()});
        if let Some(identity) = &self.identity {
            let certificate = STANDARD.encode(&identity.certificate);
            cluster["certificate-authority-data"] = json!(certificate);
        }
        let store = self.shared.store();
        let token = store.users.token(user).unwrap_or_default();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "double",
            "clusters": [{"name": "double", "cluster": cluster}],
            "contexts": [{"name": "double", "context": {"cluster": "double", "user": user}}],
            "users": [{"name": user, "user": {"token": token}}],
        });
        config.to_string()
    }

    /// Sends a request past the network, as the administrator. Answers with the status and the body.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> (u16, Value) {
        self.request_by("admin", method, path, (content_type, body))
    }

    /// The same by whoever has that token; `what` is the media type and the body.
    pub fn request_by(
        &self,
        token: &str,
        method: &str,
        path: &str,
        what: (&str, &Value),
    ) -> (u16, Value) {
        let (content_type, body) = what;
        let (path, asked) = path.split_once('?').unwrap_or((path, ""));
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query(asked),
            content_type: content_type.to_owned(),
            accept: String::new(),
            agent: "test".to_owned(),
            token: Some(token.to_owned()),
            body: bytes,
            now: Timestamp::now(),
        };
        let outcome = self.wait_for(&request);
        match outcome {
            Outcome::Answer(answer) => match answer.body {
                Body::Json(value) => (answer.code, value),
                Body::Text(text) => (answer.code, json!(text)),
            },
            Outcome::Watch(_) | Outcome::Ask(_) => (0, Value::Null),
        }
    }

    fn wait_for(&self, request: &Request) -> Outcome {
        let Some(runtime) = &self.runtime else {
            return Outcome::Answer(crate::answer::Answer::text("stopped"));
        };
        // In a thread of its own, so that a test may itself run inside a runtime.
        std::thread::scope(|scope| {
            let work = scope.spawn(|| runtime.block_on(self.shared.serve(request)));
            work.join().expect("serving a request does not panic")
        })
    }

    /// Reads an object or a list by path. None if it is not there.
    pub fn get(&self, path: &str) -> Option<Value> {
        let (code, body) = self.request("GET", path, "", &Value::Null);
        (code == 200).then_some(body)
    }

    /// Makes an object, or replaces all of it but the status; `object` has its kind, name and namespace. Answers as the server does.
    pub fn put(&self, object: &Value) -> (u16, Value) {
        let path = self.path(object);
        let (place, name) = path.rsplit_once('/').unwrap_or(("", ""));
        let mut object = object.clone();
        match self.get(&path) {
            None => self.request("POST", place, JSON, &object),
            Some(there) if !name.is_empty() => {
                object["metadata"]["resourceVersion"] =
                    there["metadata"]["resourceVersion"].clone();
                self.request("PUT", &path, JSON, &object)
            }
            Some(_) => (0, Value::Null),
        }
    }

    /// Deletes an object by path.
    pub fn delete(&self, path: &str) -> u16 {
        self.request("DELETE", path, "", &Value::Null).0
    }

    /// The path of an object of a served kind; of another kind, nothing.
    pub fn path(&self, object: &Value) -> String {
        let store = self.shared.store();
        let Some((kind, version)) = store.kinds.of(object) else {
            return String::new();
        };
        let root = match kind.group.as_str() {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        };
        let place = match object["metadata"]["namespace"].as_str() {
            Some(namespace) if kind.is_namespaced => format!("/namespaces/{namespace}"),
            None if kind.is_namespaced => "/namespaces/default".to_owned(),
            _cluster => String::new(),
        };
        let name = text(&object["metadata"]["name"]);
        format!("{root}{place}/{}/{name}", kind.plural)
    }

    /// Puts an object into the store as it is, unjudged: what a real server did that this one does not.
    pub fn plant(&self, key: Key, object: Value) -> Value {
        let mut store = self.shared.store();
        let object = store.put(key, object);
        let revision = store.revision();
        drop(store);
        self.shared.announce(revision);
        (*object).clone()
    }

    /// What was written after a revision, oldest first; `None` if the store has forgotten some of it.
    pub fn written(&self, after: u64) -> Option<Vec<Written>> {
        let store = self.shared.store();
        let changes = store.since(after)?.map(|change| Written {
            revision: change.revision,
            key: change.key.clone(),
            object: change.after.clone(),
        });
        Some(changes.collect())
    }

    /// The newest revision.
    pub fn revision(&self) -> u64 {
        self.shared.store().revision()
    }

    /// The requests so far, oldest first.
    pub fn requests(&self) -> Vec<Logged> {
        self.shared.log().clone()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        self.shared.log().clear();
    }

    /// Sets what goes wrong from now on, in place of what was set before.
    pub fn faults(&self, rules: Vec<Rule>, seed: u64) {
        self.shared.set_faults(rules, seed);
    }

    /// Forgets all changes, so that every watch that resumes is too old.
    pub fn compact(&self) {
        self.shared.store().compact();
    }

    /// Serves a kind no more, as a server of an older version that never had it.
    pub fn unlearn(&self, group: &str, plural: &str) {
        self.shared.store().kinds.unlearn(group, plural);
    }

    /// Says where a webhook is from now on.
    pub fn place(&self, host: &str, address: SocketAddr) {
        self.shared.places().insert(host.to_owned(), address);
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Connections of the run before may keep the port for a moment.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let mut tries = 0;
    loop {
        match TcpListener::bind(address) {
            Err(why) if why.kind() == io::ErrorKind::AddrInUse && tries < BIND_TRIES => {
                tries += 1;
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

const JSON: &str = "application/json";

/// Enough for a handful of clients; the machine has other work.
const WORKERS: usize = 2;

/// Two seconds.
const BIND_TRIES: u32 = 100;
