//! The text of `allocations.yaml`, in which speakers of one directory agree on who holds what.
//!
//! One of them writes, the others read. The text is sorted and says the same for the same assignments, so that it
//! can be compared and kept under version control.

use super::{Assignment, Assignments, Port, Sharing};
use crate::key::{Kind, ObjectKey};
use crate::manifest;
use crate::problem::{Fault, Problem};
use crate::service::{Protocol, ServiceId};
use crate::typed::typed;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;

/// The text for these assignments.
pub fn render(assignments: &Assignments) -> String {
    let mut text = format!("{HEADER}version: {VERSION}\nallocations:");
    if assignments.is_empty() {
        text.push_str(" []");
    }
    text.push('\n');
    for (id, assignment) in assignments {
        let ips: Vec<_> = assignment
            .ips
            .iter()
            .map(|ip| quoted(&ip.to_string()))
            .collect();
        let lines = format!(
            "- service: {}\n  pool: {}\n  addresses: [{}]\n",
            quoted(&id.to_string()),
            quoted(&assignment.pool),
            ips.join(", ")
        );
        text.push_str(&lines);
        if let Some(sharing) = &assignment.sharing {
            render_sharing(sharing, &mut text);
        }
    }
    text
}

fn render_sharing(sharing: &Sharing, text: &mut String) {
    let ports: Vec<_> = sharing
        .ports
        .iter()
        .map(|(protocol, port)| format!("{protocol}/{port}"))
        .collect();
    let (key, backend) = (quoted(&sharing.key), quoted(&sharing.backend));
    writeln!(
        text,
        "  sharing: {{key: {key}, backend: {backend}, ports: [{}]}}",
        ports.join(", ")
    )
    .expect("writing to a String cannot fail");
}

/// JSON's quotes, which YAML reads too: names may look like numbers, and addresses end in colons.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Reads the text back. An empty text holds nothing. On an error nothing of the text may be used, and it may not be
/// written over: what it says is lost only when a person decides so.
pub fn parse(origin: &str, text: &str) -> Result<Assignments, Problem> {
    let problem = |fault: Fault| Problem {
        object: ObjectKey::new(Kind::Document, "", origin),
        origin: origin.to_owned(),
        field: fault.field,
        why: fault.why,
    };
    let mut values = manifest::values(text).map_err(|why| problem(Fault::new("", why)))?;
    let value = match (values.pop(), values.pop()) {
        (None, _) => return Ok(Assignments::new()),
        (Some(value), None) => value,
        (Some(_), Some(_)) => return Err(problem(Fault::new("", "holds more than one document"))),
    };
    let (file, _): (File, _) = typed(value).map_err(problem)?;
    if file.version != VERSION {
        let why = format!("is {}, only {VERSION} is known", file.version);
        return Err(problem(Fault::new("version", why)));
    }
    assignments(file.allocations).map_err(problem)
}

fn assignments(entries: Vec<Entry>) -> Result<Assignments, Fault> {
    let mut assignments = Assignments::new();
    for (i, entry) in entries.into_iter().enumerate() {
        let fault = |field: &str, why: &str| Fault::new(format!("allocations[{i}].{field}"), why);
        let Some((namespace, name)) = entry.service.split_once('/') else {
            return Err(fault("service", "is not namespace/name"));
        };
        let families: BTreeSet<_> = entry.addresses.iter().map(IpAddr::is_ipv4).collect();
        if entry.addresses.is_empty() || families.len() != entry.addresses.len() {
            return Err(fault(
                "addresses",
                "is not one address, or one of each family",
            ));
        }
        let sharing = entry.sharing.map(sharing).transpose();
        let sharing = sharing.map_err(|why| fault("sharing.ports", &why))?;
        if sharing
            .as_ref()
            .is_some_and(|sharing| sharing.key.is_empty())
        {
            return Err(fault("sharing.key", "is empty"));
        }
        let assignment = Assignment {
            ips: entry.addresses,
            pool: entry.pool,
            sharing,
        };
        let id = ServiceId {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        if assignments.insert(id, assignment).is_some() {
            return Err(fault("service", "stands there twice"));
        }
    }
    Ok(assignments)
}

fn sharing(raw: RawSharing) -> Result<Sharing, String> {
    let ports: Result<BTreeSet<Port>, String> = raw.ports.iter().map(|text| port(text)).collect();
    Ok(Sharing {
        key: raw.key,
        backend: raw.backend,
        ports: ports?,
    })
}

fn port(text: &str) -> Result<Port, String> {
    let bad = || format!("{text:?} is not protocol/port");
    let (protocol, port) = text.split_once('/').ok_or_else(bad)?;
    let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    let protocol = protocols
        .into_iter()
        .find(|known| known.to_string() == protocol);
    Ok((protocol.ok_or_else(bad)?, port.parse().map_err(|_| bad())?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    allocations: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    service: String,
    pool: String,
    addresses: Vec<IpAddr>,
    #[serde(default)]
    sharing: Option<RawSharing>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSharing {
    key: String,
    backend: String,
    ports: Vec<String>,
}

const VERSION: u32 = 1;

const HEADER: &str = "\
# The addresses that the services of this directory hold, as the allocator of one speaker gave them.
# It is written by whichever speaker holds its lock, and read by the others. A line taken out frees an address;
# change it by hand only while no speaker runs.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let told = match parse("allocations.yaml", text) {
            Ok(assignments) => render(&assignments).strip_prefix(HEADER).map(str::to_owned),
            Err(problem) => Some(problem.to_string()),
        };
        assert_eq!(told.as_deref(), Some(expected));
    }

    #[test]
    fn it_reads_well() {
        let text = "version: 1\nallocations:\n\
                    - service: \"default/web\"\n  pool: \"first\"\n  addresses: [\"192.0.2.1\", \"2001:db8::\"]\n  \
                    sharing: {key: \"k\", backend: \"app=web\", ports: [TCP/80, UDP/53]}\n";
        check(text, text);
        check("", "version: 1\nallocations: []\n");
        check("# nothing yet\n", "version: 1\nallocations: []\n");
    }

    #[test]
    fn what_cannot_be_read_names_its_place() {
        let entry =
            |rest: &str| format!("version: 1\nallocations: [{{service: a/b, pool: p, {rest}}}]");
        check(
            "version: 2\nallocations: []",
            "allocations.yaml: version: is 2, only 1 is known",
        );
        check(
            "allocations: []",
            "allocations.yaml: missing field `version`",
        );
        let why = "is not one address, or one of each family";
        check(
            &entry("addresses: []"),
            &format!("allocations.yaml: allocations[0].addresses: {why}"),
        );
        let two = entry("addresses: [192.0.2.1, 192.0.2.2]");
        check(
            &two,
            &format!("allocations.yaml: allocations[0].addresses: {why}"),
        );
        let place = "allocations.yaml: allocations[0]";
        let not_an_address = entry("addresses: [192.0.2]");
        check(
            &not_an_address,
            &format!("{place}.addresses[0]: invalid IP address syntax"),
        );
        let port = entry("addresses: [192.0.2.1], sharing: {key: k, backend: '', ports: [80]}");
        check(
            &port,
            &format!("{place}.sharing.ports[0]: invalid type: integer `80`, expected a string"),
        );
        check(
            "a: [",
            "allocations.yaml: did not find expected node content at line 2 column 1, while parsing a flow node",
        );
    }
}
