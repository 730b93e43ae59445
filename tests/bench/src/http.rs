//! A plain client of HTTP/1.1 over TLS: one request at a time on one connection that stays open.
//!
//! It is what a server takes at the least, to compare others with. Knows answers with a length, which is what the servers here
//! send; RFC 9112 has more.

use anyhow::{Context, Result, bail, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    /// With the query.
    pub(crate) path: String,
    /// JSON.
    pub(crate) body: Vec<u8>,
}

impl Call {
    /// A request without a body.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self {
            method: "GET",
            path: path.into(),
            body: Vec::new(),
        }
    }

    /// A request with one.
    pub(crate) fn send(
        method: &'static str,
        path: impl Into<String>,
        body: &serde_json::Value,
    ) -> Self {
        Self {
            method,
            path: path.into(),
            body: body.to_string().into_bytes(),
        }
    }
}

/// What came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Vec<u8>,
}

/// An open connection.
pub(crate) struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
    buffer: Vec<u8>,
}

/// Whom to trust, under which name.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Trust {
    /// The authority of a server by that name.
    pub(crate) fn new(authority: &[u8], name: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authority) {
            roots.add(certificate.context("failed to read a certificate")?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            config: Arc::new(config),
            name: ServerName::try_from(name.to_owned())?,
        })
    }
}

impl Client {
    /// Connects from the namespace that the calling thread is in.
    pub(crate) fn connect(address: SocketAddr, trust: &Trust) -> Result<Self> {
        let socket =
            TcpStream::connect(address).with_context(|| format!("failed to reach {address}"))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(ANSWER_MAX))?;
        let connection = ClientConnection::new(Arc::clone(&trust.config), trust.name.clone())?;
        let stream = StreamOwned::new(connection, socket);
        let buffer = Vec::new();
        Ok(Self { stream, buffer })
    }

    /// Sends one request and waits for its answer.
    pub(crate) fn call(&mut self, call: &Call) -> Result<Answer> {
        let Call { method, path, body } = call;
        let content = match *method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer admin\r\nuser-agent: bench\r\naccept: application/json\r\n\
             content-type: {content}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        let about = || format!("failed to {method} {path}");
        self.stream.write_all(&request).with_context(about)?;
        self.stream.flush().with_context(about)?;
        self.answer().with_context(about)
    }

    /// The same, and the body of an answer that must be a success.
    pub(crate) fn ask(&mut self, call: &Call) -> Result<Vec<u8>> {
        let Answer { code, body } = self.call(call)?;
        let text = || String::from_utf8_lossy(&body[..body.len().min(400)]).into_owned();
        ensure!(
            (200..300).contains(&code),
            "{} {}: {code}: {}",
            call.method,
            call.path,
            text()
        );
        Ok(body)
    }

    fn answer(&mut self) -> Result<Answer> {
        self.buffer.clear();
        let head = loop {
            if let Some(at) = self.buffer.windows(4).position(|end| end == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_some()?;
        };
        let text = std::str::from_utf8(&self.buffer[..head])?.to_owned();
        let code = text.split(' ').nth(1).and_then(|code| code.parse().ok());
        let code = code.context("the answer has no status")?;
        let mut lines = text.lines().filter_map(|line| line.split_once(": "));
        let length = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length: usize = length.context("the answer has no length")?.1.parse()?;
        while self.buffer.len() < head + length {
            self.read_some()?;
        }
        let body = self.buffer[head..].to_vec();
        ensure!(body.len() == length, "the answer is longer than it says");
        Ok(Answer { code, body })
    }

    fn read_some(&mut self) -> Result<()> {
        let mut chunk = [0; 1 << 14];
        match self.stream.read(&mut chunk)? {
            0 => bail!("the server closed the connection"),
            bytes => self.buffer.extend_from_slice(&chunk[..bytes]),
        }
        Ok(())
    }
}

/// Sends all calls over all connections, each connection the next one that is left; every answer must be a success. What is
/// in one group is sent one after the other on one connection.
pub(crate) fn send_all(clients: &mut [Client], groups: &[Vec<Call>]) -> Result<()> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let threads: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                let next = &next;
                scope.spawn(move || -> Result<()> {
                    while let Some(group) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
                        for call in group {
                            client.ask(call)?;
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        for thread in threads {
            let sent = thread.join();
            sent.unwrap_or_else(|_| bail!("a thread of the bench panicked"))?;
        }
        Ok(())
    })
}

const ANSWER_MAX: Duration = Duration::from_secs(60); // a list of everything from a busy double
