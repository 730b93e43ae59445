//! What runs in a pod of the lab: a small HTTP server and an echo on TCP and UDP.
//!
//! An HTTP answer is one line of `key=value` words: which pod and node, who asked as seen from here, and the name by
//! which it was asked (the VIP: the service proxy has rewritten the destination by now, so only the `Host` field still
//! has it). A path that is a number asks for so many more bytes after that line. A datagram `who` gets the same line; every other one comes back unchanged.

use anyhow::{Context, Result};
use clap::Args;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Who a backend says it is.
#[derive(Args, Clone, Debug)]
pub struct Backend {
    /// Name of the pod.
    #[arg(long)]
    pub pod: String,
    /// Name of the node.
    #[arg(long)]
    pub node: String,
}

impl Backend {
    /// Serves until killed.
    ///
    /// # Errors
    /// When a port is taken.
    pub fn serve(self) -> Result<()> {
        allow_files().context("failed to raise the limit of open files")?;
        let me = Arc::new(self);
        let http = listen(HTTP_PORT)?;
        let echo = listen(ECHO_PORT)?;
        let udp = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, ECHO_PORT))
            .context("failed to bind the echo port for datagrams")?;
        queue_seconds(&udp).context("failed to lengthen the queue of datagrams")?;
        let budget = Arc::new(AtomicUsize::new(0));
        let (at_http, at_echo) = (Arc::clone(&me), Arc::clone(&budget));
        thread::spawn(move || accept(&http, &budget, move |stream| answer(stream, &at_http)));
        thread::spawn(move || accept(&echo, &at_echo, echo_stream));
        me.echo_datagrams(&udp)
    }

    fn echo_datagrams(&self, socket: &UdpSocket) -> Result<()> {
        let mut buffer = [0; 65_536];
        loop {
            let (length, client) = socket.recv_from(&mut buffer).context("failed to receive")?;
            let sent = match &buffer[..length] {
                b"who" => socket.send_to(self.line(client, "-").as_bytes(), client),
                payload => socket.send_to(payload, client),
            };
            // A client that went away is no reason to end; its error comes back on the next call.
            drop(sent);
        }
    }

    fn line(&self, client: SocketAddr, host: &str) -> String {
        let client = client.ip().to_canonical();
        format!(
            "pod={} node={} client={client} host={host}\n",
            self.pod, self.node
        )
    }
}

fn listen(port: u16) -> Result<TcpListener> {
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
        .with_context(|| format!("failed to listen on port {port}"))
}

/// Serves each connection on a thread of its own, as many at a time as the budget has; the rest are closed at once.
fn accept(
    listener: &TcpListener,
    in_use: &Arc<AtomicUsize>,
    serve: impl Fn(TcpStream) -> std::io::Result<()> + Clone + Send + 'static,
) {
    for stream in listener.incoming().flatten() {
        if in_use.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            in_use.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (serve, now) = (serve.clone(), Arc::clone(in_use));
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        let started = thread.spawn(move || {
            // What a client does to its own connection concerns nobody else.
            drop(
                stream
                    .set_read_timeout(Some(IDLE_MAX))
                    .and_then(|()| serve(stream)),
            );
            now.fetch_sub(1, Ordering::Relaxed);
        });
        if started.is_err() {
            in_use.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn answer(stream: TcpStream, me: &Backend) -> std::io::Result<()> {
    let client = stream.peer_addr()?;
    let (mut host, mut more) = ("-".to_owned(), 0);
    let mut lines = BufReader::new((&stream).take(REQUEST_BYTES_MAX));
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
            break;
        }
        if let Some((path, _)) = line
            .strip_prefix("GET /")
            .and_then(|rest| rest.split_once(' '))
        {
            more = path.parse().unwrap_or(0).min(MORE_BYTES_MAX);
        } else if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("host")
        {
            value.trim().clone_into(&mut host);
        }
    }
    let body = me.line(client, &host) + &".".repeat(more);
    write!(
        &stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn echo_stream(stream: TcpStream) -> std::io::Result<()> {
    std::io::copy(&mut (&stream).take(ECHO_BYTES_MAX), &mut &stream).map(drop)
}

/// Where pods serve HTTP.
pub const HTTP_PORT: u16 = 8080;
/// Where pods echo, on TCP and UDP.
pub const ECHO_PORT: u16 = 7007;

/// Has a socket queue what comes within some seconds at a thousand datagrams a second: a process that a busy machine lets wait loses nothing.
///
/// # Errors
/// When the kernel refuses, which takes `CAP_NET_ADMIN`.
pub fn queue_seconds(socket: &UdpSocket) -> std::io::Result<()> {
    Ok(set_socket_recv_buffer_size_force(socket, QUEUE_BYTES)?)
}

/// As many files as this process may have.
///
/// # Errors
/// When the kernel refuses.
pub fn allow_files() -> std::io::Result<()> {
    let now = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: now.maximum,
        ..now
    };
    Ok(setrlimit(Resource::Nofile, most)?)
}

const QUEUE_BYTES: usize = 8 << 20; // some 10,000 datagrams with what the kernel adds to each
const CONNECTIONS_MAX: usize = 4_096; // more than any test opens at a time
const STACK_BYTES: usize = 64 << 10;
const IDLE_MAX: Duration = Duration::from_secs(240); // bounds a forgotten client, and one that goes through thousands of connections in turn, between faults that a test waits for
const REQUEST_BYTES_MAX: u64 = 16 << 10;
const MORE_BYTES_MAX: usize = 1 << 20;
const ECHO_BYTES_MAX: u64 = 1 << 30; // bounds a forgotten client, allows a throughput test
