//! What BGP is worth, in numbers: a node is drained, a speaker is killed, a node dies, each while a thousand datagrams a second come from
//! behind the router.

use super::Rack;
use crate::lab::Lab;
use crate::lab::proxy::Protocol;
use crate::lab::show::out;
use crate::lab::traffic::{Tally, Traffic};
use crate::tools::within;
use anyhow::{Context, Result, bail};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Shows all three. Whether what promises to lose nothing lost nothing; none when it was interrupted before its end.
///
/// # Errors
/// When no service of UDP is there, or the router does not do what is waited for.
pub(in crate::lab) fn tour(
    lab: &mut Lab,
    rack: &Rack,
    mut interrupted: impl FnMut() -> bool,
) -> Result<Option<bool>> {
    let frontends = lab.frontends()?;
    let echo = frontends
        .iter()
        .find(|frontend| frontend.protocol == Protocol::Udp)
        .context("the tour wants a service on UDP")?;
    let traffic = Traffic::open(lab.topology.asker(), echo.address())?;
    let mut scene = Scene {
        lab,
        rack,
        traffic,
        vip: echo.vip,
    };
    out(&format!(
        "\nThe tour: 1,000 datagrams a second from behind the router to {} at {}",
        echo.service,
        echo.address()
    ));
    let mut is_well = true;
    for step in [Scene::drain, Scene::kill, Scene::die] {
        if interrupted() {
            return Ok(None);
        }
        is_well &= step(&mut scene)?;
    }
    Ok(Some(is_well))
}

struct Scene<'a> {
    lab: &'a mut Lab,
    rack: &'a Rack,
    traffic: Traffic,
    vip: IpAddr,
}

impl Scene<'_> {
    fn drain(&mut self) -> Result<bool> {
        let node = self.busiest()?;
        out(&format!(
            "\n1. {node} is drained: {} drain",
            self.lab.speaker(&node)?.ctl_words()
        ));
        let (took, tally) = self.under_load(&node, SESSION_ENDS, |scene| {
            scene.lab.speaker(&node)?.ctl(&["drain"]).map(drop)
        })?;
        out(&format!(
            "   the router sends it nothing new after {}; {}",
            seconds(took),
            words(&tally)
        ));
        self.lab.speaker(&node)?.ctl(&["drain", "--undo"])?;
        self.rack.settle(self.lab)?;
        Ok(tally.lost.is_empty())
    }

    fn kill(&mut self) -> Result<bool> {
        let node = self.busiest()?;
        out(&format!(
            "\n2. The speaker of {node} is killed (kill -9); the node goes on"
        ));
        let (took, tally) =
            self.under_load(&node, AFTER, |scene| scene.lab.speaker(&node)?.kill())?;
        out(&format!(
            "   the router sends the node nothing after {}; {}",
            seconds(took),
            words(&tally)
        ));
        self.lab.start_speaker(&node)?;
        self.lab.speaker(&node)?.wait_until_ready()?;
        self.rack.settle(self.lab)?;
        Ok(tally.lost.is_empty())
    }

    /// Until the router notices, what it sends there is lost.
    fn die(&mut self) -> Result<bool> {
        let node = self.busiest()?;
        let address = self.lab.topology.node(&node).context("no such node")?.v4();
        out(&format!(
            "\n3. {node} dies: its link carries nothing any more, and the router's own link stays up"
        ));
        let (took, tally) = self.under_load(&node, AFTER, |scene| {
            scene
                .lab
                .topology
                .switch
                .ip(&format!("link set {node} down"))
        })?;
        let seen = self.rack.frr.neighbour(&address.to_string())?;
        let because = seen["lastNotificationReason"].as_str();
        let because = because
            .or(seen["lastResetDueTo"].as_str())
            .unwrap_or_default();
        out(&format!(
            "   the router sends it nothing after {} (\"{because}\"; BFD's time is 0.3 s); {}",
            seconds(took),
            words(&tally)
        ));
        self.lab
            .topology
            .switch
            .ip(&format!("link set {node} up"))?;
        self.rack.settle(self.lab)?;
        Ok(true)
    }

    /// The node through which most flows go, after it was said how they go.
    fn busiest(&self) -> Result<String> {
        let nodes = self.traffic.by_node()?;
        let all: Vec<String> = nodes
            .iter()
            .map(|(node, flows)| format!("{flows} by {node}"))
            .collect();
        out(&format!("\n   flows: {}", all.join(", ")));
        let most = nodes.into_iter().max_by_key(|(_, flows)| *flows);
        Ok(most.context("there are no flows")?.0)
    }

    /// Does something while traffic runs, and waits until the router sends nothing to the node any more: how long that took, and what
    /// the traffic lost.
    fn under_load(
        &mut self,
        node: &str,
        after: Duration,
        act: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<(Duration, Tally)> {
        let stop = AtomicBool::new(false);
        let traffic = self.traffic.try_clone()?;
        thread::scope(|scope| {
            let running = scope.spawn(|| traffic.run(&stop));
            thread::sleep(LEAD);
            let begun = Instant::now();
            let done = act(self).and_then(|()| self.until_avoided(node));
            let took = begun.elapsed();
            if done.is_ok() {
                thread::sleep(after);
            }
            stop.store(true, Ordering::Relaxed);
            let tally = match running.join() {
                Ok(tally) => tally,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            done.map(|()| (took, tally))
        })
    }

    fn until_avoided(&self, node: &str) -> Result<()> {
        let seen = within(AVOIDED_MAX, || match self.rack.ways() {
            Ok(ways)
                if !ways
                    .get(&self.vip)
                    .is_some_and(|nodes| nodes.contains(node)) =>
            {
                Ok(())
            }
            other => Err(other),
        });
        let ways = match seen {
            Ok(()) => return Ok(()),
            Err(seen) => seen?,
        };
        bail!(
            "the router still sends to {node} after {} s: {ways:?}",
            AVOIDED_MAX.as_secs()
        )
    }
}

fn words(tally: &Tally) -> String {
    let counted = format!("{} of {} datagrams lost", tally.lost.len(), tally.sent);
    match tally.gap() {
        Some(gap) => format!("{counted}, all within {}", seconds(gap)),
        None => counted,
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// Traffic before, so that it is known to flow.
const LEAD: Duration = Duration::from_secs(1);
const AFTER: Duration = Duration::from_secs(2);
/// A drained node's session ends seconds after its routes were marked; that must lose nothing either.
const SESSION_ENDS: Duration = Duration::from_secs(9);
const AVOIDED_MAX: Duration = Duration::from_secs(30);
