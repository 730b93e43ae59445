//! The whole of it over real sockets, against a server that keeps three objects and the order of what it was asked.

use super::*;
use crate::api::server_tests::Server;
use crate::report::events::Events;
use crate::tls::client_tests::{ask, connect};
use crate::tls::{Options, TlsArgs};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Method, StatusCode, Uri};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

const SECRETS: &str = "/api/v1/namespaces/metallb-system/secrets";
const SECRET: &str = "/api/v1/namespaces/metallb-system/secrets/metallb-webhook-cert";
const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/metallb-webhook-configuration";
const CRD: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/bgppeers.metallb.io";
const COLLECTIONS: [&str; 3] = [
    SECRETS,
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
];
const NAME: &str = "metallb-webhook-service.metallb-system.svc";

/// Objects by path, and the writes that came, in order.
#[derive(Default)]
struct Kept {
    objects: BTreeMap<String, Value>,
    writes: Vec<String>,
    version: u64,
}

impl Kept {
    fn put(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["name"] = json!(path.rsplit('/').next());
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    fn list(&self, collection: &str) -> Value {
        let all = self.objects.iter();
        let items = all.filter(|(path, _)| path.starts_with(collection));
        let items: Vec<&Value> = items.map(|(_, object)| object).collect();
        json!({"metadata": {"resourceVersion": self.version.to_string()}, "items": items})
    }

    fn answer(&mut self, method: &Method, path: &str, body: &[u8]) -> (u16, Value) {
        let found = self.objects.get(path).cloned();
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        if *method != Method::GET {
            self.writes.push(format!("{method} {path}"));
        }
        match (method.as_str(), found) {
            ("GET", Some(object)) => (200, object),
            ("GET", None) if COLLECTIONS.contains(&path) => (200, self.list(path)),
            ("POST", _) if path == SECRETS && self.objects.contains_key(SECRET) => {
                (409, json!({"kind": "Status", "reason": "AlreadyExists"}))
            }
            ("POST", _) if path == SECRETS => (201, self.put(SECRET, body)),
            ("PATCH", Some(mut object)) => match patched(&mut object, &body) {
                Ok(()) => (200, self.put(path, object)),
                Err(code) => (code, json!({"kind": "Status", "reason": "Conflict"})),
            },
            (_, _) => (404, json!({"kind": "Status", "reason": "NotFound"})),
        }
    }
}

/// A JSON patch of `test` and `add`, or a merge patch of `data` that names its version.
fn patched(object: &mut Value, patch: &Value) -> Result<(), u16> {
    let Some(steps) = patch.as_array() else {
        let version = &patch["metadata"]["resourceVersion"];
        if *version != object["metadata"]["resourceVersion"] {
            return Err(409);
        }
        object["data"] = patch["data"].clone();
        return Ok(());
    };
    for step in steps {
        let path = step["path"].as_str().unwrap();
        if step["op"] == "test" {
            let is_same = object.pointer(path) == Some(&step["value"]);
            is_same.then_some(()).ok_or(422u16)?;
            continue;
        }
        let (above, key) = path.rsplit_once('/').unwrap();
        object.pointer_mut(above).unwrap()[key] = step["value"].clone();
    }
    Ok(())
}

/// Every change in a collection after a version, as a watch tells it.
fn watched(kept: Arc<Mutex<Kept>>, uri: &Uri) -> ReceiverStream<Result<String, Infallible>> {
    let (tell, told) = mpsc::channel(16);
    let collection = uri.path().to_owned();
    let version = |text: &str| text.parse::<u64>().unwrap();
    let (_, since) = uri.query().unwrap().split_once("resourceVersion=").unwrap();
    let mut since = version(since);
    tokio::spawn(async move {
        while !tell.is_closed() {
            let mut items = kept.lock().unwrap().list(&collection)["items"].take();
            let of = |item: &Value| version(item["metadata"]["resourceVersion"].as_str().unwrap());
            let items = items.as_array_mut().unwrap();
            items.sort_by_key(of);
            for item in items.iter().filter(|item| of(item) > since) {
                let line = json!({"type": "MODIFIED", "object": item}).to_string() + "\n";
                drop(tell.send(Ok(line)).await);
            }
            since = items.last().map_or(since, of);
            pause(Duration::from_millis(10)).await;
        }
    });
    ReceiverStream::new(told)
}

/// The server, with the objects as `kubectl apply` of the manifests leaves them.
struct Cluster {
    kept: Arc<Mutex<Kept>>,
    server: Server,
}

impl Cluster {
    async fn start() -> Self {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let also = Arc::clone(&kept);
        let router = Router::new().fallback(async move |method: Method, uri: Uri, body: Bytes| {
            if uri
                .query()
                .is_some_and(|query| query.contains("watch=true"))
            {
                return Body::from_stream(watched(Arc::clone(&also), &uri)).into_response();
            }
            let (code, answer) = also.lock().unwrap().answer(&method, uri.path(), &body);
            (StatusCode::from_u16(code).unwrap(), answer.to_string()).into_response()
        });
        let server = Server::start(router).await;
        let cluster = Self { kept, server };
        cluster.replace_manifests();
        cluster
    }

