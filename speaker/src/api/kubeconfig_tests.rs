//! Kubeconfigs of the forms that kubectl takes, against a server that says who came and how.

use super::{Access, Call, connect};
use crate::tls::Identity;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A server over TLS, and the certificates of both sides, as files of a folder.
struct Place {
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Place {
    async fn start() -> Self {
        let now = crate::drive::clock::wall().try_into().unwrap();
        let server = crate::tls::self_signed(&["server.test".to_owned()], now).unwrap();
        let client = rcgen::generate_simple_self_signed(["someone".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("ca.crt", server.chain_pem().to_owned()),
            ("client.crt", client.cert.pem()),
            ("client.key", client.signing_key.serialize_pem()),
            ("token", "from-a-file".to_owned()),
            ("plugin", PLUGIN.to_owned()),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path().join("plugin"), executable).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, config(&server, client.cert.der())));
        Self { address, folder }
    }

    /// A kubeconfig with another context beside the current one, written into the folder.
    fn write(&self, cluster: &Value, user: &Value) -> Access {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [
                {"name": "elsewhere", "cluster": {"server": "https://192.0.2.1:6443"}},
                {"name": "c", "cluster": cluster},
            ],
            "contexts": [
                {"name": "there", "context": {"cluster": "elsewhere", "user": "nobody"}},
                {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "n"}},
            ],
            "users": [{"name": "nobody", "user": {}}, {"name": "u", "user": user}],
        });
        let path = self.folder.path().join("kubeconfig");
        std::fs::write(&path, config.to_string()).unwrap();
        Access {
            kubeconfig: Some(path),
            api_server: None,
        }
    }

    /// As most clusters have it: the authority in a file, and another name than that of the address.
    fn cluster(&self) -> Value {
        json!({
            "server": format!("https://{}", self.address), "certificate-authority": "ca.crt", "tls-server-name": "server.test",
        })
    }

    fn text(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join(name)).unwrap()
    }
}

fn config(server: &Identity, client: &CertificateDer<'_>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut known = RootCertStore::empty();
    known.add(client.clone().into_owned()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(known), Arc::clone(&provider));
    let chain = CertificateDer::from_pem_slice(server.chain_pem().as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(server.key_pem().as_bytes()).unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
        .with_single_cert(vec![chain], key)
        .unwrap()
}

/// Says of each request what was asked for, and by whom.
async fn serve(listener: TcpListener, config: ServerConfig) {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(stream) = acceptor.accept(stream).await else {
            continue;
        };
        let has_certificate = stream.get_ref().1.peer_certificates().is_some();
        let answer = service_fn(move |request: Request<Incoming>| async move {
            let authorization = request.headers().get("authorization");
            let said = json!({
                "path": request.uri().path(), "certificate": has_certificate,
                "authorization": authorization.map(|value| value.to_str().unwrap()),
            });
            Ok::<_, Infallible>(Response::new(said.to_string()))
        });
        let server = hyper::server::conn::http1::Builder::new();
        tokio::spawn(server.serve_connection(TokioIo::new(stream), answer));
    }
}

/// What the server says to who came by that kubeconfig.
async fn came(access: &Access) -> Value {
    let api = connect(access).await.unwrap();
    api.call(Call::get("/version")).await.unwrap()
}

#[tokio::test]
async fn every_sort_of_credentials_that_kubectl_takes_is_shown() {
    let place = Place::start().await;
    let coded = |name: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(place.text(name))
    };
    let plugin = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin", "interactiveMode": "Never",
        "env": [{"name": "SAYS", "value": "from-a-plugin"}],
    });
    for (user, authorization, certificate) in [
        (json!({}), None, false),
        (json!({"token": "plain"}), Some("Bearer plain"), false),
        (
            json!({"tokenFile": "token"}),
            Some("Bearer from-a-file"),
            false,
        ),
        (
            json!({"username": "u", "password": "p"}),
            Some("Basic dTpw"),
            false,
        ),
        (json!({"exec": plugin}), Some("Bearer from-a-plugin"), false),
        (
            json!({"client-certificate": "client.crt", "client-key": "client.key"}),
            None,
            true,
        ),
        (
            json!({"client-certificate-data": coded("client.crt"), "client-key-data": coded("client.key")}),
            None,
            true,
        ),
    ] {
        let said = came(&place.write(&place.cluster(), &user)).await;
        assert_eq!(said["authorization"], json!(authorization), "{user}");
        assert_eq!(said["certificate"], json!(certificate), "{user}");
        assert_eq!(said["path"], "/version");
    }
}

#[tokio::test]
async fn a_server_is_found_below_a_path_by_data_without_a_check_and_at_another_address() {
    let place = Place::start().await;
    let user = json!({"token": "t"});
    let mut below = place.cluster();
    below["server"] = json!(format!("https://{}/clusters/one", place.address));
    let said = came(&place.write(&below, &user)).await;
    assert_eq!(said["path"], "/clusters/one/version");
    let unchecked = json!({
        "server": format!("https://{}", place.address), "insecure-skip-tls-verify": true,
    });
    assert_eq!(
        came(&place.write(&unchecked, &user)).await["path"],
        "/version"
    );
    let mut away = place.cluster();
    away["server"] = json!("https://192.0.2.1:6443");
    let access = Access {
        api_server: Some(format!("https://{}", place.address)),
        ..place.write(&away, &user)
    };
    assert_eq!(came(&access).await["authorization"], "Bearer t");
}

#[tokio::test]
async fn of_several_files_the_first_that_says_something_counts_and_a_missing_one_does_not() {
    let place = Place::start().await;
    let access = place.write(&place.cluster(), &json!({"token": "t"}));
    let first = place.folder.path().join("first");
    std::fs::write(
        &first,
        "users: [{name: u, user: {token: of-the-first-file}}]\n",
    )
    .unwrap();
    let rest = access.kubeconfig.unwrap();
    let files = [first.as_path(), Path::new("/nowhere"), &rest];
    let access = Access {
        kubeconfig: Some(std::env::join_paths(files).unwrap().into()),
        api_server: None,
    };
    assert_eq!(
        came(&access).await["authorization"],
        "Bearer of-the-first-file"
    );
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_the_file_and_the_reason() {
    let place = Place::start().await;
    let mut behind = place.cluster();
    behind["proxy-url"] = json!("https://example:secret@192.0.2.9:3128");
    let refused = connect(&place.write(&behind, &json!({}))).await.err();
    let why = format!("{:#}", refused.unwrap());
    let named = "the cluster's proxy-url: proxies are reached by http:// or socks5://, and \"…@192.0.2.9:3128\" is neither";
    assert!(why.contains("/kubeconfig") && why.contains(named), "{why}");
    let missing = Access {
        kubeconfig: Some("/nowhere/kubeconfig".into()),
        api_server: None,
    };
    let why = format!("{:#}", connect(&missing).await.err().unwrap());
    assert!(why.contains("/nowhere/kubeconfig"), "{why}");
}

const PLUGIN: &str = r#"#!/bin/sh
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"'$SAYS'"}}'
"#;
