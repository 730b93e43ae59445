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
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn router(last: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last)
    }

    fn s(seconds: u64) -> Time {
        Time::ms(seconds * 1000)
    }

    fn outputs(machine: &mut Unnumbered) -> Vec<Output> {
        std::iter::from_fn(|| machine.output()).collect()
    }

    fn up(now: Time) -> Unnumbered {
        let mut machine = Unnumbered::new();
        machine.input(now, Input::Links(BTreeMap::from([(2, MAC)])));
        machine
    }

    fn heard(machine: &mut Unnumbered, now: Time, from: Ipv6Addr) -> Vec<Output> {
        outputs(machine);
        let input = Input::Heard {
            ifindex: 2,
            router: from,
        };
        machine.input(now, input);
        let found = outputs(machine).into_iter();
        found
            .filter(|output| matches!(output, Output::Found(..)))
            .collect()
    }

    /// Lets time pass, and tells when what was sent.
    fn run(machine: &mut Unnumbered, until: Time) -> Vec<(Time, Output)> {
        let mut sent = Vec::new();
        while let Some((at, _)) = machine.deadline().filter(|(at, _)| *at <= until) {
            machine.expire(at);
            sent.extend(outputs(machine).into_iter().map(|output| (at, output)));
        }
        sent
    }

    #[test]
    fn rfc4861_6_3_7_three_solicitations_four_seconds_apart() {
        let mut machine = up(s(0));
        let first = outputs(&mut machine);
        assert_eq!(first, [Output::Solicit(2, MAC), Output::Advertise(2, MAC)]);
        let sent = run(&mut machine, s(30));
        let asked: Vec<Time> = sent
            .iter()
            .filter(|(_, output)| matches!(output, Output::Solicit(..)))
            .map(|(at, _)| *at)
            .collect();
        assert_eq!(asked, [s(4), s(8)]);
        let said = sent
            .iter()
            .filter(|(_, output)| matches!(output, Output::Advertise(..)));
        assert_eq!(
            said.map(|(at, _)| *at).collect::<Vec<_>>(),
            [s(10), s(20), s(30)]
        );
    }

    #[test]
    fn a_router_that_is_heard_is_found_and_no_more_asked_for() {
        let mut machine = up(s(0));
        let found = heard(&mut machine, s(1), router(7));
        assert_eq!(found, [Output::Found(2, Some(router(7)))]);
        let sent = run(&mut machine, s(9));
        assert_eq!(sent, [], "nothing is due before the next advertisement");
        assert_eq!(heard(&mut machine, s(11), router(7)), []);
    }

    fn looked(machine: &mut Unnumbered, now: Time, routers: &[u16]) -> Vec<Output> {
        saw(machine, now, routers, &[])
    }

    fn saw(machine: &mut Unnumbered, now: Time, routers: &[u16], others: &[u16]) -> Vec<Output> {
        outputs(machine);
        let addresses = |last: &[u16]| last.iter().map(|last| router(*last)).collect();
        machine.input(
            now,
            Input::Neighbours {
                ifindex: 2,
                routers: addresses(routers),
                others: addresses(others),
            },
        );
        let found = outputs(machine).into_iter();
        found
            .filter(|output| matches!(output, Output::Found(..)))
            .collect()
    }

    #[test]
    fn where_nobody_advertises_itself_the_neighbours_are_looked_through() {
        let mut machine = up(s(0));
        let sent = run(&mut machine, s(35));
        let look = Output::Look(2, Whom::Routers);
        let looks = sent.iter().filter(|(_, output)| *output == look);
        let looks: Vec<Time> = looks.map(|(at, _)| *at).collect();
        assert_eq!(looks, [s(12), s(17), s(22), s(27), s(32)]);
        assert_eq!(looked(&mut machine, s(35), &[]), []);
        let found = looked(&mut machine, s(36), &[7]);
        assert_eq!(found, [Output::Found(2, Some(router(7)))]);
        assert_eq!(looked(&mut machine, s(37), &[7]), []);
        assert_eq!(
            looked(&mut machine, s(38), &[]),
            [],
            "nobody better is known"
        );
        let found = looked(&mut machine, s(39), &[8]);
        assert_eq!(
            found,
            [Output::Found(2, Some(router(8)))],
            "it was exchanged"
        );
    }

    #[test]
    fn of_several_routers_that_do_not_advertise_themselves_none_is_taken() {
        let mut machine = up(s(0));
        assert_eq!(looked(&mut machine, s(12), &[7, 8]), []);
        let rivals = machine.rivals(2);
        assert_eq!((rivals.routers, rivals.others), (2, 0));
        let found = looked(&mut machine, s(22), &[8]);
        assert_eq!(found, [Output::Found(2, Some(router(8)))]);
        assert_eq!(machine.rivals(2), Rivals::default());
        assert_eq!(looked(&mut machine, s(32), &[7, 8]), []);
        assert_eq!(machine.rivals(2), Rivals::default(), "the first one stays");
    }

    #[test]
    fn where_nobody_calls_itself_a_router_everybody_is_asked_and_who_is_alone_is_it() {
        let mut machine = up(s(0));
        for at in [12, 17] {
            let sent = run(&mut machine, s(at));
            let look = (s(at), Output::Look(2, Whom::Routers));
            assert!(sent.contains(&look), "{sent:?}");
            assert_eq!(saw(&mut machine, s(at), &[], &[7]), [], "not all are known");
        }
        let sent = run(&mut machine, s(22));
        assert!(sent.contains(&(s(22), Output::Look(2, Whom::Everybody))));
        // Their answers are seen at the next look.
        assert_eq!(saw(&mut machine, s(22), &[], &[7]), []);
        let found = saw(&mut machine, s(27), &[], &[7]);
        assert_eq!(found, [Output::Found(2, Some(router(7)))]);
        assert_eq!(saw(&mut machine, s(32), &[], &[7]), []);
        assert_eq!(saw(&mut machine, s(37), &[], &[7, 8]), [], "it stays");
        let found = saw(&mut machine, s(42), &[8], &[7]);
        assert_eq!(found, [Output::Found(2, Some(router(8)))], "a router");
        assert_eq!(saw(&mut machine, s(47), &[], &[7]), []);
    }

    #[test]
    fn of_several_that_are_no_routers_none_is_taken() {
        let mut machine = up(s(0));
        for at in [12, 17, 22, 27] {
            assert_eq!(saw(&mut machine, s(at), &[], &[7, 8]), []);
        }
        let rivals = machine.rivals(2);
        assert_eq!((rivals.routers, rivals.others), (0, 2));
        let found = saw(&mut machine, s(32), &[], &[8]);
        assert_eq!(found, [Output::Found(2, Some(router(8)))], "one has gone");
        assert_eq!(machine.rivals(2).others, 0);
    }

    #[test]
    fn an_only_neighbour_that_turns_out_a_router_stays() {
        let mut machine = up(s(0));
        for at in [12, 17, 22, 27] {
            saw(&mut machine, s(at), &[], &[7]);
        }
        assert_eq!(looked(&mut machine, s(37), &[7]), []);
        assert_eq!(saw(&mut machine, s(42), &[], &[8]), []);
    }

    #[test]
    fn who_advertises_itself_counts_more_than_what_neighbours_are() {
        let mut machine = up(s(0));
        looked(&mut machine, s(12), &[7]);
        let found = heard(&mut machine, s(13), router(8));
        assert_eq!(found, [Output::Found(2, Some(router(8)))]);
        assert_eq!(looked(&mut machine, s(14), &[7]), []);
        let sent = run(&mut machine, s(60));
        let is_look = |output: &Output| matches!(output, Output::Look(..));
        assert!(sent.iter().all(|(_, output)| !is_look(output)), "{sent:?}");
    }

    #[test]
    fn the_first_of_two_routers_stays_for_as_long_as_it_is_heard() {
        let mut machine = up(s(0));
        heard(&mut machine, s(1), router(7));
        assert_eq!(heard(&mut machine, s(2), router(8)), []);
        heard(&mut machine, s(11), router(7));
        assert_eq!(heard(&mut machine, s(40), router(8)), []);
        let found = heard(&mut machine, s(41), router(8));
        assert_eq!(found, [Output::Found(2, Some(router(8)))]);
    }

    #[test]
    fn a_link_that_comes_back_begins_anew() {
        let mut machine = up(s(0));
        heard(&mut machine, s(1), router(7));
        machine.input(s(2), Input::Links(BTreeMap::new()));
        assert_eq!(outputs(&mut machine), [Output::Found(2, None)]);
        assert_eq!(machine.deadline(), None);
        machine.input(s(3), Input::Links(BTreeMap::from([(2, MAC)])));
        assert!(outputs(&mut machine).contains(&Output::Solicit(2, MAC)));
    }

    #[test]
    fn rfc4861_6_1_2_only_link_local_sources_are_routers_and_only_of_links_with_peers() {
        let mut machine = up(s(0));
        assert_eq!(
            heard(&mut machine, s(1), "2001:db8::1".parse().unwrap()),
            []
        );
        let elsewhere = Input::Heard {
            ifindex: 3,
            router: router(7),
        };
        machine.input(s(1), elsewhere);
        assert_eq!(outputs(&mut machine), []);
    }

    #[test]
    fn rfc4861_4_1_messages_carry_the_link_layer_address_and_no_lifetime() {
        let solicitation = solicitation(MAC);
        assert_eq!(solicitation[..8], [133, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(solicitation[8..], [1, 1, 2, 0, 0, 0, 0, 1]);
        let advertisement = advertisement(MAC);
        assert_eq!(advertisement[0], 134);
        assert_eq!(
            advertisement[1..16],
            [0; 15],
            "router lifetime 0 among them"
        );
        assert_eq!(advertisement[16..], [1, 1, 2, 0, 0, 0, 0, 1]);
    }
}
