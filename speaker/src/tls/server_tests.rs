//! What strangers may hold of a server, over real sockets.

use super::super::client_tests::{LIMITS, Server, connect, today};
use super::super::{Options, TlsArgs, pem, self_signed};
use rustls::version::TLS13;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TLS: &[&rustls::SupportedProtocolVersion] = &[&TLS13];

async fn server() -> Server {
    let options = Options::read(&TlsArgs::default()).unwrap();
    let identity = self_signed(&["a.example".to_owned()], today()).unwrap();
    Server::start(identity, &options).await
}

#[tokio::test]
async fn a_page_is_served_over_tls() {
    server().await.client(&[&TLS13]).await.unwrap();
}

#[tokio::test]
async fn another_certificate_is_shown_from_the_next_handshake_on() {
    let server = server().await;
    server.client(&[&TLS13]).await.unwrap();
    let next = self_signed(&["b.example".to_owned()], today()).unwrap();
    let old = pem([&server.served.shown().unwrap().leaf]);
    assert!(server.served.show(next.clone()) && !server.served.show(next));
    server.client(&[&TLS13]).await.unwrap();
    let stale = connect(server.address, &old, "a.example", &[&TLS13]).await;
    assert!(stale.is_err());
}

#[tokio::test]
async fn plain_http_is_turned_away() {
    let mut stream = TcpStream::connect(server().await.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _reset_or_alert = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn whoever_says_nothing_loses_the_seat_after_the_time_for_a_handshake() {
    let server = server().await;
    let mut idle = Vec::new();
    for _ in 0..LIMITS.connections * 2 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    server.client(&[&TLS13]).await.unwrap();
}

#[tokio::test]
async fn connections_beyond_the_seats_wait_for_one() {
    let server = server().await;
    let root = pem([&server.served.shown().unwrap().leaf]);
    let mut held = Vec::new();
    for _ in 0..LIMITS.connections {
        held.push(
            connect(server.address, &root, "a.example", &[&TLS13])
                .await
                .unwrap(),
        );
    }
    let mut waiting = Box::pin(server.client(TLS));
    let early = tokio::time::timeout(std::time::Duration::from_millis(200), &mut waiting).await;
    assert!(early.is_err(), "served without a seat: {early:?}");
    held.pop();
    waiting.await.unwrap();
}
