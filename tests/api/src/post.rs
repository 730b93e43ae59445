//! Asking webhooks: HTTPS by `clientConfig`, with the caBundle as the only trust.
//!
//! Knows nothing of what is asked. A Service is reached at the address that the options map it to: there is no network of pods here.

use crate::body;
use crate::call::{Question, Reply};
use crate::value::text;
use base64::Engine;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where the Services of webhooks, and hosts of URLs, are: `name.namespace` or `host` to an address.
pub type Places = BTreeMap<String, SocketAddr>;

/// Whom a `clientConfig` means.
struct Peer {
    host: String,
    /// For messages, with the path.
    url: String,
    path: String,
    address: Result<SocketAddr, String>,
}

impl Peer {
    fn of(client: &Value, places: &Places) -> Self {
        let service = &client["service"];
        if service.is_object() {
            let (name, namespace) = (text(&service["name"]), text(&service["namespace"]));
            let host = format!("{name}.{namespace}.svc");
            let port = service["port"].as_u64().unwrap_or(443);
            let path = text(&service["path"]);
            let known = places.get(&format!("{name}.{namespace}")).copied();
            return Self {
                url: format!("https://{host}:{port}{path}"),
                host,
                path,
                address: known.ok_or_else(|| format!("service {name:?} not found")),
            };
        }
        let url = text(&client["url"]);
        let rest = url.split_once("://").map_or("", |(_, rest)| rest);
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "443"));
        let address = match places.get(host) {
            Some(address) => Ok(*address),
            None => format!("{host}:{port}")
                .parse()
                .map_err(|_| format!("dial tcp {host}: connect: connection refused")),
        };
        Self {
            host: host.to_owned(),
            path: format!("/{path}"),
            url,
            address,
        }
    }
}

/// Asks a webhook. Fails in words close to the server's.
pub(crate) async fn ask(question: &Question, places: &Places) -> Reply {
    let peer = Peer::of(&question.client, places);
    let query = format!("timeout={}s", question.seconds);
    let limit = Duration::from_secs(question.seconds);
    let posted = post(&peer, &query, question);
    let answered = match tokio::time::timeout(limit, posted).await {
        Ok(answered) => answered,
        Err(_) => Err("context deadline exceeded".to_owned()),
    };
    let (status, body) = answered.map_err(|why| format!("Post \"{}?{query}\": {why}", peer.url))?;
    match status {
        200 => {}
        404 => return Err("the server could not find the requested resource".to_owned()),
        _other => {
            let why =
                "an error on the server (\"unknown\") has prevented the request from succeeding";
            return Err(why.to_owned());
        }
    }
    let value = serde_json::from_slice::<Value>(&body);
    let told = match value {
        Ok(value) if value.is_object() => return Ok(value),
        Ok(value) => body::no_object(&value),
        Err(why) => why.to_string(),
    };
    Err(format!(
        "couldn't get version/kind; json parse error: {told}"
    ))
}

async fn post(peer: &Peer, query: &str, question: &Question) -> Result<(u16, Bytes), String> {
    let address = peer.address.clone()?;
    let stream = TcpStream::connect(address)
        .await
        .map_err(|_| format!("dial tcp {address}: connect: connection refused"))?;
    let name = ServerName::try_from(peer.host.clone()).map_err(|why| why.to_string())?;
    let connector = TlsConnector::from(Arc::new(trust(&question.client["caBundle"])?));
    let stream = connector.connect(name, stream).await.map_err(tls_fault)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|why| why.to_string())?;
    tokio::spawn(connection);
    let request = hyper::Request::post(format!("{}?{query}", peer.path))
        .header("Host", &peer.host)
        .header("Content-Type", "application/json")
        .header("Accept", "application/json, */*")
        .header("User-Agent", "kube-apiserver-admission")
        .body(Full::new(Bytes::from(question.review.to_string())))
        .map_err(|why| why.to_string())?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|why| why.to_string())?;
    let status = response.status().as_u16();
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(|why| why.to_string())?;
    Ok((status, body.to_bytes()))
}

fn trust(bundle: &Value) -> Result<ClientConfig, String> {
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text(bundle))
        .map_err(|why| why.to_string())?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes).flatten() {
        roots.add(certificate).map_err(|why| why.to_string())?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| why.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn tls_fault(why: std::io::Error) -> String {
    let told = why.to_string();
    if told.contains("UnknownIssuer") || told.contains("BadSignature") {
        return "tls: failed to verify certificate: x509: certificate signed by unknown authority"
            .to_owned();
    }
    format!("tls: {told}")
}
