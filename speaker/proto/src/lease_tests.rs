//! The Lease machine: its table of answers, and many of them over a network that delays and stands still.

use super::*;
use proptest::prelude::*;

fn record(holder: Holder, version: &str) -> Option<Record> {
    Some(Record {
        holder,
        version: version.into(),
    })
}

fn outputs(lease: &mut Lease) -> Vec<Output> {
    std::iter::from_fn(|| lease.output()).collect()
}

/// One look at `ms`, answered at once.
fn look(lease: &mut Lease, ms: u64, found: Option<Record>) -> Vec<Output> {
    lease.expire(Time::ms(ms));
    assert_eq!(outputs(lease), [Output::Read], "at {ms}");
    lease.input(Time::ms(ms), Input::Seen(found));
    outputs(lease)
}

fn leader(ms: u64) -> Lease {
    let mut lease = Lease::new(Time::ms(ms));
    assert_eq!(look(&mut lease, ms, None), [Output::Write(Claim::Make)]);
    lease.input(Time::ms(ms), Input::Written);
    assert_eq!(outputs(&mut lease), [Output::Leads]);
    lease
}

#[test]
fn the_first_process_of_all_leads_at_once() {
    let lease = leader(1000);
    assert!(lease.may_write(Time::ms(1000)));
}

#[test]
fn a_lease_of_another_is_free_once_it_was_seen_unchanged_for_its_length() {
    let mut lease = Lease::new(Time::ms(0));
    assert_eq!(
        look(&mut lease, 0, record(Holder::Another, "1")),
        [],
        "its age before is unknown"
    );
    assert_eq!(look(&mut lease, 8000, record(Holder::Another, "1")), []);
    assert_eq!(
        look(&mut lease, 14_000, record(Holder::Another, "2")),
        [],
        "it was renewed"
    );
    assert_eq!(look(&mut lease, 28_000, record(Holder::Another, "2")), []);
    let free = look(&mut lease, 30_000, record(Holder::Another, "2"));
    assert_eq!(free, [Output::Write(Claim::Take)]);
}

#[test]
fn a_lease_that_was_given_back_is_free_at_once() {
    let mut lease = Lease::new(Time::ms(0));
    assert_eq!(look(&mut lease, 0, record(Holder::Another, "1")), []);
    let free = look(&mut lease, 2000, record(Holder::Nobody, "2"));
    assert_eq!(free, [Output::Write(Claim::Take)]);
}

#[test]
fn a_lease_that_vanished_is_waited_for_as_if_it_were_held() {
    let mut lease = Lease::new(Time::ms(0));
    assert_eq!(look(&mut lease, 0, record(Holder::Another, "1")), []);
    assert_eq!(look(&mut lease, 2000, None), []);
    let free = look(&mut lease, 17_000, None);
    assert_eq!(free, [Output::Write(Claim::Make)]);
}

#[test]
fn who_loses_the_race_goes_on_following() {
    let mut lease = Lease::new(Time::ms(0));
    assert_eq!(look(&mut lease, 0, None), [Output::Write(Claim::Make)]);
    lease.input(Time::ms(10), Input::Conflict);
    assert_eq!(outputs(&mut lease), []);
    assert_eq!(look(&mut lease, 2000, record(Holder::Another, "1")), []);
    assert!(!lease.leads());
}

#[test]
fn writes_stop_while_they_can_still_end_in_time() {
    let mut lease = leader(0);
    assert!(lease.may_write(Time::ms(4999)));
    assert!(!lease.may_write(Time::ms(5000)));
    lease.expire(Time::ms(2000));
    assert_eq!(outputs(&mut lease), [Output::Write(Claim::Renew)]);
    lease.input(Time::ms(4000), Input::Written);
    assert!(
        lease.may_write(Time::ms(6999)) && !lease.may_write(Time::ms(7000)),
        "counted from the start of the renewal, not from its answer"
    );
}

#[test]
fn a_leader_that_cannot_renew_ends() {
    let mut lease = leader(0);
    lease.expire(Time::ms(2000));
    lease.input(Time::ms(7000), Input::Failed);
    assert_eq!(outputs(&mut lease), [Output::Write(Claim::Renew)]);
    lease.expire(Time::ms(9999));
    assert_eq!(outputs(&mut lease), [Output::Write(Claim::Renew)]);
    lease.expire(Time::ms(10_000));
    let why = "the Lease could not be renewed in time";
    assert_eq!(outputs(&mut lease), [Output::Deposed(why)]);
    assert!(!lease.may_write(Time::ms(10_000)));
    assert_eq!(lease.deadline(), None);
}

#[test]
fn a_success_that_is_heard_too_late_counts_from_its_start() {
    let mut lease = leader(0);
    lease.expire(Time::ms(2000));
    outputs(&mut lease);
    lease.input(Time::ms(13_000), Input::Written);
    assert!(matches!(outputs(&mut lease)[..], [Output::Deposed(_)]));
}

