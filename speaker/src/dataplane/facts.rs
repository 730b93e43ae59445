//! What the kernel says of a link when a program is to be attached to it.
//!
//! Asked at that moment, so that a decision never rests on an older picture. Knows nothing of which links
//! should announce.

use crate::netlink::Client;
use anyhow::Result;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkInfo, LinkMessage, LinkXdp, XdpAttached,
};
use netlink_packet_route::tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption};

/// What decides where a program can be attached.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Facts {
    /// The interface's name.
    pub(super) name: String,
    /// The kind of virtual device, such as `veth`; `None` for hardware.
    pub(super) kind: Option<String>,
    /// VLAN devices on top of it.
    pub(super) vlans: Vec<String>,
    /// Whether the hardware takes VLAN tags off before XDP sees the frame; `None` if it does not say.
    pub(super) strips_vlan: Option<bool>,
    /// The XDP program on it.
    pub(super) xdp: Option<XdpProgram>,
}

/// An XDP program on a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct XdpProgram {
    /// The kernel's number of it.
    pub(super) id: u32,
    /// Whether the driver runs it.
    pub(super) is_native: bool,
}

/// A classifier of kind bpf on the clsact ingress hook.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Filter {
    /// Its priority.
    pub(super) priority: u16,
    /// Its handle.
    pub(super) handle: u32,
    /// The name it was attached under; empty for other kinds.
    pub(super) name: String,
    /// The kernel's number of its program.
    pub(super) program: Option<u32>,
}

/// The facts of one link; `None` if there is no such link.
pub(super) fn of(netlink: &Client, ifindex: u32) -> Result<Option<Facts>> {
    let links = all(netlink)?;
    let Some(link) = links.iter().find(|link| link.header.index == ifindex) else {
        return Ok(None);
    };
    let mut facts = Facts {
        name: name_of(link),
        kind: kind_of(link)
            .filter(|kind| *kind != InfoKind::Other(String::new()))
            .map(|kind| kind.to_string()),
        vlans: links
            .iter()
            .filter(|upper| is_vlan_on(upper, ifindex))
            .map(name_of)
            .collect(),
        ..Facts::default()
    };
    facts.strips_vlan = super::offload::strips_vlan(ifindex);
    facts.xdp = xdp_of(link);
    Ok(Some(facts))
}

/// Index and name of every link.
pub(super) fn links(netlink: &Client) -> Result<Vec<(u32, String)>> {
    Ok(all(netlink)?
        .iter()
        .map(|link| (link.header.index, name_of(link)))
        .collect())
}

/// The filters on a link's clsact ingress hook.
pub(super) fn filters(netlink: &Client, ifindex: u32) -> Result<Vec<Filter>> {
    let mut request = TcMessage::with_index(i32::try_from(ifindex)?);
    request.header.parent = CLSACT_INGRESS;
    let rows = netlink.dump(RouteNetlinkMessage::GetTrafficFilter(request))?;
    Ok(rows.iter().filter_map(filter_of).collect())
}

/// Gives a link the qdisc that ingress filters need; one that is there stays as it is.
pub(super) fn add_clsact(netlink: &Client, ifindex: u32) -> Result<()> {
    let mut request = TcMessage::with_index(i32::try_from(ifindex)?);
    request.header.parent = TcHandle::CLSACT;
    request.header.handle = TcHandle {
        major: 0xffff,
        minor: 0,
    };
    request.attributes = vec![TcAttribute::Kind("clsact".to_owned())];
    let request = RouteNetlinkMessage::NewQueueDiscipline(request);
    match netlink.change(request, NLM_F_CREATE | NLM_F_EXCL) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        added => Ok(added?),
    }
}

fn all(netlink: &Client) -> Result<Vec<LinkMessage>> {
    let rows = netlink.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    let link = |row| match row {
        RouteNetlinkMessage::NewLink(link) => Some(link),
        _ => None,
    };
    Ok(rows.into_iter().filter_map(link).collect())
}

fn name_of(link: &LinkMessage) -> String {
    let name = |attribute: &LinkAttribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    };
    link.attributes.iter().find_map(name).unwrap_or_default()
}

fn kind_of(link: &LinkMessage) -> Option<InfoKind> {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(infos) => infos.iter().find_map(|info| match info {
                LinkInfo::Kind(kind) => Some(kind.clone()),
                _ => None,
            }),
            _ => None,
        })
}

fn is_vlan_on(upper: &LinkMessage, ifindex: u32) -> bool {
    kind_of(upper) == Some(InfoKind::Vlan)
        && upper.attributes.contains(&LinkAttribute::Link(ifindex))
}

fn xdp_of(link: &LinkMessage) -> Option<XdpProgram> {
    let rows = link
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Xdp(rows) => Some(rows),
            _ => None,
        })?;
    let id = rows.iter().find_map(|row| match row {
        LinkXdp::ProgId(id) => Some(*id),
        _ => None,
    })?;
    let is_native = rows.contains(&LinkXdp::Attached(XdpAttached::Driver));
    Some(XdpProgram { id, is_native })
}

fn filter_of(row: &RouteNetlinkMessage) -> Option<Filter> {
    let RouteNetlinkMessage::NewTrafficFilter(filter) = row else {
        return None;
    };
    let options = filter
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            TcAttribute::Options(options) => Some(options),
            _ => None,
        })?;
    let name = options.iter().find_map(|option| match option {
        TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => Some(name.clone()),
        _ => None,
    });
    let program = options.iter().find_map(|option| match option {
        TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => Some(*id),
        _ => None,
    });
    let TcHandle { major, minor } = filter.header.handle;
    Some(Filter {
        priority: (filter.header.info >> 16) as u16,
        handle: u32::from(major) << 16 | u32::from(minor),
        name: name.unwrap_or_default(),
        program,
    })
}

/// `TC_H_CLSACT` with `TC_H_MIN_INGRESS`.
const CLSACT_INGRESS: TcHandle = TcHandle {
    major: 0xffff,
    minor: 0xfff2,
};
