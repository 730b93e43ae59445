//! Packets of a VIP that go on to another node, and the tables that say to which.
//!
//! A client sends datagrams of 256 flows to a VIP, as fast as all CPUs can. The node sends them back on the same link, to the hardware address
//! of another node: by its own stack with rules of kube-proxy's shape, or by our program. What sending and counting cost is measured
//! against a node that drops at once, and taken off. What clients get of it is in [`requests`].

use super::{Setting, requests};
use crate::figure::{Aim, Figure, median};
use crate::frame;
use crate::generator::{self, FLOWS, Load, Yield};
use crate::hook::{Hook, attach_tc};
use crate::net::{NODE_LINK, Pair, VIP};
use crate::object::{Kit, Subject};
use crate::raw;
use crate::sheet::Sheet;
use anyhow::{Result, ensure};
use aya::programs::XdpMode;
use speaker_core::steering::{Weights, maglev};
use speaker_ebpf::abi::steer::TABLE_CHUNKS;
use speaker_ebpf::abi::{Addr, Bucket, Chunk, Entry, Mode, SlotStats, SteerValue, VipKey};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

/// The name of this bench.
pub(crate) const NAME: &str = "steering";

/// Its parts, in the order in which they run.
pub(crate) const PARTS: [&str; 3] = ["tables", "packets", "requests"];

/// Measures.
pub(crate) fn run(setting: &Setting, sheet: &mut Sheet<'_>) -> Result<()> {
    for part in PARTS.into_iter().filter(|part| setting.wants(NAME, part)) {
        match part {
            "tables" => {
                sheet.extend(tables()?)?;
                sheet.extend(sizes())?;
            }
            "packets" => sheet.extend(ways(setting)?)?,
            _ => requests::measure(setting, sheet)?,
        }
    }
    Ok(())
}

/// What working out a table takes, and how far its shares are from what they should be.
fn tables() -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for nodes in [3, 10, 100] {
        let weights = weights(nodes)?;
        let mut times = Vec::new();
        for _ in 0..TABLES {
            let start = Instant::now();
            std::hint::black_box(maglev::table(std::hint::black_box(&weights)));
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        let mut shares = vec![0_u32; weights.len()];
        let table = maglev::table(&weights);
        table
            .iter()
            .for_each(|node| shares[usize::from(*node)] += 1);
        let fair = table.len() as f64 / weights.len() as f64;
        let off = shares
            .iter()
            .map(|share| (f64::from(*share) / fair - 1.0).abs());
        let off = off.fold(0.0, f64::max) * 100.0;
        let title = format!("table of {} slots for {nodes} nodes", table.len());
        figures.push(Figure::new(NAME, title.clone(), median(times), "ms"));
        let off = Figure::new(NAME, format!("{title}: furthest from its share"), off, "%");
        figures.push(off.aim(Aim::AtMost(1.0)));
    }
    Ok(figures)
}

fn weights(nodes: u32) -> Result<Weights> {
    let names = (0..nodes).map(|node| Ok((format!("node-{node}").parse()?, 1)));
    names.collect()
}

/// What the kernel's tables hold for it.
fn sizes() -> Vec<Figure> {
    let table = TABLE_CHUNKS as usize * size_of::<Chunk>();
    let vip = size_of::<VipKey>() + size_of::<Entry>();
    let size = |what: &str, bytes: usize| Figure::new(NAME, what, bytes as f64, "bytes");
    vec![
        size("a table in the kernel, for each set of nodes", table),
        size("a VIP on a link: its key and entry", vip),
        size(
            "a row, for all VIPs with the same of it",
            size_of::<SteerValue>(),
        ),
        size("a VIP's counters, for each CPU", size_of::<SlotStats>()),
    ]
}

/// Rounds of all ways in turn, so that a slow minute of the machine meets each of them.
fn ways(setting: &Setting) -> Result<Vec<Figure>> {
    let mut floods: BTreeMap<Way, Vec<Yield>> = BTreeMap::new();
    let (rounds, span) = if setting.is_quick {
        (1, QUICK)
    } else {
        (ROUNDS, SPAN)
    };
    for _ in 0..rounds {
        for way in Way::ALL {
            floods
                .entry(way)
                .or_default()
                .push(flood(setting, way, span)?);
        }
    }
    let of =
        |way: Way, value: &dyn Fn(&Yield) -> f64| median(floods[&way].iter().map(value).collect());
    let own = of(Way::Nowhere, &Yield::ns_per_request);
    let cost = |way| of(way, &|flood: &Yield| flood.ns_per_answer(own));
    let mut figures = vec![Figure::new(
        NAME,
        "sending and counting alone",
        own,
        "ns/packet",
    )];
    for way in Way::ALL.into_iter().filter(|way| *way != Way::Nowhere) {
        let rate = of(way, &Yield::rate);
        let rates = Figure::new(NAME, format!("{way}, at overload"), rate, "packets/s");
        let costs = Figure::new(NAME, format!("{way}, at overload"), cost(way), "ns/packet");
        let (rates, costs) = match way {
            Way::Kernel => (rates, costs),
            _ => (
                rates.against(
                    format!("{}, at overload", Way::Kernel),
                    rate / of(Way::Kernel, &Yield::rate),
                ),
                costs.against(
                    format!("{}, at overload / this", Way::Kernel),
                    cost(Way::Kernel) / cost(way),
                ),
            ),
        };
        figures.push(rates);
        figures.push(match way {
            Way::Spread(Hook::Tc) => costs.aim(Aim::AtLeast(1.5)),
            Way::Spread(Hook::NativeXdp) => costs.aim(Aim::AtLeast(5.0)),
            Way::Spread(Hook::GenericXdp)
            | Way::Nowhere
            | Way::Kernel
            | Way::BareTc
            | Way::BareXdp => costs,
        });
    }
    Ok(figures)
}

