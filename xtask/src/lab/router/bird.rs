//! BIRD 2: one process in the router's namespace, told by a file and asked by birdc.

use super::Daemons;
use crate::lab::Lab;
use crate::lab::net::{self, Netns};
use crate::routers::Routers;
use crate::tools::within;
use anyhow::{Context, Result};
use std::time::Duration;

/// A running BIRD.
#[derive(Debug)]
pub struct Bird {
    routers: Routers,
    netns: Netns,
    daemons: Daemons,
}

impl Bird {
    /// Starts it with this configuration, and waits until it can be asked.
    ///
    /// # Errors
    /// When the lab has no router's namespace, or it does not come up.
    pub fn start(lab: &mut Lab, config: &str) -> Result<Self> {
        let netns = lab.topology().router.clone();
        let mut bird = Self {
            routers: Routers::ensure()?,
            netns: netns.context("the lab has no router")?,
            daemons: Daemons::new(lab, "bird")?,
        };
        let config = bird.daemons.write("bird.conf", config)?;
        let mut command = bird.routers.command(&bird.netns, "usr/sbin/bird");
        command.arg("-f").arg("-c").arg(config);
        command.arg("-s").arg(bird.daemons.file("bird.ctl"));
        bird.daemons.start(lab, "bird", &mut command)?;
        within(STARTED_MAX, || bird.ask("show status"))?;
        Ok(bird)
    }

    /// What birdc prints for a command.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn ask(&self, command: &str) -> Result<String> {
        let mut birdc = self.routers.command(&self.netns, "usr/sbin/birdc");
        birdc.arg("-s").arg(self.daemons.file("bird.ctl"));
        net::output(birdc.args(command.split(' ')))
    }

    /// Stops it where it is, as a machine that hangs, or lets it go on.
    pub fn freeze(&mut self, is_frozen: bool) {
        self.daemons.freeze(is_frozen);
    }
}

const STARTED_MAX: Duration = Duration::from_secs(60);