#[test]
fn a_renewal_without_an_answer_is_found_again() {
    let mut lease = leader(0);
    lease.expire(Time::ms(2000));
    lease.input(Time::ms(3000), Input::Failed);
    outputs(&mut lease);
    lease.expire(Time::ms(4000));
    assert_eq!(outputs(&mut lease), [Output::Write(Claim::Renew)]);
    lease.input(Time::ms(4001), Input::Conflict);
    assert_eq!(outputs(&mut lease), [Output::Read]);
    assert!(!lease.may_write(Time::ms(4001)), "nobody knows who wrote");
    lease.input(Time::ms(4002), Input::Seen(record(Holder::Us, "3")));
    assert_eq!(outputs(&mut lease), [Output::Write(Claim::Renew)]);
    assert!(lease.may_write(Time::ms(4002)));
}

#[test]
fn a_lease_that_another_wrote_or_deleted_deposes() {
    for found in [
        record(Holder::Another, "3"),
        record(Holder::Nobody, "3"),
        None,
    ] {
        let mut lease = leader(0);
        lease.expire(Time::ms(2000));
        lease.input(Time::ms(2001), Input::Conflict);
        outputs(&mut lease);
        lease.input(Time::ms(2002), Input::Seen(found.clone()));
        assert!(
            matches!(outputs(&mut lease)[..], [Output::Deposed(_)]),
            "{found:?}"
        );
    }
}

#[test]
fn who_stops_gives_back_what_it_holds_and_writes_no_more() {
    let mut lease = leader(0);
    lease.expire(Time::ms(2000));
    assert_eq!(outputs(&mut lease), [Output::Write(Claim::Renew)]);
    lease.input(Time::ms(2001), Input::Resign);
    assert!(!lease.may_write(Time::ms(2001)));
    assert_eq!(outputs(&mut lease), [], "a renewal is under way");
    lease.input(Time::ms(2002), Input::Written);
    assert_eq!(outputs(&mut lease), [Output::Write(Claim::Release)]);
    lease.input(Time::ms(2003), Input::Written);
    assert_eq!(outputs(&mut lease), [Output::Resigned]);

    let mut follower = Lease::new(Time::ms(0));
    follower.input(Time::ms(1), Input::Resign);
    assert_eq!(outputs(&mut follower), [Output::Resigned]);
}

#[test]
fn a_spurious_expiry_is_harmless() {
    let mut lease = leader(0);
    for ms in 0..2000 {
        lease.expire(Time::ms(ms));
    }
    assert_eq!(outputs(&mut lease), []);
    lease.expire(Time::ms(2000));
    lease.expire(Time::ms(4000));
    assert_eq!(
        outputs(&mut lease),
        [Output::Write(Claim::Renew)],
        "one request at a time"
    );
}

/// The Lease as the API server has it.
#[derive(Clone, Debug, Default)]
struct Store {
    holder: Option<u32>,
    version: u64,
    exists: bool,
}

/// What is on its way to the server or back.
#[derive(Debug)]
struct Request {
    of: u32,
    claim: Option<Claim>,
    over: u64,
    lands: u64,
    answers: u64,
    answer: Option<Input>,
}

struct Process {
    id: u32,
    lease: Lease,
    seen: u64,
    gives_up: Option<u64>,
    stands_still_until: u64,
}

/// Processes, the server, and chance from a seed.
struct Sim {
    seed: u64,
    delay_max: u64,
    now: u64,
    store: Store,
    processes: Vec<Process>,
    requests: Vec<Request>,
    /// When each process could last write, by its id.
    wrote: std::collections::BTreeMap<u32, u64>,
    /// When anybody could write last.
    last_wrote: u64,
    /// Nobody stands still, resigns or starts anew any more.
    is_calm: bool,
    next_id: u32,
    led: u32,
}

impl Sim {
    fn new(seed: u64, delay_max: u64, count: u32) -> Self {
        let mut sim = Self {
            seed,
            delay_max,
            now: 0,
            store: Store::default(),
            processes: Vec::new(),
            requests: Vec::new(),
            wrote: std::collections::BTreeMap::new(),
            last_wrote: 0,
            is_calm: false,
            next_id: 0,
            led: 0,
        };
        for _ in 0..count {
            let process = sim.start();
            sim.processes.push(process);
        }
        sim
    }

    fn chance(&mut self, below: u64) -> u64 {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % below.max(1)
    }

    fn start(&mut self) -> Process {
        self.next_id += 1;
        Process {
            id: self.next_id,
            lease: Lease::new(Time::ms(self.now)),
            seen: 0,
            gives_up: None,
            stands_still_until: 0,
        }
    }

    /// Mostly quick, at times as slow as may be.
    fn delay(&mut self) -> u64 {
        match self.chance(4) {
            0 => self.chance(self.delay_max),
            _ => self.chance(200),
        }
    }

