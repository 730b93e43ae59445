//! Hardware addresses that speakers publish in a cluster: a ConfigMap `speaker-<node>` each (L2.3 of `docs/layer2.md`).
//!
//! A kernel that nobody hears may still claim a VIP, and whoever starts while gossip is cut must know that hardware as a member's. So
//! what was once published counts for a day after it is gone, over restarts of whoever reads it. A record is of the node that its name says:
//! a ValidatingAdmissionPolicy binds that to who wrote it. Knows no clock, no file and no API server.

use crate::members::node_id;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use speaker_proto::gossip::MEMBERS_MAX;
use speaker_proto::member::{Directory, MACS_MAX, Published};
use speaker_proto::{Mac, NodeName};
use std::collections::{BTreeMap, BTreeSet};

/// What nodes published, with those that did once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hardware {
    records: BTreeMap<NodeName, Record>,
}

/// What one node published.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Record {
    macs: BTreeSet<Mac>,
    /// Since when there is no such object any more, in seconds since 1970.
    gone_s: Option<u64>,
}

/// A record on disk.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    macs: Vec<String>,
    gone: Option<u64>,
}

/// All of them on disk.
#[derive(Debug, Serialize, Deserialize)]
struct Page {
    format: String,
    version: u32,
    nodes: BTreeMap<String, Line>,
}

impl Hardware {
    /// Takes an object as the API server has it; whether that changed anything. What is no node's record is passed over, and so are
    /// nodes past [`MEMBERS_MAX`].
    pub fn put(&mut self, object: &Value) -> bool {
        let Some((node, macs)) = read(object) else {
            return false;
        };
        let is_full = self.records.len() >= MEMBERS_MAX && !self.records.contains_key(&node);
        if is_full {
            return false;
        }
        let record = Record { macs, gone_s: None };
        self.records.insert(node, record.clone()) != Some(record)
    }

    /// The object of that name is gone since `now_s`, in seconds since 1970; whether that changed anything.
    pub fn gone(&mut self, name: &str, now_s: u64) -> bool {
        let node = name.strip_prefix(PREFIX).and_then(|node| node.parse().ok());
        let record = node.and_then(|node: NodeName| self.records.get_mut(&node));
        record.is_some_and(|record| {
            let is_news = record.gone_s.is_none();
            record.gone_s.get_or_insert(now_s);
            is_news
        })
    }

    /// Forgets what is gone for a day; whether anything was.
    pub fn expire(&mut self, now_s: u64) -> bool {
        let before = self.records.len();
        self.records.retain(|_, record| {
            // A clock that was set back keeps a record longer, which does no harm.
            record
                .gone_s
                .is_none_or(|gone| now_s.saturating_sub(gone) < KEPT_S)
        });
        before != self.records.len()
    }

    /// What the others published.
    pub fn others(&self, me: &NodeName) -> Directory {
        let others = self.records.iter().filter(|(node, _)| *node != me);
        let others = others.map(|(node, record)| {
            let published = Published {
                name: node.clone(),
                macs: record.macs.clone(),
            };
            (node_id(node), published)
        });
        others.collect()
    }

    /// All of it as text, for the next process.
    pub fn text(&self) -> String {
        let records = self.records.iter();
        let nodes = records.map(|(node, record)| {
            let macs = record.macs.iter().map(ToString::to_string);
            let line = Line {
                macs: macs.collect(),
                gone: record.gone_s,
            };
            (node.to_string(), line)
        });
        let page = Page {
            format: FORMAT.to_owned(),
            version: VERSION,
            nodes: nodes.collect(),
        };
        serde_json::to_string(&page).expect("texts and numbers are JSON")
    }

    /// What such a text says. Until it is seen again everything of it is gone as of `now_s`, if it was not before.
    ///
    /// # Errors
    /// When it is no such text, with the reason.
    pub fn parse(text: &str, now_s: u64) -> Result<Self, String> {
        let page: Page = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if (page.format.as_str(), page.version) != (FORMAT, VERSION) {
            let (format, version) = (page.format, page.version);
            return Err(format!("is {format} {version}, not {FORMAT} {VERSION}"));
        }
        let nodes = page.nodes.into_iter().take(MEMBERS_MAX);
        let records = nodes.filter_map(|(node, line)| {
            let record = Record {
                macs: line.macs.iter().filter_map(|text| mac(text)).collect(),
                gone_s: Some(line.gone.unwrap_or(now_s)),
            };
            Some((node.parse().ok()?, record))
        });
        Ok(Self {
            records: records.collect(),
        })
    }
}

/// The name of a node's object; `None` where the node's name leaves no room for it.
pub fn object_name(node: &NodeName) -> Option<String> {
    let name = format!("{PREFIX}{node}");
    (name.len() <= NAME_BYTES_MAX).then_some(name)
}

/// The object that says what a node's hardware addresses are, to be applied; `owner` is its `ownerReferences` entry.
pub fn object(name: &str, macs: &BTreeSet<Mac>, owner: Option<&Value>) -> Value {
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {LABEL: VALUE}},
        "data": {FIELD: said(macs)},
    });
    if let Some(owner) = owner {
        object["metadata"]["ownerReferences"] = json!([owner]);
    }
    object
}

/// Whether an object says all that `wanted` does.
pub fn says(live: &Value, wanted: &Value) -> bool {
    let owner = |object: &Value| object["metadata"]["ownerReferences"][0]["uid"].clone();
    let label = |object: &Value| object["metadata"]["labels"][LABEL].clone();
    let is_owned = owner(wanted).is_null() || owner(live) == owner(wanted);
    live["data"] == wanted["data"] && label(live) == label(wanted) && is_owned
}

/// Whose record an object is, and what it says.
fn read(object: &Value) -> Option<(NodeName, BTreeSet<Mac>)> {
    let name = object["metadata"]["name"].as_str()?;
    let node = name.strip_prefix(PREFIX)?.parse().ok()?;
    let words = object["data"][FIELD].as_str()?.split_ascii_whitespace();
    Some((node, words.filter_map(mac).take(MACS_MAX).collect()))
}

fn said(macs: &BTreeSet<Mac>) -> String {
    let macs = macs.iter().take(MACS_MAX).map(ToString::to_string);
    macs.collect::<Vec<_>>().join(" ")
}

/// A hardware address that one station can have.
fn mac(text: &str) -> Option<Mac> {
    let mut bytes = [0; 6];
    let mut words = text.split(':');
    for byte in &mut bytes {
        let word = words.next().filter(|word| word.len() == 2)?;
        *byte = u8::from_str_radix(word, 16).ok()?;
    }
    let is_one = bytes[0] & GROUP_BIT == 0 && bytes != [0; 6];
    (words.next().is_none() && is_one).then_some(Mac(bytes))
}

/// What an object's name begins with; the node's name follows.
const PREFIX: &str = "speaker-";
/// Of the labels, that by which the objects are found.
pub const LABEL: &str = "heliograph.io/record";
/// Its value.
pub const VALUE: &str = "hardware";
const FIELD: &str = "macs";
const FORMAT: &str = "heliograph-hardware";
const VERSION: u32 = 1;
const NAME_BYTES_MAX: usize = 253; // a DNS subdomain, as the API server wants names
/// What is gone counts for so long: a kernel that lost its agent answers no longer, and whoever pulled its plug has put it back by then.
const KEPT_S: u64 = 24 * 3_600;
const GROUP_BIT: u8 = 1; // IEEE 802: an address of many stations

#[cfg(test)]
#[path = "hardware_tests.rs"]
mod tests;
