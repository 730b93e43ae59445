//! What a client of the lab's services does, in whichever namespace the calling thread is.
//!
//! Each question is a connection of its own, bounded in time and size.

use super::proxy::{Frontend, Protocol};
use std::io::{Error, Read, Result, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// Asks a frontend from within the present namespace and returns its answer, one line.
///
/// # Errors
/// When there is none in time, or another than its backends give.
pub fn ask(frontend: &Frontend) -> Result<String> {
    let at = frontend.address();
    let answer = match (frontend.protocol, frontend.is_http) {
        (Protocol::Tcp, true) => get(at)?,
        (Protocol::Tcp, false) => echo(at)?,
        (Protocol::Udp, _) => who(at)?,
    };
    Ok(answer.trim_end().to_owned())
}

/// Asks for `/` and returns the body.
///
/// # Errors
/// When there is no HTTP answer in time.
pub fn get(at: SocketAddr) -> Result<String> {
    let mut stream = connect(at)?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {at}\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(1 << 16).read_to_string(&mut answer)?;
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned());
    body.ok_or_else(|| Error::other("no HTTP answer"))
}

/// Sends a line by TCP and returns it when it comes back.
///
/// # Errors
/// When something else comes back, or nothing in time.
pub fn echo(at: SocketAddr) -> Result<String> {
    let mut stream = connect(at)?;
    stream.write_all(GREETING)?;
    let mut answer = vec![0; GREETING.len()];
    stream.read_exact(&mut answer)?;
    match answer == GREETING {
        true => Ok(String::from_utf8_lossy(&answer).into_owned()),
        false => Err(Error::other("not what was sent")),
    }
}

/// Asks by UDP which pod answers.
///
/// # Errors
/// When nothing comes back in time.
pub fn who(at: SocketAddr) -> Result<String> {
    let any = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(at)?;
    socket.set_read_timeout(Some(ANSWER_MAX))?;
    socket.send(b"who")?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

fn connect(at: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&at, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    Ok(stream)
}

const ANSWER_MAX: Duration = Duration::from_secs(1);
const GREETING: &[u8] = b"hello from the client\n";
