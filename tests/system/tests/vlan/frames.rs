//! What crosses a device while something is done there.

use super::site::{Namespace, WAIT_MAX};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

/// Questions without an answer so far, by address and whether they had a tag. On a busy machine an answer may come when the next question is out.
#[derive(Default)]
pub(crate) struct Questions(RefCell<BTreeMap<(String, bool), usize>>);

pub(crate) struct Answer {
    pub(crate) is_tagged: bool,
    pub(crate) mac: String,
}

impl Questions {
    /// The answers in what was seen, each to a question with the same tag.
    #[track_caller]
    pub(crate) fn answers(&self, seen: &str, vip: &str) -> Vec<Answer> {
        let mut open = self.0.borrow_mut();
        let mut answers = Vec::new();
        for line in seen.lines() {
            let is_tagged = line.contains("vlan 100, p 0");
            let open = open.entry((vip.to_owned(), is_tagged)).or_default();
            let Some(mac) = line.split(' ').nth(1).map(str::to_owned) else {
                continue;
            };
            if is_question(line, vip) && !mac.starts_with(NODE_MACS) {
                *open += 1;
            } else if is_answer(line, vip) {
                assert!(*open > 0, "nobody asked so: {line}\n{seen}");
                *open -= 1;
                answers.push(Answer { is_tagged, mac });
            }
        }
        answers
    }
}

pub(crate) fn is_question(line: &str, vip: &str) -> bool {
    line.contains(&format!("who-has {vip}"))
        || (line.contains("neighbor solicitation") && line.contains(vip))
}

/// Whether a frame answers for this address to one who asked, not to all.
fn is_answer(line: &str, vip: &str) -> bool {
    let is_advertisement =
        line.contains("neighbor advertisement") && line.contains(&format!("tgt is {vip}"));
    (is_advertisement || line.contains(&format!("Reply {vip} is-at")))
        && !line.contains("> ff:ff:ff:ff:ff:ff")
        && !line.contains("> 33:33:")
}

impl Namespace {
    /// The frames of a device while something is done, one a line, with addresses and tags.
    pub(crate) fn while_watching(&self, device: &str, work: impl FnOnce()) -> String {
        let mut watching = self
            .0
            .command("tcpdump")
            .args([
                "--immediate-mode",
                "-lenv",
                "-nn",
                "-Z",
                "root",
                "-i",
                device,
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut says = BufReader::new(watching.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            let read = says.read_line(&mut line).unwrap();
            assert!(read > 0, "tcpdump did not begin to listen on {device}");
        }
        let lines = BufReader::new(watching.stdout.take().unwrap()).lines();
        let (told, noted) = mpsc::channel();
        let reader = thread::spawn(move || {
            // Where nobody reads on, the last line was there.
            let _ = lines
                .map_while(Result::ok)
                .try_for_each(|line| told.send(line));
        });
        work();
        self.send_last(device);
        let until = Instant::now() + WAIT_MAX;
        let mut seen = String::new();
        while !seen.contains(LAST) {
            let wait = until.saturating_duration_since(Instant::now());
            let line = noted.recv_timeout(wait);
            seen += &line.unwrap_or_else(|_| panic!("the last frame is not noted in\n{seen}"));
            seen.push('\n');
        }
        watching.kill().unwrap();
        watching.wait().unwrap();
        drop(noted);
        reader.join().unwrap();
        seen
    }

    /// A frame out of a device: what came before it is noted once this is.
    fn send_last(&self, device: &str) {
        let links = self.run(&format!("ip -o link show dev {device}"));
        let index = links.split(':').next().unwrap().parse().unwrap();
        let to = SocketAddrV6::new(
            Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
            LAST_PORT,
            0,
            index,
        );
        let sent = self.enter(|| UdpSocket::bind("[::]:0").unwrap().send_to(b"last", to));
        sent.unwrap();
    }
}

const LAST_PORT: u16 = 4097;
/// A frame to that port, as tcpdump prints it.
const LAST: &str = "> ff02::1.4097:";
/// All of the node's begin so.
const NODE_MACS: &str = "02:00:00:00:00:";
