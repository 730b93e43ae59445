//! Two ARP responders in user space, written as well as packet sockets allow: what a responder without eBPF can do.
//!
//! Both have a classic BPF filter in the kernel, keep to one address, rewrite in place and send 64 answers per system
//! call past the queueing discipline. They differ in how frames come in: 64 per system call, or by a TPACKET_V3 ring.

use crate::net::{Door, NODE_LINK, NODE_MAC, Namespace, VIP};
use crate::raw::{self, Batch, PacketSocket, Ring};
use anyhow::{Context, Result, bail};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

/// How frames come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// recvmmsg.
    Batches,
    /// TPACKET_V3.
    Ring,
}

/// A responder that runs until dropped.
pub(crate) struct Responder {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Responder {
    /// Starts one in `namespace`, on `cpu` or wherever the scheduler puts it, and waits until it listens.
    pub(crate) fn start(way: Way, namespace: &Namespace, cpu: Option<usize>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let door = namespace.door()?;
        let (ready, listens) = channel();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            if let Some(cpu) = cpu {
                crate::cpu::pin(cpu)?;
            }
            respond(way, &door, &stopped, &ready)
        });
        if listens.recv().is_err() {
            match thread.join() {
                Ok(Err(error)) => return Err(error.context("failed to start a responder")),
                Ok(Ok(())) | Err(_) => bail!("a responder ended before it began"),
            }
        }
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => eprintln!("a responder failed: {error:#}"),
            Some(Err(_)) => eprintln!("a responder panicked"),
            Some(Ok(Ok(()))) | None => {}
        }
    }
}

fn respond(way: Way, door: &Door, stop: &AtomicBool, ready: &Sender<()>) -> Result<()> {
    door.enter()?;
    let ifindex = raw::ifindex(NODE_LINK)?;
    let receiving = PacketSocket::receiving(VIP)?;
    let sending = PacketSocket::sending(ifindex)?;
    match way {
        Way::Batches => {
            receiving.bind(ifindex)?;
            ready.send(()).context("nobody waits for the responder")?;
            by_batches(&receiving, &sending, stop)
        }
        Way::Ring => {
            let ring = Ring::map(receiving, ifindex)?;
            ready.send(()).context("nobody waits for the responder")?;
            by_ring(ring, &sending, stop)
        }
    }
}

fn by_batches(receiving: &PacketSocket, sending: &PacketSocket, stop: &AtomicBool) -> Result<()> {
    let mut batch = Batch::new();
    while !stop.load(Ordering::Relaxed) {
        if batch.receive(receiving)? == 0 {
            continue;
        }
        for frame in batch.frames() {
            answer(frame);
        }
        batch.send(sending)?;
    }
    Ok(())
}

fn by_ring(mut ring: Ring, sending: &PacketSocket, stop: &AtomicBool) -> Result<()> {
    let mut batch = Batch::new();
    while !stop.load(Ordering::Relaxed) {
        ring.receive(|frame| {
            let is_full = batch.push(frame);
            if is_full {
                flush(&mut batch, sending)?;
            }
            Ok(())
        })?;
        flush(&mut batch, sending)?;
    }
    Ok(())
}

fn flush(batch: &mut Batch, sending: &PacketSocket) -> Result<()> {
    for frame in batch.frames() {
        answer(frame);
    }
    batch.send(sending)?;
    Ok(())
}

/// RFC 826: the request becomes its reply in place. The filter has checked operation and target.
fn answer(frame: &mut [u8]) {
    let Some(frame) = frame.first_chunk_mut::<42>() else {
        return;
    };
    let (ether, arp) = frame.split_at_mut(14);
    let (fields, addresses) = arp.split_at_mut(8);
    let (sender, target) = addresses.split_at_mut(10);
    fields[7] = 2;
    sender.swap_with_slice(target);
    sender[..6].copy_from_slice(&NODE_MAC);
    ether[..6].copy_from_slice(&target[..6]);
    ether[6..12].copy_from_slice(&NODE_MAC);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame;

    #[test]
    fn rfc826_an_answer_carries_the_address_that_was_asked_for() {
        let mut frame = frame::arp_request();
        answer(&mut frame);
        assert_eq!(frame[..6], frame::arp_request()[6..12], "to who asked");
        assert_eq!(frame[20..22], [0, 2], "reply");
        assert_eq!(frame[22..28], NODE_MAC, "our hardware");
        assert_eq!(frame[28..32], VIP.octets(), "the address");
        assert_eq!(
            frame[32..42],
            frame::arp_request()[22..32],
            "back to the sender"
        );
    }
}
