//! When a thread of a process wakes, and what holds it up.
//!
//! A thread that hangs misses its wake-ups and takes one when it goes on; a process that is stopped holds all its threads.

use crate::node::{Grip, State, Thread};
use crate::queue::Ns;
use crate::world::{Event, World};
use speaker_proto::Time;

impl World {
    /// A wake-up came.
    pub(crate) fn wake(&mut self, node: usize, life: u32, thread: Thread) {
        let now = self.now;
        let known = &mut self.nodes[node];
        if known.life != life {
            return;
        }
        let Some(process) = &mut known.process else {
            return;
        };
        let state = process.thread(thread);
        if state.wake != Some(now) {
            // An earlier wake-up took its place.
            return;
        }
        state.wake = None;
        state.due = None;
        if !state.is_free() {
            state.is_wanted = true;
            return;
        }
        match thread {
            Thread::Pulse => self.pulse_turn(node),
            Thread::Decide => self.decide_turn(node),
            Thread::Work => self.work_turn(node),
        }
    }

    /// Wakes a thread at a true time, or earlier if something else does.
    pub(crate) fn want(&mut self, node: usize, thread: Thread, at: Ns) {
        let at = at.max(self.now + 1);
        let known = &mut self.nodes[node];
        let life = known.life;
        let Some(process) = &mut known.process else {
            return;
        };
        let state = process.thread(thread);
        if state.wake.is_none_or(|wake| at < wake) {
            state.wake = Some(at);
            state.due = None;
            self.queue.plan(at, Event::Wake(node, life, thread));
        }
    }

    /// Wakes a thread as soon as the scheduler lets it.
    pub(crate) fn want_soon(&mut self, node: usize, thread: Thread) {
        let at = self.now + self.latency(node);
        self.want(node, thread, at);
    }

    /// Wakes a thread for a moment of the node's clock.
    pub(crate) fn want_when(&mut self, node: usize, thread: Thread, due: Time) {
        let planned = self.nodes[node].process.as_ref();
        let planned = planned.and_then(|process| process.threads[thread as usize].due);
        if planned == Some(due) {
            return;
        }
        let latency = self.latency(node);
        let at = self.nodes[node].clock.when(due).max(self.now) + latency;
        self.want(node, thread, at);
        if let Some(process) = &mut self.nodes[node].process {
            let state = process.thread(thread);
            if state.wake == Some(at) {
                state.due = Some(due);
            }
        }
    }

    /// One more fault holds threads.
    pub(crate) fn hold_threads(&mut self, node: usize, grip: Grip) {
        let time = self.nodes[node].time(self.now);
        let Some(process) = &mut self.nodes[node].process else {
            return;
        };
        for thread in grip.threads() {
            let state = process.thread(thread);
            let was_free = state.is_free();
            state.held[grip.number()] += 1;
            if thread == Thread::Decide && was_free {
                process.decided = time;
            }
        }
    }

    /// That fault is over.
    pub(crate) fn release_threads(&mut self, node: usize, grip: Grip) {
        let mut woken = Vec::new();
        self.oracle.released.insert(node, self.now);
        if let Some(process) = &mut self.nodes[node].process {
            for thread in grip.threads() {
                let state: &mut State = process.thread(thread);
                let held = &mut state.held[grip.number()];
                *held = held.saturating_sub(1);
                if state.is_free() && std::mem::take(&mut state.is_wanted) {
                    woken.push(thread);
                }
            }
        }
        for thread in woken {
            self.want_soon(node, thread);
        }
    }
}
