//! A website on a node, behind the lab's service proxy: what answers once a packet for a VIP has come to the stack.

use crate::site::Site;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use xtask::lab::proxy::Proxy;

/// Answers every request with the client's address, until it is dropped.
pub(crate) struct Web {
    stop: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
    _proxy: Proxy,
}

impl Web {
    /// The endpoints of the manifests, on the node's own loopback.
    pub(crate) fn on(site: &Site) -> Self {
        site.node.ip(
            "address add 10.244.1.11/32 dev lo\naddress add fd00:10:244:1::11/128 dev lo nodad",
        );
        let listener = site.node.enter(|| TcpListener::bind("[::]:8080").unwrap());
        listener.set_nonblocking(true).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        Self {
            stop,
            server: Some(thread::spawn(move || serve(&listener, &until))),
            _proxy: site.proxy(),
        }
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.server.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))) || thread::panicking());
    }
}

fn serve(listener: &TcpListener, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => answer(stream),
            Err(_) => thread::sleep(TURN),
        }
    }
}

/// A client that goes away is its own affair.
fn answer(mut stream: TcpStream) {
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let lines = BufReader::new(&stream).take(1 << 12).lines();
    let _head = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .count();
    let client = stream.peer_addr().unwrap().ip().to_canonical();
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{client}\n"
    );
}

const TURN: Duration = Duration::from_millis(20);
