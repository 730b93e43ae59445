//! Scrapes over real TLS, with an API server that knows three tokens.

use super::*;
use crate::api::Api;
use crate::api::server_tests::Server;
use crate::tls::TlsArgs;
use crate::tls::client_tests::{ask, connect};
use axum::body::Bytes;
use rustls::version::TLS13;
use serde_json::Value;
use speaker_proto::Span;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};

/// An API server that answers the two questions, and counts them.
struct Authority {
    server: Server,
    asked: Arc<AtomicU64>,
}

impl Authority {
    async fn start() -> Self {
        let asked = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&asked);
        let router = Router::new().fallback(async move |review: Bytes| {
            counted.fetch_add(1, Ordering::Relaxed);
            reviewed(serde_json::from_slice(&review).unwrap()).to_string()
        });
        let server = Server::start(router).await;
        Self { server, asked }
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

fn reviewed(mut review: Value) -> Value {
    if review["kind"] == "TokenReview" {
        let user = match review["spec"]["token"].as_str() {
            Some("good") => "prometheus",
            Some("idle") => "nobody",
            _ => {
                review["status"] = json!({"user": {}, "error": "invalid bearer token"});
                return review;
            }
        };
        review["status"] = json!({"authenticated": true, "user": {"username": user}});
        return review;
    }
    let metrics = json!({"path": "/metrics", "verb": "get"});
    assert_eq!(review["spec"]["nonResourceAttributes"], metrics);
    review["status"] = json!({"allowed": review["spec"]["user"] == "prometheus"});
    review
}

struct Scraped {
    address: SocketAddr,
    root: String,
}

impl Scraped {
    async fn start(api: Api) -> Self {
        let address = {
            let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            free.local_addr().unwrap()
        };
        let folder = tempfile::tempdir().unwrap();
        let identity = tls::self_signed(&["controller".to_owned()], today()).unwrap();
        std::fs::write(folder.path().join("tls.crt"), identity.chain_pem()).unwrap();
        std::fs::write(folder.path().join("tls.key"), identity.key_pem()).unwrap();
        let secure = Secure {
            options: Options::read(&TlsArgs::default()).unwrap(),
            folder: Some(CertDir(folder.path().to_owned())),
            name: "controller".to_owned(),
        };
        let page: PageNow = Arc::new(|| Ok("a_figure 1\n".to_owned()));
        let serving = metrics(address, secure, Gate::new(api), page)
            .await
            .unwrap();
        tokio::spawn(async move {
            let _held = folder;
            serving.await
        });
        Self {
            address,
            root: identity.chain_pem().to_owned(),
        }
    }

    /// The answer to a scrape with that `Authorization`.
    async fn get(&self, path: &str, authorization: Option<&str>) -> String {
        let mut stream = loop {
            // Until the folder has been read there is no certificate to shake hands with.
            match connect(self.address, &self.root, "controller", &[&TLS13]).await {
                Ok(stream) => break stream,
                Err(_) => pause(Duration::from_millis(10)).await,
            }
        };
        let header =
            authorization.map_or_else(String::new, |value| format!("Authorization: {value}\r\n"));
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n");
        ask(&mut stream, &request).await.unwrap()
    }
}

#[tokio::test]
async fn who_is_allowed_reads_and_the_answer_is_reused() {
    let authority = Authority::start().await;
    let scraped = Scraped::start(authority.server.api.clone()).await;
    for _ in 0..3 {
        let answer = scraped.get("/metrics", Some("Bearer good")).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("a_figure 1\n"), "{answer}");
    }
    assert_eq!(authority.asked(), 2);
}

#[tokio::test]
async fn refusals_are_the_api_servers_own() {
    let authority = Authority::start().await;
    let scraped = Scraped::start(authority.server.api.clone()).await;
    for (authorization, status, message) in [
        (None, 401, "Unauthorized"),
        (Some("Basic good"), 401, "Unauthorized"),
        (Some("Bearer bad"), 401, "Unauthorized"),
        (
            Some("Bearer idle"),
            403,
            r#"forbidden: User "nobody" cannot get path "/metrics""#,
        ),
    ] {
        let answer = scraped.get("/metrics", authorization).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["message"], message);
        assert_eq!(
            (&body["kind"], &body["code"]),
            (&json!("Status"), &json!(status))
        );
        assert!(!answer.contains("a_figure"));
    }
}

#[tokio::test]
async fn paths_that_are_not_there_are_told_only_to_who_may_read() {
    let authority = Authority::start().await;
    let scraped = Scraped::start(authority.server.api.clone()).await;
    assert!(scraped.get("/", None).await.starts_with("HTTP/1.1 401 "));
    let found = scraped.get("/", Some("Bearer good")).await;
    assert!(found.starts_with("HTTP/1.1 404 "), "{found}");
}

#[tokio::test]
async fn without_an_api_server_who_was_allowed_reads_on_and_nobody_else() {
    let mut authority = Authority::start().await;
    let gate = Gate::new(authority.server.api.clone());
    let start = now();
    gate.admit(start, Some("Bearer good")).await.unwrap();
    authority.server.stop().await;
    let late = start + Span::s(599);
    gate.admit(late, Some("Bearer good")).await.unwrap();
    let unknown = gate.admit(late, Some("Bearer other")).await.unwrap_err();
    assert!(matches!(unknown, Refused::Unasked { .. }), "{unknown:?}");
    assert_eq!(refusal(&unknown).status(), StatusCode::SERVICE_UNAVAILABLE);
    let too_late = start + Span::s(600);
    gate.admit(too_late, Some("Bearer good")).await.unwrap_err();
}
