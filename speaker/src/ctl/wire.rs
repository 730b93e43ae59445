//! What goes over the socket: one line of JSON each way, more lines back for `watch`.

use super::order::{PeerOrder, text};
use super::socket::{SocketOrder, SocketWish};
use super::{FlowsWanted, Question};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::os::fd::OwnedFd;

/// A question as one line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// The name of the question.
    pub(super) ask: String,
    /// The service, the peer or the VIP that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) service: Option<String>,
    /// What is to be said to a peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) say: Option<String>,
    /// Which flows are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) flows: Option<FlowsWanted>,
    /// Whether the answer is a text for people.
    pub(super) as_text: bool,
}

/// An answer as one line.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// For people.
    Text(String),
    /// For programs.
    Data(Value),
    /// Why there is none.
    Error(String),
    /// What was wanted is done, and nothing more comes.
    Done,
}

impl Request {
    pub(super) fn new(question: &Question, as_text: bool) -> Self {
        let mut say = None;
        let mut flows = None;
        let (ask, service) = match question {
            Question::Status => ("status", None),
            Question::Plan => ("plan", None),
            Question::Why { service } => ("why", Some(service.clone())),
            Question::Vips => ("vips", None),
            Question::Links => ("links", None),
            Question::Members => ("members", None),
            Question::Bgp { peer, order: None } => ("bgp", peer.clone()),
            Question::Bgp {
                order: Some(order), ..
            } => {
                let peer = Some(order.peer().to_owned());
                match order {
                    PeerOrder::Pause { say: words, .. } => {
                        say = Some(words.clone());
                        ("pause", peer)
                    }
                    PeerOrder::Resume { .. } => ("resume", peer),
                }
            }
            Question::Bfd { peer } => ("bfd", peer.clone()),
            Question::Routes { peer } => ("routes", peer.clone()),
            Question::Steer { vip } => ("steer", vip.clone()),
            Question::Socket { order } => match order {
                SocketOrder::Add { front, .. } => ("socket-add", Some(front.to_string())),
                SocketOrder::List => ("socket-list", None),
                SocketOrder::Remove { front } => ("socket-remove", Some(front.to_string())),
            },
            Question::Flows(wanted) => {
                flows = Some(wanted.clone());
                ("flows", None)
            }
            Question::Maps => ("maps", None),
            Question::Counters => ("counters", None),
            Question::Facts => ("facts", None),
            Question::Metrics => ("metrics", None),
            Question::Objects => ("objects", None),
            Question::Watch => ("watch", None),
            Question::Drain { undo: true, .. } => ("undrain", None),
            Question::Drain { wait: true, .. } => ("drain-and-wait", None),
            Question::Drain { .. } => ("drain", None),
        };
        Self {
            ask: ask.to_owned(),
            service,
            say,
            flows,
            as_text,
        }
    }

    /// With whose socket comes along.
    pub(super) fn of_owner(mut self, owner: String) -> Self {
        self.say = Some(owner);
        self
    }

    /// The order about sockets that it is, with the socket that came along; `None`: it is none.
    pub(super) fn wish(&self, socket: Option<OwnedFd>) -> Result<Option<SocketWish>, String> {
        let front = || self.service.as_deref().unwrap_or_default().parse();
        Ok(Some(match self.ask.as_str() {
            "socket-add" => {
                let socket = socket.ok_or("no socket came with the order")?;
                let owner = self.say.as_deref().unwrap_or("unknown");
                let owner = owner.chars().filter(|c| !c.is_control());
                SocketWish::Add(front()?, socket, owner.take(OWNER_MAX).collect())
            }
            "socket-remove" => SocketWish::Remove(front()?),
            "socket-list" => SocketWish::List,
            _ => return Ok(None),
        }))
    }

    /// The question that it is.
    pub(super) fn question(&self) -> Result<Question, String> {
        let drain = |undo, wait| Question::Drain { undo, wait };
        let order = |order| Question::Bgp {
            peer: None,
            order: Some(order),
        };
        let question = match (self.ask.as_str(), &self.service) {
            ("pause", Some(peer)) => order(PeerOrder::Pause {
                peer: peer.clone(),
                say: text(self.say.as_deref().unwrap_or_default())?,
            }),
            ("resume", Some(peer)) => order(PeerOrder::Resume { peer: peer.clone() }),
            ("status", None) => Question::Status,
            ("plan", None) => Question::Plan,
            ("why", Some(service)) => Question::Why {
                service: service.clone(),
            },
            ("vips", None) => Question::Vips,
            ("links", None) => Question::Links,
            ("members", None) => Question::Members,
            ("bgp", peer) => Question::Bgp {
                peer: peer.clone(),
                order: None,
            },
            ("bfd", peer) => Question::Bfd { peer: peer.clone() },
            ("routes", peer) => Question::Routes { peer: peer.clone() },
            ("steer", vip) => Question::Steer { vip: vip.clone() },
            ("flows", None) => {
                let wanted = self.flows.clone();
                Question::Flows(wanted.ok_or("which flows are wanted is not said")?)
            }
            ("maps", None) => Question::Maps,
            ("counters", None) => Question::Counters,
            ("facts", None) => Question::Facts,
            ("metrics", None) => Question::Metrics,
            ("objects", None) => Question::Objects,
            ("watch", None) => Question::Watch,
            ("undrain", None) => drain(true, false),
            ("drain-and-wait", None) => drain(false, true),
            ("drain", None) => drain(false, false),
            (ask, _) => return Err(format!("this speaker cannot be asked {ask:?} in this way")),
        };
        Ok(question)
    }
}

/// Characters of what is shown of a socket's owner.
const OWNER_MAX: usize = 64;
/// A question is one short line.
pub(super) const REQUEST_BYTES_MAX: usize = 4096;
/// A plan of ten thousand services takes a few megabytes.
pub(super) const ANSWER_BYTES_MAX: u64 = 256 << 20;
