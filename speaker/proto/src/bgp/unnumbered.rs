//! Finding the router of a link without knowing its address, and being found: by router advertisements (RFC 4861), as FRR, SONiC and
//! others do it.
//!
//! A router is whoever advertises itself from a link-local address, whatever lifetime it gives: peers of this kind say that they are no default
//! route, and so do we. Where nobody does, as with BIRD and GoBGP by themselves, it is the one neighbour of the link that calls itself a
//! router in its neighbour advertisements (RFC 4861 §4.4, the flag R); where none does so either, since it does not forward IPv6, it is the
//! one neighbour that there is. Of several nobody knows which is meant. Knows no sockets and no sessions.

use crate::{Mac, Machine, Span, Time};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv6Addr;

/// Who is found on the links that have peers.
#[derive(Debug, Default)]
pub struct Unnumbered {
    links: BTreeMap<u32, Link>,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Link {
    mac: Mac,
    /// Solicitations still to be sent.
    solicitations: u8,
    solicit_at: Time,
    advertise_at: Time,
    /// When the neighbours are looked through, unless a router advertises itself.
    look_at: Time,
    /// How often they were, without a router among them.
    looks: u8,
    router: Option<Router>,
    rivals: Rivals,
}

/// Who was found on a link.
#[derive(Clone, Copy, Debug)]
struct Router {
    address: Ipv6Addr,
    sign: Sign,
}

/// Why it is taken for the router.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sign {
    /// It is alone on the link.
    Alone,
    /// It is the only router among the neighbours.
    OnlyRouter,
    /// It advertised itself, then for the last time.
    Heard(Time),
}

/// Neighbours of a link of which none is taken, because they are several.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rivals {
    /// That call themselves routers.
    pub routers: usize,
    /// That do not, where nobody does.
    pub others: usize,
}

/// What happens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// These links have peers and are up, by index, with their hardware addresses. One that went away and came back begins anew.
    Links(BTreeMap<u32, Mac>),
    /// A router advertised itself on a link.
    Heard {
        /// The link's index.
        ifindex: u32,
        /// Where the advertisement came from.
        router: Ipv6Addr,
    },
    /// The answer to [`Output::Look`].
    Neighbours {
        /// The link's index.
        ifindex: u32,
        /// The link-local addresses of those that call themselves routers.
        routers: BTreeSet<Ipv6Addr>,
        /// Those of all others.
        others: BTreeSet<Ipv6Addr>,
    },
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Ask for routers.
    Solicit(u32, Mac),
    /// Say that we are here.
    Advertise(u32, Mac),
    /// Look through the kernel's neighbours of this link, and have those there show themselves until the next time.
    Look(u32, Whom),
    /// The router of this link is this one from now on; `None`: none is known.
    Found(u32, Option<Ipv6Addr>),
}

/// Who is to show itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Whom {
    /// Routers.
    Routers,
    /// Everybody on the link.
    Everybody,
}

impl Unnumbered {
    /// One that knows of no link.
    pub fn new() -> Self {
        Self::default()
    }

    fn set_links(&mut self, now: Time, links: &BTreeMap<u32, Mac>) {
        let is_gone = |(ifindex, link): (&u32, &Link)| links.get(ifindex) != Some(&link.mac);
        let gone: Vec<u32> = self
            .links
            .iter()
            .filter(|l| is_gone(*l))
            .map(|l| *l.0)
            .collect();
        for ifindex in gone {
            self.links.remove(&ifindex);
            self.outputs.push_back(Output::Found(ifindex, None));
        }
        for (ifindex, mac) in links {
            self.links.entry(*ifindex).or_insert(Link {
                mac: *mac,
                solicitations: SOLICITATIONS,
                solicit_at: now,
                advertise_at: now,
                look_at: now + LOOK_AFTER,
                looks: 0,
                router: None,
                rivals: Rivals::default(),
            });
        }
    }

    /// Neighbours of a link among which nothing says which is meant.
    pub fn rivals(&self, ifindex: u32) -> Rivals {
        let link = self.links.get(&ifindex);
        link.map_or_else(Rivals::default, |link| link.rivals)
    }

    /// Of two routers on a link the first stays for as long as it is heard. One that advertises itself comes before one that does not.
    fn heard(&mut self, now: Time, ifindex: u32, address: Ipv6Addr) {
        if !address.is_unicast_link_local() {
            return;
        }
        let Some(link) = self.links.get_mut(&ifindex) else {
            return;
        };
        link.solicitations = 0;
        link.rivals = Rivals::default();
        let known = link.router.replace(Router {
            address,
            sign: Sign::Heard(now),
        });
        match known {
            Some(known) if known.address == address => {}
            Some(Router {
                sign: Sign::Heard(last),
                ..
            }) if now.since(last) < SILENT => link.router = known,
            Some(_) | None => self
                .outputs
                .push_back(Output::Found(ifindex, Some(address))),
        }
    }

