//! A real API server for the suite: the one of `KUBECONFIG`, or one that is started from `KUBEBUILDER_ASSETS`.
//!
//! Only with `HELIOGRAPH_REAL_API=1`, since the suite makes and deletes namespaces there. Programs and flags are those of
//! envtest (etcd, kube-apiserver); tokens are static, as in the recording.

use crate::http::Place;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::net::{TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use std::{env, fs};

/// A server that is there for the whole run.
#[derive(Debug)]
pub(crate) struct Real {
    pub(crate) place: Place,
    /// The administrator's, if it is not a certificate that he shows.
    pub(crate) token: Option<String>,
    /// Whether the accounts of the recording have their tokens.
    pub(crate) has_accounts: bool,
}

/// The server that is asked for. Says what it is, or what it would take.
pub(crate) fn wanted() -> Option<&'static Real> {
    static REAL: OnceLock<Option<Real>> = OnceLock::new();
    let real = REAL.get_or_init(|| {
        let kubeconfig = env::var_os("KUBECONFIG").map(PathBuf::from);
        let assets = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
        let is_meant = env::var("HELIOGRAPH_REAL_API").is_ok_and(|word| word == "1");
        match (is_meant, kubeconfig, assets) {
            (true, Some(path), _) => Some(Real::configured(&path)),
            (true, None, Some(folder)) => Some(Real::started(&folder)),
            (true, None, None) => {
                panic!("HELIOGRAPH_REAL_API needs KUBECONFIG or KUBEBUILDER_ASSETS")
            }
            (false, ..) => {
                eprintln!(
                    "NOT run against a real API server: that takes HELIOGRAPH_REAL_API=1 and KUBECONFIG or KUBEBUILDER_ASSETS"
                );
                None
            }
        }
    });
    real.as_ref()
}

impl Real {
    fn configured(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let config: Value = serde_norway::from_str(&text).unwrap();
        let named = |list: &str, name: &Value| {
            let mut list = config[list].as_array().unwrap().iter();
            list.find(|entry| entry["name"] == *name).unwrap().clone()
        };
        let context = named("contexts", &config["current-context"])["context"].clone();
        let cluster = named("clusters", &context["cluster"])["cluster"].clone();
        let user = named("users", &context["user"])["user"].clone();
        let url = cluster["server"].as_str().unwrap();
        let authority = url.strip_prefix("https://").expect("a server over HTTPS");
        let address = authority.to_socket_addrs().unwrap().next().unwrap();
        let bytes = |object: &Value, key: &str| match object[format!("{key}-data")].as_str() {
            Some(data) => Some(STANDARD.decode(data).unwrap()),
            None => object[key].as_str().map(|path| fs::read(path).unwrap()),
        };
        let authority = bytes(&cluster, "certificate-authority").unwrap();
        let own = bytes(&user, "client-certificate").zip(bytes(&user, "client-key"));
        let tls = Some(Arc::new(tls(&authority, own)));
        eprintln!("run against the API server at {url}");
        Self {
            place: Place { address, tls },
            token: user["token"].as_str().map(str::to_owned),
            has_accounts: false,
        }
    }

    /// The programs end with the test program, by the kernel's hand or by ours.
    fn started(assets: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let [etcd, peer, port] = [(); 3].map(|()| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        });
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let mut store = Command::new(assets.join("etcd"));
        store
            .args([
                "--listen-client-urls",
                &url(etcd),
                "--advertise-client-urls",
                &url(etcd),
            ])
            .args(["--listen-peer-urls", &url(peer), "--unsafe-no-fsync"])
            .arg("--data-dir")
            .arg(folder.join("etcd"));
        spawn(store);
        let accounts = "system:serviceaccount:metallb-system";
        let tokens = format!(
            "admin,admin,a1,\"system:masters\"\npp-speaker-token,{accounts}:speaker,s1,\"system:serviceaccounts,system:serviceaccounts:metallb-system\"\n\
             pp-controller-token,{accounts}:controller,c1,\"system:serviceaccounts,system:serviceaccounts:metallb-system\"\n"
        );
        fs::write(folder.join("tokens"), tokens).unwrap();
        let pair = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let (certificate, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
        fs::write(folder.join("tls.crt"), &certificate).unwrap();
        fs::write(folder.join("tls.key"), key).unwrap();
        spawn(server(assets, &folder, port, &url(etcd)));
        let place = Place {
            address: ([127, 0, 0, 1], port).into(),
            tls: Some(Arc::new(tls(certificate.as_bytes(), None))),
        };
        let until = Instant::now() + READY_MAX;
        while !place
            .send("GET", "/readyz", &[], b"")
            .is_ok_and(|answer| answer.status == 200)
        {
            assert!(Instant::now() < until, "kube-apiserver is not ready");
            std::thread::sleep(Duration::from_millis(200));
        }
        eprintln!("run against kube-apiserver of {}", assets.display());
        Self {
            place,
            token: Some("admin".to_owned()),
            has_accounts: true,
        }
    }
}

/// The server's program with its flags.
fn server(assets: &Path, folder: &Path, port: u16, etcd: &str) -> Command {
    let mut server = Command::new(assets.join("kube-apiserver"));
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    server
        .args(["--etcd-servers", etcd, "--secure-port", &port.to_string()])
        .args(["--bind-address", "127.0.0.1", "--cert-dir", &file("certs")])
        .args([
            "--tls-cert-file",
            &file("tls.crt"),
            "--tls-private-key-file",
            &file("tls.key"),
        ])
        .args(["--service-cluster-ip-range", "10.96.0.0/16,fd00:96::/112"])
        .args(["--authorization-mode", "RBAC", "--allow-privileged"])
        .args(["--disable-admission-plugins", "ServiceAccount"])
        .args(["--token-auth-file", &file("tokens")])
        .args(["--service-account-issuer", "https://kubernetes.default.svc"])
        .args(["--service-account-key-file", &file("tls.key")])
        .args(["--service-account-signing-key-file", &file("tls.key")]);
    server
}

/// Through a shell that ends the program when this one is gone.
fn spawn(command: Command) {
    let mut words = vec![command.get_program().to_owned()];
    words.extend(command.get_args().map(ToOwned::to_owned));
    let watch = format!(
        "\"$@\" & child=$!; while kill -0 {} 2>/dev/null; do sleep 1; done; kill $child",
        std::process::id()
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &watch, "sh"]).args(words);
    shell.stdout(Stdio::null()).stderr(Stdio::null());
    std::thread::spawn(move || shell.status());
}

fn tls(authority: &[u8], own: Option<(Vec<u8>, Vec<u8>)>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = CertificateDer::pem_slice_iter(&certificate);
            let chain = chain.map(Result::unwrap).collect();
            let key = PrivateKeyDer::from_pem_slice(&key).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    }
}

/// A cold start of etcd and of the server.
const READY_MAX: Duration = Duration::from_secs(60);
