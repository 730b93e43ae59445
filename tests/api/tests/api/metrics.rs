//! Metrics of the real controller by HTTPS: who reads them, and who does while there is no API server.

use crate::cluster::free;
use crate::http::Place;
use crate::webhooks::cluster::{Cluster, Replica};
use api_tests::Double;
use rcgen::{CertificateParams, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::sync::Arc;

#[test]
fn who_may_read_metrics_reads_and_nobody_else() {
    let cluster = Cluster::start();
    let scraped = Scraped::start(&cluster);
    for (token, status, message) in [
        ("", 401, "Unauthorized"),
        ("stolen", 401, "Unauthorized"),
        (
            "idle-token",
            403,
            "forbidden: User \"idle\" cannot get path \"/metrics\"",
        ),
    ] {
        let (code, body) = scraped.get(token);
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((code, body["message"].as_str()), (status, Some(message)));
    }
    let (code, page) = scraped.get("prometheus-token");
    assert_eq!(code, 200, "{page}");
    for name in [
        "metallb_k8s_client_config_stale_bool",
        "heliograph_webhook_requests_total",
    ] {
        assert!(page.contains(name), "{name} in {page}");
    }
}

#[test]
fn who_read_before_reads_on_while_the_api_server_is_away() {
    let mut cluster = Cluster::start();
    let scraped = Scraped::start(&cluster);
    assert_eq!(scraped.get("prometheus-token").0, 200);
    cluster.double.stop();
    assert_eq!(scraped.get("prometheus-token").0, 200);
    let (code, why) = scraped.get("idle-token");
    assert_eq!(code, 503, "{why}");
    assert!(why.contains("cannot be asked who calls"), "{why}");
}

/// A replica whose metrics can be read.
struct Scraped {
    _replica: Replica,
    metrics: Metrics,
}

impl Scraped {
    fn start(cluster: &Cluster) -> Self {
        let metrics = Metrics::of(&cluster.double);
        let flags = metrics.flags();
        Self {
            _replica: Replica::start(cluster, &[&flags[0], &flags[1]]),
            metrics,
        }
    }

    fn get(&self, token: &str) -> (u16, String) {
        self.metrics.get(token)
    }
}

/// Where a controller shows its metrics, to a user that may read them.
pub(crate) struct Metrics {
    folder: tempfile::TempDir,
    place: Place,
}

impl Metrics {
    /// Tells the cluster who may.
    pub(crate) fn of(double: &Double) -> Self {
        let objects = [
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "metrics-reader"},
                "rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}],
            }),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "metrics-reader"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "metrics-reader"},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "prometheus"}],
            }),
        ];
        for object in objects {
            let (code, answer) = double.put(&object);
            assert_eq!(code, 201, "{answer}");
        }
        for user in ["prometheus", "idle"] {
            double.add_user(&format!("{user}-token"), user, &[]);
        }
        let [address] = free();
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![address.ip().to_string()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.path().join("tls.crt"), certificate.pem()).unwrap();
        fs::write(folder.path().join("tls.key"), key.serialize_pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls = Some(Arc::new(config));
        Self {
            folder,
            place: Place { address, tls },
        }
    }

    /// What the controller must be told.
    pub(crate) fn flags(&self) -> [String; 2] {
        let folder = self.folder.path().display();
        [
            format!("--port={}", self.place.address.port()),
            format!("--metrics-cert-dir={folder}"),
        ]
    }

    /// A gauge without labels, if it can be had.
    pub(crate) fn gauge(&self, name: &str) -> Option<f64> {
        let (code, page) = self.ask("prometheus-token").ok()?;
        let mut lines = page.lines().filter(|_| code == 200);
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// The status and the page that a token gets.
    fn get(&self, token: &str) -> (u16, String) {
        self.ask(token).unwrap()
    }

    fn ask(&self, token: &str) -> io::Result<(u16, String)> {
        let header = ("Authorization".to_owned(), format!("Bearer {token}"));
        let headers: Vec<_> = (!token.is_empty()).then_some(header).into_iter().collect();
        let mut answer = self.place.send("GET", "/metrics", &headers, b"")?;
        let page = String::from_utf8(answer.body()?);
        Ok((answer.status, page.map_err(io::Error::other)?))
    }
}
