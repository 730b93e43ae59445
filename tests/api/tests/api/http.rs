//! A plain HTTP/1.1 client for the suite: one connection a request, bodies whole or line by line.
//!
//! Small on purpose: what goes over the wire is exactly what a recorded exchange says, and nothing is retried or hidden.

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Where a server is and how it is spoken to.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// The beginning of an answer; the body is yet to be read.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    reader: BufReader<Box<dyn Stream>>,
    is_chunked: bool,
    length: Option<usize>,
    /// Decoded bytes that belong to the next line.
    rest: Vec<u8>,
    is_over: bool,
}

pub(crate) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Place {
    /// Sends a request and reads the head of the answer.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let tcp = TcpStream::connect(self.address)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        let mut stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(tcp),
            Some(config) => {
                let name = ServerName::IpAddress(self.address.ip().into());
                let client = ClientConnection::new(Arc::clone(config), name);
                Box::new(StreamOwned::new(client.map_err(io::Error::other)?, tcp))
            }
        };
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!(
            "Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        ));
        stream.write_all(head.as_bytes())?;
        // A server that refuses a long body closes before it has read all of it.
        let _ = stream.write_all(body);
        Answer::read(stream)
    }
}

impl Answer {
    fn read(stream: Box<dyn Stream>) -> io::Result<Self> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status in {line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let mut line = Vec::new();
            reader.read_until(b'\n', &mut line)?;
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        let find = |name: &str| headers.iter().find(|(key, _)| key == name);
        let is_chunked = find("transfer-encoding").is_some_and(|(_, value)| value == "chunked");
        let length = find("content-length").and_then(|(_, value)| value.parse().ok());
        Ok(Self {
            status,
            headers,
            reader,
            is_chunked,
            length,
            rest: Vec::new(),
            is_over: false,
        })
    }

    /// A header's values.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let found = self.headers.iter().filter(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).collect()
    }

    /// The whole body.
    pub(crate) fn body(&mut self) -> io::Result<Vec<u8>> {
        if let Some(length) = self.length {
            let mut body = vec![0; length];
            self.reader.read_exact(&mut body)?;
            return Ok(body);
        }
        while !self.is_over {
            self.more()?;
        }
        Ok(std::mem::take(&mut self.rest))
    }

    /// The next line of a watch as JSON. None at the end.
    pub(crate) fn line(&mut self) -> io::Result<Option<Value>> {
        loop {
            if let Some(at) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.rest.drain(..=at).collect();
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(io::Error::other);
            }
            if self.is_over {
                return Ok(None);
            }
            self.more()?;
        }
    }

    fn more(&mut self) -> io::Result<()> {
        if !self.is_chunked {
            self.reader.read_to_end(&mut self.rest)?;
            self.is_over = true;
            return Ok(());
        }
        let mut size = String::new();
        self.reader.read_line(&mut size)?;
        let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk)?;
        chunk.truncate(size);
        self.rest.extend(chunk);
        self.is_over = size == 0;
        Ok(())
    }
}

/// Longer than any recorded watch lasts.
const PATIENCE: Duration = Duration::from_secs(20);
