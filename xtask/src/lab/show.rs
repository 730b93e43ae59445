//! Waits for the VIPs and shows who answers for what.

use super::Lab;
use super::proxy::{Frontend, Protocol};
use anyhow::{Result, bail};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The VIPs that are served, each list as `address:port` words.
#[derive(Clone, Debug)]
pub(super) struct Vips {
    /// HTTP services.
    pub(super) http: String,
    /// Other services on TCP.
    pub(super) tcp: String,
    /// Services on UDP.
    pub(super) udp: String,
}

/// Waits until every service of the manifests has addresses and its HTTP ports answer; none after `interrupted`.
///
/// # Errors
/// When that takes too long, with what is missing and the speakers' last words.
pub(super) fn wait_until_served(
    lab: &Lab,
    mut interrupted: impl FnMut() -> bool,
) -> Result<Option<Vips>> {
    let until = Instant::now() + SERVED_MAX;
    loop {
        if interrupted() {
            return Ok(None);
        }
        let frontends = lab.frontends()?;
        let silent = silent(lab, &frontends)?;
        if !frontends.is_empty() && silent.is_empty() {
            return Ok(Some(vips(&frontends)));
        }
        if Instant::now() >= until {
            bail!(
                "not served within {} s: {silent:?}\n{}",
                SERVED_MAX.as_secs(),
                lab.speakers_say()
            );
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The HTTP frontends that do not answer the client yet.
fn silent(lab: &Lab, frontends: &[Frontend]) -> Result<Vec<SocketAddr>> {
    let http = frontends
        .iter()
        .filter(|f| f.is_http)
        .map(Frontend::address);
    let http: Vec<SocketAddr> = http.collect();
    lab.topology()
        .client
        .enter(|| http.into_iter().filter(|at| get(*at).is_err()).collect())
}

/// Asks for `/` and returns the body.
pub(super) fn get(at: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&at, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {at}\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(1 << 16).read_to_string(&mut answer)?;
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned());
    body.ok_or_else(|| std::io::Error::other("no HTTP answer"))
}

fn vips(frontends: &[Frontend]) -> Vips {
    let words = |wanted: &dyn Fn(&Frontend) -> bool| {
        let words = frontends
            .iter()
            .filter(|f| wanted(f))
            .map(|f| f.address().to_string());
        words.collect::<Vec<_>>().join(" ")
    };
    Vips {
        http: words(&|f| f.is_http),
        tcp: words(&|f| !f.is_http && f.protocol == Protocol::Tcp),
        udp: words(&|f| f.protocol == Protocol::Udp),
    }
}

pub(super) fn everything(_lab: &Lab, vips: &Vips) -> Result<()> {
    println!("{vips:?}");
    Ok(())
}

const SERVED_MAX: Duration = Duration::from_secs(30);
const ANSWER_MAX: Duration = Duration::from_secs(1);
