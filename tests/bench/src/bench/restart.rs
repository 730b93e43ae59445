//! What clients lose while the speaker on a node is stopped and started again.
//!
//! 1,000 UDP echoes a second go through the VIP, rewritten to the node's own address as a service proxy does it, and
//! 1,000 ARP requests a second beside them, because a client that has the answer already would not notice silence.

use super::Setting;
use super::speaker::{Home, PORT, Speaker};
use crate::figure::{Aim, Figure};
use crate::frame;
use crate::generator::{self, Load, REQUESTS, Yield};
use crate::net::{NODE_IP, Pair, VIP};
use crate::object::Kit;
use crate::sheet::Sheet;
use anyhow::{Context, Result, bail, ensure};
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

/// The name of this bench.
pub(crate) const NAME: &str = "restart";

/// Measures.
pub(crate) fn run(setting: &Setting, sheet: &mut Sheet<'_>) -> Result<()> {
    let home = Home::create()?;
    let pair = Pair::create()?;
    let mut kit = Kit::load(&setting.kit)?;
    kit.order(&frame::arp_request(), 128, false)?;
    generator::attach(&mut kit, &pair, REQUESTS)?;
    proxy(&pair)?;
    let echo_server = pair.node.run(|| Ok(UdpSocket::bind((NODE_IP, PORT))?))?;
    let mut speaker = Speaker::start(&setting.speaker, &home, &pair)?;
    wait_for_answers(&mut kit, &pair, &mut speaker)?;

    let stop = AtomicBool::new(false);
    let (echoes, asked, gaps) = std::thread::scope(|scope| {
        let server = scope.spawn(|| serve(&echo_server, &stop));
        let client = scope.spawn(|| pair.client.run(echo));
        let restarts = scope.spawn(|| restart_some(setting, &home, &pair, speaker));
        let load = Load {
            rate: Some(RATE),
            span: SPAN,
        };
        let asked = generator::send(&mut kit, &pair, REQUESTS, load);
        let (gaps, echoes) = (join(restarts), join(client));
        stop.store(true, Ordering::Relaxed);
        join(server)?;
        Ok::<_, anyhow::Error>((echoes?, asked?, gaps?))
    })?;
    sheet.extend(figures(&echoes, &asked, &gaps))
}

const RATE: u64 = 1_000;
const SPAN: Duration = Duration::from_secs(12);
const RESTARTS: usize = 3;

fn figures(echoes: &Echoes, asked: &Yield, gaps: &[Duration]) -> Vec<Figure> {
    let away = gaps.iter().max().map_or(0.0, |gap| gap.as_secs_f64() * 1e3);
    let lost = echoes.sent - echoes.received;
    let echo = format!("UDP echoes lost in {RESTARTS} restarts, of {}", echoes.sent);
    let arp = format!(
        "ARP requests unanswered in {RESTARTS} restarts, of {}",
        asked.sent
    );
    vec![
        Figure::new(NAME, echo, lost as f64, "datagrams").aim(Aim::AtMost(0.0)),
        Figure::new(NAME, arp, asked.lost() as f64, "requests").aim(Aim::AtMost(0.0)),
        Figure::new(
            NAME,
            "from SIGTERM to the next process, longest",
            away,
            "ms",
        ),
    ]
}

/// What arrives for the VIP goes to the echo server on the node: what kube-proxy's rules come to for one endpoint.
fn proxy(pair: &Pair) -> Result<()> {
    let rules = format!(
        "table ip bench {{
            chain in {{
                type nat hook prerouting priority dstnat;
                ip daddr {VIP} udp dport {PORT} dnat to {NODE_IP}:{PORT};
            }}
        }}\n"
    );
    pair.node.nft(&rules)
}

fn wait_for_answers(kit: &mut Kit, pair: &Pair, speaker: &mut Speaker) -> Result<()> {
    let start = Instant::now();
    let before = kit.counts()?.answers;
    while kit.counts()?.answers == before {
        speaker.check()?;
        ensure!(
            start.elapsed() < Duration::from_secs(20),
            "no answer within 20 s of the start"
        );
        generator::ask(kit, pair)?;
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Stops the speaker and starts the next one, some times; how long no process was there.
fn restart_some(
    setting: &Setting,
    home: &Home,
    pair: &Pair,
    first: Speaker,
) -> Result<Vec<Duration>> {
    let mut speaker = first;
    let mut gaps = Vec::new();
    for _ in 0..RESTARTS {
        std::thread::sleep(SPAN / (RESTARTS as u32 + 1));
        speaker.check()?;
        let start = Instant::now();
        speaker.stop()?;
        speaker = Speaker::start(&setting.speaker, home, pair)?;
        gaps.push(start.elapsed());
    }
    std::thread::sleep(SPAN / (RESTARTS as u32 + 1) + Duration::from_millis(500));
    speaker.check()?;
    speaker.stop()?;
    Ok(gaps)
}

/// Sends back what it gets.
fn serve(socket: &UdpSocket, stop: &AtomicBool) -> Result<()> {
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let mut datagram = [0; 64];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((len, from)) = socket.recv_from(&mut datagram) {
            socket
                .send_to(&datagram[..len], from)
                .context("failed to send an echo")?;
        }
    }
    Ok(())
}

/// Datagrams sent to the VIP and echoes that came back.
struct Echoes {
    sent: u64,
    received: u64,
}

/// Sends [`RATE`] a second for [`SPAN`].
fn echo() -> Result<Echoes> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).context("failed to open the echo client")?;
    socket.connect((VIP, PORT)).context("no route to the VIP")?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let is_sent = AtomicBool::new(false);
    let (sent, received) = std::thread::scope(|scope| {
        let receive = scope.spawn(|| {
            let mut received = 0;
            let mut datagram = [0; 64];
            while !is_sent.load(Ordering::Relaxed) {
                received += u64::from(socket.recv(&mut datagram).is_ok());
            }
            received
        });
        let sent = send_echoes(&socket);
        std::thread::sleep(Duration::from_millis(500));
        is_sent.store(true, Ordering::Relaxed);
        let received = receive.join();
        let received = received.map_err(|_| anyhow::anyhow!("the receiver panicked"))?;
        Ok::<_, anyhow::Error>((sent?, received))
    })?;
    ensure!(received > 0, "no echo came back at all");
    Ok(Echoes { sent, received })
}

fn send_echoes(socket: &UdpSocket) -> Result<u64> {
    let (start, mut sent) = (Instant::now(), 0_u64);
    while start.elapsed() < SPAN {
        socket
            .send(&sent.to_ne_bytes())
            .context("failed to send to the VIP")?;
        sent += 1;
        let due = Duration::from_micros(sent * 1_000_000 / RATE);
        std::thread::sleep(due.saturating_sub(start.elapsed()));
    }
    Ok(sent)
}

fn join<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread
        .join()
        .unwrap_or_else(|_| bail!("a thread of the bench panicked"))
}
