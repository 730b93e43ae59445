//! FRR: zebra, bgpd and bfdd in the router's namespace, told by files and asked by vtysh.
//!
//! zebra puts learned routes into the namespace's kernel, so that a packet there takes them.

use super::Daemons;
use crate::lab::Lab;
use crate::lab::net::{self, Netns};
use crate::routers::Routers;
use crate::tools::within;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A running FRR.
#[derive(Debug)]
pub struct Frr {
    routers: Routers,
    netns: Netns,
    daemons: Daemons,
}

impl Frr {
    /// Starts it with these lines for bgpd and for bfdd, and waits until it can be asked.
    ///
    /// # Errors
    /// When the lab has no router's namespace, or a daemon does not come up.
    pub fn start(lab: &mut Lab, bgpd: &str, bfdd: &str) -> Result<Self> {
        let netns = lab.topology().router.clone();
        let netns = netns.context("the lab has no router")?;
        Self::start_in(lab, netns, "frr", bgpd, bfdd)
    }

    /// The same in any namespace, under a name that no other router of the lab has.
    ///
    /// # Errors
    /// When a daemon does not come up.
    pub fn start_in(
        lab: &mut Lab,
        netns: Netns,
        name: &str,
        bgpd: &str,
        bfdd: &str,
    ) -> Result<Self> {
        let mut frr = Self {
            routers: Routers::ensure()?,
            daemons: Daemons::new(lab, name)?,
            netns,
        };
        frr.daemons.write("vtysh.conf", VTYSH)?;
        // One before may have left it.
        let _absent = fs::remove_file(frr.daemons.file("zserv.api"));
        frr.daemon(lab, "zebra", "")?;
        // The others look for it once, and then only after seconds.
        within(STARTED_MAX, || {
            ensure!(frr.daemons.file("zserv.api").exists(), "zebra is not up");
            Ok(())
        })?;
        frr.daemon(lab, "bgpd", bgpd)?;
        frr.daemon(lab, "bfdd", bfdd)?;
        within(STARTED_MAX, || {
            frr.show("show bgp summary json")?;
            frr.show("show bfd peers json").map(drop)
        })?;
        Ok(frr)
    }

    fn daemon(&mut self, lab: &mut Lab, name: &str, config: &str) -> Result<()> {
        let config = self.daemons.write(&format!("{name}.conf"), config)?;
        let folder = self.folder();
        let mut command = self
            .routers
            .command(&self.netns, &format!("usr/lib/frr/{name}"));
        command.arg("-f").arg(config);
        command.arg("-i").arg(folder.join(format!("{name}.pid")));
        command.arg("-z").arg(folder.join("zserv.api"));
        command.arg("--vty_socket").arg(&folder);
        command.arg("--scriptdir").arg(&folder);
        let modules = self.routers.libraries().join("frr/modules");
        command.arg("--moduledir").arg(modules);
        command.args(["-u", "root", "-g", "root", "-A", "127.0.0.1", "-P", "0"]);
        command.args(["--log", "stdout"]);
        if name == "bfdd" {
            command.arg("--bfdctl").arg(folder.join("bfdd.sock"));
        }
        self.daemons.start(lab, name, &mut command)
    }

    fn folder(&self) -> PathBuf {
        self.daemons.file("")
    }

    /// What one of its `show … json` commands says.
    ///
    /// # Errors
    /// When it does not answer, or not in JSON.
    pub fn show(&self, command: &str) -> Result<Value> {
        let text = self.vtysh(&[command])?;
        serde_json::from_str(&text).with_context(|| format!("{command} is not JSON: {text}"))
    }

    /// Commands as of its configuration mode, in order.
    ///
    /// # Errors
    /// When one is refused.
    pub fn configure(&self, commands: &[&str]) -> Result<()> {
        let all: Vec<&str> = ["configure terminal"]
            .iter()
            .chain(commands)
            .copied()
            .collect();
        let said = self.vtysh(&all)?;
        ensure!(!said.contains('%'), "FRR refuses {commands:?}: {said}");
        Ok(())
    }

    /// What vtysh prints for these commands.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn vtysh(&self, commands: &[&str]) -> Result<String> {
        let mut command = self.shell();
        for line in commands {
            command.args(["-c", line]);
        }
        net::output(&mut command)
    }

    fn shell(&self) -> Command {
        let mut command = self.routers.command(&self.netns, "usr/bin/vtysh");
        command.arg("--vty_socket").arg(self.folder());
        command.arg("--config_dir").arg(self.folder());
        command
    }

    /// Writes a command that works as its vtysh to a file of the lab; where that is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn lend_shell(&self, lab: &Lab) -> Result<PathBuf> {
        let shell = self.shell();
        let words = std::iter::once(shell.get_program()).chain(shell.get_args());
        let words = words.map(|word| format!("'{}'", word.to_string_lossy()));
        let script = format!(
            "#!/bin/sh\nexec {} \"$@\"\n",
            words.collect::<Vec<_>>().join(" ")
        );
        let file = lab.folder().join("vtysh");
        fs::write(&file, script)
            .and_then(|()| fs::set_permissions(&file, Permissions::from_mode(0o755)))
            .with_context(|| format!("failed to write {}", file.display()))?;
        Ok(file)
    }

    /// The next hops in the kernel's table for each prefix that was learned by BGP, of both families.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn routes(&self) -> Result<BTreeMap<String, Vec<IpAddr>>> {
        let mut routes = BTreeMap::new();
        for family in ["ip", "ipv6"] {
            let table = self.show(&format!("show {family} route bgp json"))?;
            for (prefix, ways) in table.as_object().into_iter().flatten() {
                let ways = ways.as_array().into_iter().flatten();
                let hops = ways.flat_map(|way| way["nexthops"].as_array().into_iter().flatten());
                let used = hops.filter(|hop| hop["fib"] == true);
                let mut hops: Vec<IpAddr> = used
                    .filter_map(|hop| hop["ip"].as_str()?.parse().ok())
                    .collect();
                hops.sort();
                routes.insert(prefix.clone(), hops);
            }
        }
        Ok(routes)
    }

    /// What it knows of one neighbour of BGP, by address or interface.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn neighbour(&self, name: &str) -> Result<Value> {
        let mut all = self.show(&format!("show bgp neighbors {name} json"))?;
        Ok(all[name].take())
    }

    /// The paths to a prefix, best or not; none when there is no route.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn paths(&self, prefix: &str) -> Result<Vec<Value>> {
        let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
        let mut route = self.show(&format!("show bgp {family} unicast {prefix} json"))?;
        match route["paths"].take() {
            Value::Array(paths) => Ok(paths),
            _ => Ok(Vec::new()),
        }
    }

    /// Stops its processes where they are, as a machine that hangs, or lets them go on.
    pub fn freeze(&mut self, is_frozen: bool) {
        self.daemons.freeze(is_frozen);
    }

    /// Ends it at once; its routes go from the kernel with its namespace.
    pub fn kill(mut self) {
        self.daemons.kill();
    }
}

/// What `vtysh.conf` says: PAM is not asked who root is, since a machine without FRR's package has no rules for that.
pub const VTYSH: &str = "username root nopassword\n";
const STARTED_MAX: Duration = Duration::from_secs(60);
