//! What strangers may hold of a server, over real sockets.

use super::super::client_tests::{LIMITS, Server, ask, connect, today};
use super::super::{Options, TlsArgs, pem, self_signed};
use crate::drive::clock::pause;
use rustls::version::TLS13;
use std::time::Duration;
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
async fn whoever_says_nothing_keeps_nobody_out() {
    let server = server().await;
    let mut idle = Vec::new();
    for _ in 0..LIMITS.connections * 3 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    let served = tokio::time::timeout(LIMITS.handshake_time / 2, server.client(TLS)).await;
    served
        .expect("it waited for a handshake to time out")
        .unwrap();
}

#[tokio::test]
async fn the_longest_idle_gives_way() {
    let server = server().await;
    let root = pem([&server.served.shown().unwrap().leaf]);
    let mut held = Vec::new();
    for _ in 0..LIMITS.connections {
        let connected = connect(server.address, &root, "a.example", TLS).await;
        held.push(connected.unwrap());
    }
    let mut oldest = held.remove(0);
    server.client(TLS).await.unwrap();
    let mut nothing = Vec::new();
    let _reset_or_end = oldest.read_to_end(&mut nothing).await;
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(ask(&mut oldest, request).await.is_err());
    let youngest = held.last_mut().unwrap();
    assert!(ask(youngest, request).await.unwrap().ends_with("hello"));
}

#[tokio::test]
async fn who_is_being_answered_does_not_give_way() {
    let server = server().await;
    let root = pem([&server.served.shown().unwrap().leaf]);
    let slow = async || {
        let connected = connect(server.address, &root, "a.example", TLS).await;
        let request = "GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        ask(&mut connected.unwrap(), request).await.unwrap()
    };
    let late = async || {
        pause(Duration::from_millis(80)).await;
        slow().await
    };
    let answers: [String; 5] = tokio::join!(slow(), slow(), slow(), slow(), late()).into();
    for answer in answers {
        assert!(answer.ends_with("at last"), "{answer}");
    }
}