    /// As `kubectl replace` of the shipped manifests, which have no `caBundle`.
    fn replace_manifests(&self) {
        let client = json!({"service": {"name": "metallb-webhook-service"}});
        let webhook = |name: &str| json!({"name": name, "clientConfig": client});
        let webhooks = json!({"metadata": {}, "webhooks": [webhook("a"), webhook("b")]});
        let conversion = json!({"strategy": "Webhook", "webhook": {"clientConfig": client}});
        let crd = json!({"metadata": {}, "spec": {"conversion": conversion}});
        let mut kept = self.kept();
        kept.put(WEBHOOKS, webhooks);
        kept.put(CRD, crd);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }

    /// The PEM text at that place of an object.
    fn pem(&self, path: &str, pointer: &str) -> Option<String> {
        let kept = self.kept();
        let text = kept.objects.get(path)?.pointer(pointer)?.as_str()?;
        Some(String::from_utf8(STANDARD.decode(text).unwrap()).unwrap())
    }

    fn bundles(&self) -> [Option<String>; 3] {
        [
            self.pem(WEBHOOKS, "/webhooks/0/clientConfig/caBundle"),
            self.pem(WEBHOOKS, "/webhooks/1/clientConfig/caBundle"),
            self.pem(CRD, "/spec/conversion/webhook/clientConfig/caBundle"),
        ]
    }

    fn authority(&self) -> String {
        self.pem(SECRET, "/data/ca.crt").unwrap()
    }
}

/// A replica of the controller's webhooks, which ends with the test.
struct Replica {
    address: SocketAddr,
    ready: watch::Receiver<bool>,
    counts: Arc<Counts>,
    running: tokio::task::JoinHandle<Result<()>>,
    _leads: watch::Sender<bool>,
}

impl Replica {
    fn start(cluster: &Cluster, args: WebhookArgs, leads: bool) -> Self {
        let port = {
            let free = std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
            free.local_addr().unwrap().port()
        };
        let tls = Options::read(&TlsArgs::default()).unwrap();
        let mut settings = Settings::resolve(args, "metallb-system", tls);
        settings.port = port;
        let (ready_in, ready) = watch::channel(false);
        let (leads_in, leads) = watch::channel(leads);
        let counts = Arc::<Counts>::default();
        let hooks = Hooks {
            api: cluster.server.api.clone(),
            namespace: "metallb-system".to_owned(),
            settings,
            leads,
            ready: ready_in,
            events: Events::spawn(cluster.server.api.clone(), "metallb-controller", "test"),
            counts: Arc::clone(&counts),
        };
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            ready,
            counts,
            running: tokio::spawn(run(hooks)),
            _leads: leads_in,
        }
    }

    async fn until_ready(&mut self) {
        let ready = self.ready.wait_for(|ready| *ready);
        tokio::time::timeout(Duration::from_secs(10), ready)
            .await
            .expect("never ready")
            .unwrap();
    }

    /// Posts to the conversion as an API server does that trusts `roots`.
    async fn convert(&self, roots: &str) -> std::io::Result<String> {
        let mut stream = connect(self.address, roots, NAME, &[&rustls::version::TLS13]).await?;
        let review = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
            "request": {"uid": "u", "desiredAPIVersion": "metallb.io/v1beta2", "objects": []},
        });
        let review = review.to_string();
        let head = "POST /convert?timeout=10s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
        let request = format!("{head}Content-Length: {}\r\n\r\n{review}", review.len());
        ask(&mut stream, &request).await
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn args() -> WebhookArgs {
    use clap::{Args, Command, FromArgMatches};
    let command = WebhookArgs::augment_args(Command::new("controller"));
    WebhookArgs::from_arg_matches(&command.get_matches_from(["controller"])).unwrap()
}