    fn land(&mut self) {
        let (now, store) = (self.now, &mut self.store);
        for request in self.requests.iter_mut().filter(|r| r.answer.is_none()) {
            if request.lands > now {
                continue;
            }
            let is_current = match request.claim {
                Some(Claim::Make) => !store.exists,
                Some(_) => store.exists && store.version == request.over,
                None => true,
            };
            request.answer = Some(match request.claim {
                None if !store.exists => Input::Seen(None),
                None => Input::Seen(Some(Record {
                    holder: match store.holder {
                        None => Holder::Nobody,
                        Some(id) if id == request.of => Holder::Us,
                        Some(_) => Holder::Another,
                    },
                    version: store.version.to_string(),
                })),
                Some(_) if !is_current => Input::Conflict,
                Some(claim) => {
                    store.exists = true;
                    store.version += 1;
                    store.holder = (claim != Claim::Release).then_some(request.of);
                    Input::Written
                }
            });
            request.over = store.version;
        }
    }

    fn turn(&mut self, at: usize) {
        let now = Time::ms(self.now);
        let id = self.processes[at].id;
        let answered = self
            .requests
            .iter()
            .position(|r| r.of == id && r.answer.is_some() && r.answers <= self.now);
        if self.processes[at].gives_up.is_some()
            && let Some(found) = answered
        {
            let request = self.requests.swap_remove(found);
            let process = &mut self.processes[at];
            process.gives_up = None;
            process.seen = request.over;
            process.lease.input(now, request.answer.unwrap());
        } else if self.processes[at]
            .gives_up
            .is_some_and(|end| end <= self.now)
        {
            let process = &mut self.processes[at];
            process.gives_up = None;
            process.lease.input(now, Input::Failed);
            // It may land all the same, but nobody hears of it.
            for request in self.requests.iter_mut().filter(|r| r.of == id) {
                request.answers = u64::MAX;
            }
        }
        self.processes[at].lease.expire(now);
        while let Some(output) = self.processes[at].lease.output() {
            self.obey(at, output);
        }
        let process = &mut self.processes[at];
        if process.lease.may_write(now) {
            self.wrote.insert(id, self.now);
            self.last_wrote = self.now;
        }
    }

    fn obey(&mut self, at: usize, output: Output) {
        let claim = match output {
            Output::Read => None,
            Output::Write(claim) => Some(claim),
            Output::Leads => {
                self.led += 1;
                return;
            }
            Output::Resigned => {
                self.processes[at] = self.start();
                return;
            }
            Output::Deposed(_) => {
                self.processes[at] = self.start();
                return;
            }
        };
        let (there, back) = (self.delay(), self.delay());
        let process = &mut self.processes[at];
        process.gives_up = Some(self.now + REQUEST_MAX.ns() / 1_000_000);
        self.requests.push(Request {
            of: process.id,
            claim,
            over: process.seen,
            lands: self.now + there,
            answers: self.now + there + back,
            answer: None,
        });
    }

    fn step(&mut self, ms: u64) -> Result<(), String> {
        self.now += ms;
        self.land();
        for at in 0..self.processes.len() {
            if self.processes[at].stands_still_until > self.now {
                continue;
            }
            self.turn(at);
            if self.is_calm {
                continue;
            }
            match self.chance(2000) {
                0 => {
                    let until = self.now + self.chance(40_000);
                    self.processes[at].stands_still_until = until;
                }
                1 => {
                    let id = self.processes[at].id;
                    let now = Time::ms(self.now);
                    // Whoever resigns has waited for its writes.
                    self.wrote.remove(&id);
                    self.processes[at].lease.input(now, Input::Resign);
                }
                2 => self.processes[at] = self.start(),
                _ => {}
            }
        }
        self.check()
    }

    /// No two may write within the time that one request takes.
    fn check(&self) -> Result<(), String> {
        let span = REQUEST_MAX.ns() / 1_000_000;
        let late = |id: &&u32| self.wrote[*id] + span >= self.now;
        let writers: Vec<u32> = self.wrote.keys().filter(late).copied().collect();
        match writers.as_slice() {
            [] | [_] => Ok(()),
            both => Err(format!(
                "at {} ms {both:?} may write: {:?}",
                self.now, self.wrote
            )),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn never_two_may_write(seed: u64, delay_max in 200_u64..30_000, count in 2_u32..5) {
        let mut sim = Sim::new(seed, delay_max, count);
        for _ in 0..3000 {
            if let Err(why) = sim.step(100) {
                return Err(TestCaseError::fail(why));
            }
        }
    }

    #[test]
    fn somebody_leads_when_the_network_is_quick(seed: u64, count in 1_u32..5) {
        let mut sim = Sim::new(seed, 200, count);
        for _ in 0..2400 {
            sim.step(100).unwrap();
        }
        // The longest standstill, and then the time in which a Lease runs out.
        sim.is_calm = true;
        for _ in 0..600 {
            sim.step(100).unwrap();
        }
        prop_assert!(sim.led > 0);
        prop_assert!(sim.last_wrote + 5_000 > sim.now);
    }
}
