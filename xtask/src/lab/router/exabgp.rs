//! ExaBGP: one process in the router's namespace that writes down each message it receives, so that the wire itself can be asserted.

use super::Daemons;
use crate::lab::Lab;
use crate::routers::Routers;
use anyhow::{Context, Result};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A running ExaBGP.
#[derive(Debug)]
pub struct ExaBgp {
    daemons: Daemons,
}

impl ExaBgp {
    /// Starts it with these neighbours, listening on the router's IPv4 address. The process that takes messages is `watch`.
    ///
    /// # Errors
    /// When the lab has no router's namespace, or it cannot be started.
    pub fn start(lab: &mut Lab, neighbours: &str) -> Result<Self> {
        let (routers, netns) = (Routers::ensure()?, lab.topology().router.clone());
        let netns = netns.context("the lab has no router")?;
        let mut daemons = Daemons::new(lab, "exabgp")?;
        let messages = daemons.write(MESSAGES, "")?;
        // Its standard output stays open: ExaBGP takes a process without one for dead.
        let script = format!(
            "#!/bin/sh\nwhile IFS= read -r line; do printf '%s\\n' \"$line\" >> {}; done\n",
            messages.display()
        );
        let script = daemons.write("watch.sh", &script)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        let config = format!(
            "process watch {{\n  run {};\n  encoder json;\n}}\n{neighbours}",
            script.display()
        );
        let config = daemons.write("exabgp.conf", &config)?;
        let mut command = routers.command(&netns, "usr/sbin/python3-exabgp");
        command.arg(config);
        for (name, value) in [
            ("exabgp_daemon_user", "root"),
            ("exabgp_daemon_drop", "false"),
            ("exabgp_tcp_bind", "192.0.2.1 2001:db8::1"),
            ("exabgp_tcp_port", "179"),
            ("exabgp_api_cli", "false"),
        ] {
            command.env(name, value);
        }
        daemons.start(lab, "exabgp", &mut command)?;
        Ok(Self { daemons })
    }

    /// Everything that was received so far, each as ExaBGP tells it. A line that is being written is left out.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn messages(&self) -> Result<Vec<Value>> {
        let file = self.daemons.file(MESSAGES);
        let text = fs::read_to_string(&file)
            .with_context(|| format!("failed to read {}", file.display()))?;
        let lines = text.lines();
        Ok(lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect())
    }
}

const MESSAGES: &str = "messages.json";