/// Looks until it holds, for as long as is promised.
async fn within_5_s(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            pause(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), waiting)
        .await
        .expect("not within 5 s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_is_secret_listening_webhooks_conversion_ready() {
    let cluster = Cluster::start().await;
    let mut replica = Replica::start(&cluster, args(), false);
    replica.until_ready().await;
    let writes = cluster.kept().writes.clone();
    let expected = [
        format!("POST {SECRETS}"),
        format!("PATCH {WEBHOOKS}"),
        format!("PATCH {CRD}"),
    ];
    assert_eq!(writes, expected);
    let authority = cluster.authority();
    assert_eq!(cluster.bundles(), [0; 3].map(|_| Some(authority.clone())));
    let answer = replica.convert(&authority).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(replica.counts.requests.load(Ordering::Relaxed), 1);
    assert!(replica.counts.figures().certificate_until_s.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_secret_as_metallbs_manifests_have_it_is_filled() {
    let cluster = Cluster::start().await;
    let empty = json!({"metadata": {"labels": {"app": "metallb"}}});
    cluster.kept().put(SECRET, empty);
    let mut replica = Replica::start(&cluster, args(), false);
    replica.until_ready().await;
    replica.convert(&cluster.authority()).await.unwrap();
    let kept = cluster.kept();
    assert_eq!(kept.objects[SECRET]["metadata"]["labels"]["app"], "metallb");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_secret_of_metallb_is_served_as_it_is() {
    let cluster = Cluster::start().await;
    let data = ["ca.crt", "ca.key", "tls.crt", "tls.key"].map(|file| {
        let path = format!("{}/src/tls/metallb/{file}", env!("CARGO_MANIFEST_DIR"));
        (file, STANDARD.encode(std::fs::read(path).unwrap()))
    });
    let secret = json!({"metadata": {}, "data": BTreeMap::from(data)});
    cluster.kept().put(SECRET, secret.clone());
    let mut replica = Replica::start(&cluster, args(), true);
    replica.until_ready().await;
    assert_eq!(cluster.kept().objects[SECRET]["data"], secret["data"]);
    replica.convert(&cluster.authority()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_replicas_that_start_at_once_both_serve_the_same_authority() {
    let cluster = Cluster::start().await;
    let mut replicas = [0; 2].map(|_| Replica::start(&cluster, args(), false));
    for replica in &mut replicas {
        replica.until_ready().await;
    }
    for replica in &replicas {
        replica.convert(&cluster.authority()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_replace_the_bundles_are_back_within_5_s_whoever_leads() {
    for leads in [true, false] {
        let cluster = Cluster::start().await;
        let mut replica = Replica::start(&cluster, args(), leads);
        replica.until_ready().await;
        cluster.replace_manifests();
        assert_eq!(cluster.bundles(), [None, None, None]);
        within_5_s(|| cluster.bundles().iter().all(Option::is_some)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_was_emptied_gets_back_what_is_served() {
    let cluster = Cluster::start().await;
    let mut replica = Replica::start(&cluster, args(), true);
    replica.until_ready().await;
    let authority = cluster.authority();
    cluster.kept().put(SECRET, json!({"metadata": {}}));
    within_5_s(|| cluster.pem(SECRET, "/data/ca.crt").is_some()).await;
    assert_eq!(cluster.authority(), authority);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_authority_in_the_secret_is_trusted_before_its_certificate_is_shown() {
    let cluster = Cluster::start().await;
    let mut replica = Replica::start(&cluster, args(), false);
    replica.until_ready().await;
    let old = cluster.authority();
    let now = crate::drive::clock::wall().try_into().unwrap();
    let next = super::kept::Kept::new(NAME, now).unwrap();
    cluster
        .kept()
        .put(SECRET, json!({"metadata": {}, "data": next.data()}));
    let new = cluster.authority();
    loop {
        // What callers trust is read first: it may only be ahead of what is shown.
        let bundles = cluster.bundles();
        let trusted = bundles[2].clone().unwrap();
        assert!(replica.convert(&trusted).await.is_ok() || cluster.bundles() != bundles);
        if trusted.contains(&new) && replica.convert(&new).await.is_ok() {
            assert!(
                trusted.contains(&old),
                "who still shows the old one is not believed"
            );
            break;
        }
        pause(Duration::from_millis(20)).await;
    }
    assert!(replica.convert(&old).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_a_folder_are_served_and_nothing_is_written() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let now = crate::drive::clock::wall().try_into().unwrap();
    let identity = tls::self_signed(&[NAME.to_owned()], now).unwrap();
    let args = WebhookArgs {
        keeping: KeepingArgs {
            disable_cert_rotation: true,
            cert_dir: folder.path().to_owned(),
        },
        ..args()
    };
    let mut replica = Replica::start(&cluster, args, true);
    pause(Duration::from_millis(100)).await;
    assert!(!*replica.ready.borrow(), "ready without a certificate");
    std::fs::write(folder.path().join("tls.key"), identity.key_pem()).unwrap();
    std::fs::write(folder.path().join("tls.crt"), identity.chain_pem()).unwrap();
    replica.until_ready().await;
    replica.convert(identity.chain_pem()).await.unwrap();
    assert!(cluster.kept().writes.is_empty());
}