/// Who sends the packets on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Way {
    /// Nobody: each ends as early as it can.
    Nowhere,
    /// The kernel's stack: address translation, connection tracking and forwarding.
    Kernel,
    /// A program at TC ingress that does nothing else.
    BareTc,
    /// A native XDP program that does nothing else.
    BareXdp,
    /// Our program.
    Spread(Hook),
}

impl Way {
    const ALL: [Self; 7] = [
        Self::Nowhere,
        Self::Kernel,
        Self::BareTc,
        Self::BareXdp,
        Self::Spread(Hook::Tc),
        Self::Spread(Hook::GenericXdp),
        Self::Spread(Hook::NativeXdp),
    ];
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spread(hook) => return write!(f, "spread by {hook}"),
            Self::Nowhere => "dropped",
            Self::Kernel => "kernel's stack with a service proxy's rules",
            Self::BareTc => "sent back by TC without a look",
            Self::BareXdp => "sent back by native XDP without a look",
        })
    }
}

fn flood(setting: &Setting, way: Way, span: Duration) -> Result<Yield> {
    let pair = Pair::create()?;
    let mut kit = Kit::load(&setting.kit)?;
    kit.order(&frame::datagram4(VIP), CLIENTS, false)?;
    kit.expect(TARGET_MAC)?;
    generator::attach(&mut kit, &pair, FLOWS)?;
    // What is attached stays as long as its object.
    let _subject = match way {
        Way::Nowhere => {
            pair.node.run(|| {
                kit.xdp("bench_drop")?.attach(NODE_LINK, XdpMode::Driver)?;
                Ok(())
            })?;
            None
        }
        Way::Kernel => {
            forward(&pair)?;
            None
        }
        Way::BareTc => {
            pair.node.run(|| attach_tc(kit.tc("bench_tc_bounce")?))?;
            None
        }
        Way::BareXdp => {
            pair.node.run(|| {
                kit.xdp("bench_xdp_bounce")?
                    .attach(NODE_LINK, XdpMode::Driver)?;
                Ok(())
            })?;
            None
        }
        Way::Spread(hook) => Some(spread(setting, &pair, hook)?),
    };
    let load = |span| Load { rate: None, span };
    generator::send(&mut kit, &pair, FLOWS, load(WARM_UP))?;
    let flood = generator::send(&mut kit, &pair, FLOWS, load(span))?;
    ensure!(
        way == Way::Nowhere || flood.answers > 0,
        "{way}: nothing was sent on"
    );
    Ok(flood)
}

/// Rules of the shape of kube-proxy's with nftables for a service of policy Cluster, and the way to its endpoint on the other node.
fn forward(pair: &Pair) -> Result<()> {
    let node = &pair.node;
    node.sysctl("net/ipv4/ip_forward", "1")?;
    for link in ["all", NODE_LINK] {
        node.sysctl(&format!("net/ipv4/conf/{link}/send_redirects"), "0")?;
    }
    let mac = TARGET_MAC.map(|byte| format!("{byte:02x}")).join(":");
    let (target, add) = (TARGET.to_string(), ["neighbour", "add"]);
    node.ip(&[&add[..], &[&target, "lladdr", &mac, "dev", NODE_LINK]].concat())?;
    node.nft(&format!(
        "table ip proxy {{
            map services {{
                type ipv4_addr . inet_proto . inet_service : verdict;
                elements = {{ {VIP} . udp . 80 : goto external }}
            }}
            chain external {{ meta mark set meta mark or 0x4000; numgen random mod 1 vmap {{ 0 : goto endpoint }}; }}
            chain endpoint {{ meta l4proto udp dnat to {TARGET}:8080; }}
            chain prerouting {{ type nat hook prerouting priority dstnat; ip daddr . meta l4proto . th dport vmap @services; }}
            chain postrouting {{ type nat hook postrouting priority srcnat; meta mark and 0x4000 != 0 masquerade fully-random; }}
        }}\n"
    ))
}

/// Our program, with a VIP whose slots all name the other node.
fn spread(setting: &Setting, pair: &Pair, hook: Hook) -> Result<Subject> {
    let mut subject = Subject::load(&setting.object, 0)?;
    pair.node.run(|| {
        let ifindex = raw::ifindex(NODE_LINK)?;
        let vip = Addr::from(IpAddr::V4(VIP));
        subject.link(ifindex)?;
        subject.put(vip, ifindex, Entry::new(Mode::Answer, 1, 0).steered(1))?;
        let (current, previous) = (TARGET_NUMBER, TARGET_NUMBER);
        subject.table(0, Bucket { current, previous })?;
        subject.spread(1, SteerValue::new(0, 0))?;
        subject.target(ifindex, TARGET_NUMBER, TARGET_MAC)?;
        subject.attach(hook)
    })?;
    Ok(subject)
}

const TABLES: usize = 25;
const ROUNDS: usize = 3;
const WARM_UP: Duration = Duration::from_millis(100);
const SPAN: Duration = Duration::from_millis(1_500);
const QUICK: Duration = Duration::from_millis(100);
/// Flows, by the last byte of the source port.
const CLIENTS: u32 = 256;
/// The node that packets are sent on to; it is not there, and its packets end at the client's sink.
const TARGET: Ipv4Addr = Ipv4Addr::new(10, 85, 1, 77);
const TARGET_MAC: [u8; 6] = [0x02, 0, 0, 0, 1, 0x77];
const TARGET_NUMBER: u16 = 1;
