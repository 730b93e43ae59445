//! The thread's turns, with a real clock, socket and machine, and a cell that no kernel reads.

use super::*;
use crate::drive::members_board::MembersBoard;
use crate::edge::gossip::Sockets;
use speaker_proto::gossip::Start;
use speaker_proto::member::Profile;
use speaker_proto::{Boot, NodeId};
use std::sync::Arc;
use std::sync::mpsc::channel;

struct Bench<S> {
    thread: Thread<S>,
    handle: PulseHandle,
    said: Receiver<Said>,
    board: MembersBoard,
}

/// A thread that found this deadline in the kernel.
fn bench(found: Time, keys: Option<Keys>) -> Bench<impl Fn(Said)> {
    bench_that_pauses(found, keys, Duration::ZERO)
}

/// A thread that takes this long to say something.
fn slow_bench(pause: Duration) -> Bench<impl Fn(Said)> {
    bench_that_pauses(Time::default(), Some(Keys::None), pause)
}

fn bench_that_pauses(found: Time, keys: Option<Keys>, pause: Duration) -> Bench<impl Fn(Said)> {
    let cell = DeadlineCell::detached();
    cell.store(found.ns());
    let profile = Profile::of("n1".parse().unwrap());
    let start = Start {
        me: NodeId(1),
        boot: Boot([1; 16]),
        profile: Arc::new(profile),
        held: Arc::default(),
        seed: 1,
        now: now(),
    };
    let board = MembersBoard::default();
    let parts = Parts {
        start,
        sockets: Sockets::open(Some([127, 0, 0, 1].into()), 0).unwrap(),
        hear: Box::new(|_| true),
        board: board.clone(),
    };
    let (say, said) = channel();
    let say = move |word| {
        thread::sleep(pause);
        say.send(word).unwrap();
    };
    let (thread, handle) = begin(cell, Stamp::default(), parts, keys, say).unwrap();
    Bench {
        thread,
        handle,
        said,
        board,
    }
}

impl<S: Fn(Said)> Bench<S> {
    /// A turn beside a deciding loop that turns too. Whether the thread goes on.
    fn turn(&mut self) -> bool {
        self.thread.decided.touch();
        self.thread.turn()
    }

    /// Turns until something is said.
    #[track_caller]
    fn hear(&mut self) -> Said {
        for _ in 0..1_000 {
            assert!(self.turn());
            if let Ok(said) = self.said.try_recv() {
                return said;
            }
        }
        panic!("nothing was said");
    }

    fn deadline(&self) -> Time {
        Time::from_ns(self.thread.cell.load())
    }
}

#[test]
fn l2_4_nothing_is_armed_before_there_is_a_secret() {
    let mut bench = bench(Time::default(), None);
    bench.handle.arm();
    for _ in 0..3 {
        assert!(bench.turn());
    }
    assert_eq!(bench.deadline(), Time::default());
    assert!(bench.handle.install(Keys::None));
    assert_eq!(bench.hear(), Said::Armed);
    assert!(bench.deadline() > now());
}

#[test]
fn l2_4_a_deadline_that_was_adopted_lapses_without_a_secret() {
    let mut bench = bench(now() + Span::s(5), None);
    assert!(bench.handle.is_adopted());
    let Said::Lapsed { deadline } = bench.hear() else {
        panic!("armed without a secret");
    };
    assert!(deadline < now());
}

#[test]
fn l5_1_with_keys_the_deadline_is_renewed_from_turn_to_turn() {
    let mut bench = bench(now() + Span::s(5), Some(Keys::None));
    let until = now() + Span::ms(700);
    while now() < until {
        assert!(bench.turn());
    }
    assert!(bench.deadline() > now());
    assert!(bench.said.try_recv().is_err(), "it never passed");
}

#[test]
fn l6_3_a_node_that_nobody_observes_promises_at_once() {
    let mut bench = bench(now() + Span::s(5), Some(Keys::None));
    let (done, written) = sync_channel(1);
    assert!(bench.handle.ask(Ask::Promise(Span::s(10), done)));
    while bench.turn() {}
    assert_eq!(written.try_recv(), Ok(true));
    assert!(bench.deadline() > now() + Span::s(9));
}

#[test]
fn l6_3_a_promise_that_nobody_can_hear_is_not_written() {
    let found = now() + Span::s(5);
    let mut bench = bench(found, None);
    let (done, written) = sync_channel(1);
    assert!(bench.handle.ask(Ask::Promise(Span::s(10), done)));
    while bench.turn() {}
    assert_eq!(written.try_recv(), Ok(false));
    assert!(
        bench.deadline() <= now() + PROMISE,
        "the ordinary one stands"
    );
}

/// What nobody but a busy machine makes long is not looked at: there any turn may be.
#[test]
fn a_turn_that_takes_long_is_counted() {
    let mut bench = slow_bench(Duration::from_millis(20));
    bench.handle.arm();
    assert_eq!(bench.hear(), Said::Armed);
    let shown = (0..1_000).find(|_| bench.turn() && bench.board.read().long_turns > 0);
    assert!(shown.is_some(), "a turn of 20 ms and more was not counted");
}

#[test]
fn what_the_pulse_does_not_take_comes_back() {
    let bench = bench(Time::default(), Some(Keys::None));
    let tell = || bench.handle.tell(gossip::Input::Tell(NodeId(2), vec![1]));
    for _ in 0..INPUTS {
        tell().unwrap();
    }
    let Err(gossip::Input::Tell(to, message)) = tell() else {
        panic!("more than there is room for");
    };
    assert_eq!((to, message), (NodeId(2), vec![1]));
}