    /// The one router among the neighbours is it, or the one neighbour. Without one nothing changes: the kernel forgets neighbours that
    /// nobody talks to.
    fn neighbours(
        &mut self,
        ifindex: u32,
        routers: &BTreeSet<Ipv6Addr>,
        others: &BTreeSet<Ipv6Addr>,
    ) {
        let Some(link) = self.links.get_mut(&ifindex) else {
            return;
        };
        let (router, routers) = the_one(routers);
        let (other, others) = the_one(others);
        // Before everybody was asked nobody is known to be alone.
        let others = match routers == 0 && link.looks > LOOKS_AT_ROUTERS {
            true => others,
            false => 0,
        };
        link.looks = match routers {
            0 => link.looks.saturating_add(1),
            _ => 0,
        };
        let several = |count: usize| if count > 1 { count } else { 0 };
        link.rivals = match link.router {
            None => Rivals {
                routers: several(routers),
                others: several(others),
            },
            Some(_) => Rivals::default(),
        };
        let found = match (router, other.filter(|_| others == 1)) {
            (Some(address), _) => Router {
                address,
                sign: Sign::OnlyRouter,
            },
            (None, Some(address)) => Router {
                address,
                sign: Sign::Alone,
            },
            (None, None) => return,
        };
        let known = link.router;
        match known.map(|known| known.sign) {
            // It advertised itself, which counts more; and so does calling oneself a router.
            Some(Sign::Heard(_)) => return,
            Some(Sign::OnlyRouter) if found.sign == Sign::Alone => return,
            Some(Sign::OnlyRouter | Sign::Alone) | None => link.router = Some(found),
        }
        if known.is_none_or(|known| known.address != found.address) {
            let found = Output::Found(ifindex, Some(found.address));
            self.outputs.push_back(found);
        }
    }
}

/// The only link-local address of a set, and how many there are.
fn the_one(addresses: &BTreeSet<Ipv6Addr>) -> (Option<Ipv6Addr>, usize) {
    let near = || addresses.iter().filter(|one| one.is_unicast_link_local());
    let count = near().count();
    (near().next().copied().filter(|_| count == 1), count)
}

impl Link {
    /// When the neighbours are looked through next. While the router advertises itself it is not asked who else is there.
    fn looks(&self) -> Option<Time> {
        match self.router.map(|router| router.sign) {
            Some(Sign::Heard(_)) => None,
            Some(Sign::OnlyRouter | Sign::Alone) | None => Some(self.look_at),
        }
    }

    /// Everybody is asked only where no router answered: on a large segment that is many answers.
    const fn whom(&self) -> Whom {
        match self.looks < LOOKS_AT_ROUTERS {
            true => Whom::Routers,
            false => Whom::Everybody,
        }
    }
}

impl Machine for Unnumbered {
    type Input = Input;
    type Output = Output;

    fn input(&mut self, now: Time, input: Input) {
        match input {
            Input::Links(links) => self.set_links(now, &links),
            Input::Heard { ifindex, router } => self.heard(now, ifindex, router),
            Input::Neighbours {
                ifindex,
                routers,
                others,
            } => self.neighbours(ifindex, &routers, &others),
        }
        self.expire(now);
    }

    fn expire(&mut self, now: Time) {
        for (ifindex, link) in &mut self.links {
            if link.solicitations > 0 && link.solicit_at <= now {
                link.solicitations -= 1;
                link.solicit_at = now + SOLICIT_AGAIN;
                self.outputs.push_back(Output::Solicit(*ifindex, link.mac));
            }
            if link.advertise_at <= now {
                link.advertise_at = now + ADVERTISE_AGAIN;
                self.outputs
                    .push_back(Output::Advertise(*ifindex, link.mac));
            }
            if link.looks().is_some_and(|at| at <= now) {
                link.look_at = now + LOOK_AGAIN;
                self.outputs.push_back(Output::Look(*ifindex, link.whom()));
            }
        }
    }

    fn output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn deadline(&self) -> Option<(Time, &'static str)> {
        let due = |link: &Link| {
            let solicit = (link.solicitations > 0).then_some((link.solicit_at, "solicit"));
            let look = link.looks().map(|at| (at, "look"));
            [Some((link.advertise_at, "advertise")), solicit, look]
        };
        self.links.values().flat_map(due).flatten().min()
    }
}

/// The bytes of a router solicitation (RFC 4861 §4.1), without its checksum, which is the kernel's.
pub fn solicitation(mac: Mac) -> [u8; 16] {
    let mut message = [0; 16];
    message[0] = 133;
    message[8..].copy_from_slice(&source_link_layer_address(mac));
    message
}

/// The bytes of an echo request (RFC 4443 §4.1), without its checksum. To all routers of a link, or to all nodes: who answers asks for our address first, and
/// the kernel asks for theirs then, and hears in the answer whether it is a router. The answers themselves are nobody's.
pub const fn echo_request() -> [u8; 8] {
    [128, 0, 0, 0, 0, 0, 0, 0]
}

/// The bytes of a router advertisement (RFC 4861 §4.2) of one that is nobody's default route and tells of no prefix, without its checksum.
pub fn advertisement(mac: Mac) -> [u8; 24] {
    let mut message = [0; 24];
    message[0] = 134;
    message[16..].copy_from_slice(&source_link_layer_address(mac));
    message
}

/// RFC 4861 §4.6.1.
fn source_link_layer_address(Mac(mac): Mac) -> [u8; 8] {
    let [a, b, c, d, e, f] = mac;
    [1, 1, a, b, c, d, e, f]
}

/// RFC 4861 §6.3.7 and §10: three, four seconds apart.
const SOLICITATIONS: u8 = 3;
const SOLICIT_AGAIN: Span = Span::s(4);
/// When the last of them should have been answered.
const LOOK_AFTER: Span = Span::s(12);
/// A neighbour that only answers is known as a router after twice this time (delay_first_probe_time of both sides).
const LOOK_AGAIN: Span = Span::s(5);
/// Then everybody is asked, and who is alone in answering is known at the look after that.
const LOOKS_AT_ROUTERS: u8 = 2;
/// As FRR does for peers of this kind; RFC 4861 §6.2.1 allows 4 s and more.
const ADVERTISE_AGAIN: Span = Span::s(10);
/// A router that was not heard for three of those may have been replaced.
const SILENT: Span = Span::s(30);

#[cfg(test)]
mod tests;
