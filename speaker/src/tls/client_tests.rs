//! A real TLS client for tests, and a server to meet it.

use super::{Identity, Limits, Options, Served, serve};
use crate::drive::clock::pause;
use axum::Router;
use axum::routing::get;
use jiff::Timestamp;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A server of the pages `/` and `/slow`, that ends with the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) served: Arc<Served>,
}

/// What both sides agreed upon.
#[derive(Debug)]
pub(crate) struct Spoken {
    pub(crate) suite: String,
    pub(crate) group: u16,
}

impl Server {
    /// Starts it with that certificate, which is its own authority.
    pub(crate) async fn start(identity: Identity, options: &Options) -> Self {
        let served = Arc::new(Served::default());
        served.show(identity);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let slow = async || {
            pause(Duration::from_millis(200)).await;
            "at last"
        };
        let router = Router::new()
            .route("/", get(async || "hello"))
            .route("/slow", get(slow));
        let config = options.server(Arc::clone(&served));
        tokio::spawn(serve(listener, config, router, LIMITS));
        Self { address, served }
    }

    /// Connects with these versions only.
    pub(crate) async fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<Spoken> {
        let leaf = self.served.shown().unwrap().leaf;
        let name = leaf.names.first().unwrap().clone();
        let pem = super::pem([&leaf]);
        let mut stream = connect(self.address, &pem, &name, versions).await?;
        let (_, connection) = stream.get_ref();
        let suite = connection.negotiated_cipher_suite().unwrap().suite();
        let group = connection.negotiated_key_exchange_group().unwrap().name();
        let spoken = Spoken {
            suite: suite.as_str().unwrap().to_owned(),
            group: u16::from(group),
        };
        let answer = ask(
            &mut stream,
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
        .await?;
        assert!(answer.ends_with("hello"), "{answer}");
        Ok(spoken)
    }
}

/// Opens a connection to a server that must prove to be `name` by an authority in `roots_pem`.
pub(crate) async fn connect(
    address: SocketAddr,
    roots_pem: &str,
    name: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for root in super::bundle(roots_pem.as_bytes()).unwrap() {
        roots.add(root.der).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// Sends a request whole and reads to the end.
pub(crate) async fn ask(
    stream: &mut TlsStream<TcpStream>,
    request: &str,
) -> std::io::Result<String> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8(answer).unwrap())
}

/// The moment that a real client counts by.
pub(crate) fn today() -> Timestamp {
    crate::drive::clock::wall().try_into().unwrap()
}

pub(crate) const LIMITS: Limits = Limits {
    connections: 4,
    handshake_time: Duration::from_secs(2),
};
