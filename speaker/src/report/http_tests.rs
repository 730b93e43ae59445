//! Requests over a real socket, well formed and not, and what is answered.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The answer to `GET path`, head and body.
async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// A free port of this machine; another process may take it, which the test would tell.
fn free() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

fn sound() -> Facts {
    Facts {
        decided_ms_ago: Some(1),
        kinds_missing: Vec::new(),
        is_armed: true,
        secret_missing: None,
        links: vec![("eth0".to_owned(), true)],
    }
}

#[tokio::test]
async fn metrics_are_served_as_prometheus_reads_them() {
    let address = free();
    let figures = Figures {
        node: "n1".to_owned(),
        plans: 3,
        ..Figures::default()
    };
    tokio::spawn(
        metrics(address, page(Arc::new(move || Ok(figures.clone()))))
            .await
            .unwrap(),
    );
    let answer = get(address, "/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("content-type: text/plain; version=0.0.4"),
        "{answer}"
    );
    assert!(answer.contains("\nheliograph_plans_total 3\n"), "{answer}");
    assert!(get(address, "/").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn figures_that_cannot_be_had_are_an_error_with_its_reason() {
    let address = free();
    let fails = || Err(anyhow::anyhow!("no map"));
    tokio::spawn(metrics(address, page(Arc::new(fails))).await.unwrap());
    let answer = get(address, "/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    assert!(
        answer.contains("failed to make the metrics: no map"),
        "{answer}"
    );
}

#[tokio::test]
async fn health_is_an_answer_with_reasons() {
    let address = free();
    tokio::spawn(health(address, Arc::new(sound)).await.unwrap());
    for path in ["/healthz", "/readyz"] {
        let answer = get(address, path).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains(r#"{"ok":true,"checks":["#), "{answer}");
    }
}

#[tokio::test]
async fn a_speaker_that_is_silent_is_not_ready_and_lives() {
    let address = free();
    let silent = || Facts {
        is_armed: false,
        ..sound()
    };
    tokio::spawn(health(address, Arc::new(silent)).await.unwrap());
    let answer = get(address, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    let check =
        r#"{"name":"deadline","ok":false,"why":"no deadline is in force: nothing is answered"}"#;
    assert!(answer.contains(check), "{answer}");
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_its_flag() {
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let error = metrics(address, page(Arc::new(|| Ok(Figures::default()))))
        .await
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("give --port another port"),
        "{error:#}"
    );
}

#[tokio::test]
async fn connections_that_say_nothing_hold_no_more_than_their_seats() {
    let address = free();
    tokio::spawn(health(address, Arc::new(sound)).await.unwrap());
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    let waiting = tokio::spawn(get(address, "/healthz"));
    tokio::task::yield_now().await;
    drop(idle);
    assert!(waiting.await.unwrap().starts_with("HTTP/1.1 200"));
}
