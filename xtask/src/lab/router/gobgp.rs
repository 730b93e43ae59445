//! GoBGP: one process in the router's namespace, told by a file and asked by gobgp.

use super::Daemons;
use crate::lab::Lab;
use crate::lab::net::{self, Netns};
use crate::routers::Routers;
use crate::tools::within;
use anyhow::{Context, Result};
use serde_json::Value;
use std::time::Duration;

/// A running GoBGP.
#[derive(Debug)]
pub struct GoBgp {
    routers: Routers,
    netns: Netns,
    _daemons: Daemons,
}

impl GoBgp {
    /// Starts it with this configuration in TOML, and waits until it can be asked.
    ///
    /// # Errors
    /// When the lab has no router's namespace, or it does not come up.
    pub fn start(lab: &mut Lab, config: &str) -> Result<Self> {
        let (routers, netns) = (Routers::ensure()?, lab.topology().router.clone());
        let netns = netns.context("the lab has no router")?;
        let mut daemons = Daemons::new(lab, "gobgp")?;
        let config = daemons.write("gobgp.toml", config)?;
        let mut command = routers.command(&netns, "usr/bin/gobgpd");
        command.arg("-f").arg(config);
        command.args([
            "--api-hosts",
            &format!("127.0.0.1:{PORT}"),
            "--pprof-disable",
        ]);
        daemons.start(lab, "gobgpd", &mut command)?;
        let gobgp = Self {
            routers,
            netns,
            _daemons: daemons,
        };
        within(STARTED_MAX, || gobgp.ask("neighbor"))?;
        Ok(gobgp)
    }

    /// What gobgp says to a question, in JSON.
    ///
    /// # Errors
    /// When it cannot be asked, or answers otherwise.
    pub fn ask(&self, question: &str) -> Result<Value> {
        let mut gobgp = self.routers.command(&self.netns, "usr/bin/gobgp");
        gobgp.args(["-p", PORT, "-j"]);
        let text = net::output(gobgp.args(question.split(' ')))?;
        serde_json::from_str(&text).with_context(|| format!("{question} is not JSON: {text}"))
    }
}

/// In a namespace of its own everyone has the same.
const PORT: &str = "50051";
const STARTED_MAX: Duration = Duration::from_secs(60);
