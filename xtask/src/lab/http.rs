//! Plain HTTP to a port of a namespace's own loopback: the API by `kubectl proxy`, and pages of health.
//!
//! HTTP/1.0, so that an answer ends with its connection. Knows nothing of what is asked for.

use super::net::Netns;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// The answer to a question; null where it is not JSON.
///
/// # Errors
/// When there is none, or another code than 200.
pub(super) fn get(netns: &Netns, port: u16, path: &str) -> Result<Value> {
    let (code, body) = send(netns, port, "GET", path, "")?;
    ensure!(code == 200, "GET {path}: {code} {body}");
    Ok(serde_json::from_str(&body).unwrap_or(Value::Null))
}

/// The code and the body of an answer. What is sent in a `PATCH` is a merge patch.
///
/// # Errors
/// When there is none.
pub(super) fn send(
    netns: &Netns,
    port: u16,
    method: &str,
    path: &str,
    body: &str,
) -> Result<(u16, String)> {
    let content = match method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    let text = netns.enter(|| -> Result<String> {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&at, ANSWER_MAX)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: {content}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    })??;
    let (head, body) = text.split_once("\r\n\r\n").context("no HTTP answer")?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((code.context("an HTTP answer has a code")?, body.to_owned()))
}

const ANSWER_MAX: Duration = Duration::from_secs(15); // what is there answers at once, if its machine has nothing else to do
