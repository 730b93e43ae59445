//! Two network namespaces of the bench's own with a veth pair between them: traffic goes nowhere else.

use anyhow::{Context, Result, bail, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The client's link.
pub(crate) const CLIENT_LINK: &str = "c0";
/// The answering node's link.
pub(crate) const NODE_LINK: &str = "s0";
/// A link of the client's that stays down.
pub(crate) const SPARE_LINK: &str = "g0";
/// Hardware address of the client's link; the generator plays others that differ in the last byte.
pub(crate) const CLIENT_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0xc0];
/// Hardware address of the node's link.
pub(crate) const NODE_MAC: [u8; 6] = [0x02, 0, 0, 0, 1, 0x50];
/// The address that is asked for.
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 85, 1, 10);
/// The node's own address.
pub(crate) const NODE_IP: Ipv4Addr = Ipv4Addr::new(10, 85, 1, 2);
/// The client's address; the generator plays others of 10.85.0.0/24.
pub(crate) const CLIENT_IP: Ipv4Addr = Ipv4Addr::new(10, 85, 1, 1);

/// A network namespace that lives as long as this value.
pub(crate) struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Makes one, with its loopback up.
    pub(crate) fn create(role: &str) -> Result<Self> {
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}{role}", std::process::id());
        ip(&["netns", "add", &name])?;
        let path = format!("/run/netns/{name}");
        let file = File::open(&path).with_context(|| format!("failed to open {path}"))?;
        let namespace = Self { name, file };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` inside.
    pub(crate) fn ip(&self, args: &[&str]) -> Result<()> {
        ip(&[&["-n", &self.name], args].concat())
    }

    /// Gives nftables inside these rules.
    pub(crate) fn nft(&self, rules: &str) -> Result<()> {
        self.run(|| {
            let mut nft = Command::new("nft")
                .args(["-f", "-"])
                .stdin(Stdio::piped())
                .spawn()
                .context("failed to start nft: install the package nftables")?;
            let mut input = nft
                .stdin
                .take()
                .context("nft takes its rules from a pipe")?;
            input
                .write_all(rules.as_bytes())
                .context("failed to give nft its rules")?;
            drop(input);
            ensure!(nft.wait()?.success(), "nft refused the rules");
            Ok(())
        })
    }

    /// Sets a sysctl inside, by its path below `/proc/sys`.
    pub(crate) fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/{name}");
        self.run(|| std::fs::write(&path, value).with_context(|| format!("failed to write {path}")))
    }

    /// Runs `work` on a thread that is inside.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.door()?.enter()?;
                work()
            });
            thread
                .join()
                .unwrap_or_else(|_| bail!("a thread of the bench panicked"))
        })
    }

    /// Gives each CPU the queue of its number to send by, as drivers of network cards with several queues do it.
    fn spread_sending(&self, link: &str) -> Result<()> {
        for cpu in 0..crate::cpu::count() {
            let mask = format!("{:x}", 1_u64 << (cpu % 64));
            let file = format!("/sys/class/net/{link}/queues/tx-{cpu}/xps_cpus");
            // `ip netns exec` shows the namespace's own links below /sys.
            ip(&[
                "netns",
                "exec",
                &self.name,
                "sh",
                "-c",
                &format!("echo {mask} > {file}"),
            ])?;
        }
        Ok(())
    }

    /// A way in for a thread that outlives the borrow of this value.
    pub(crate) fn door(&self) -> Result<Door> {
        let file = self
            .file
            .try_clone()
            .context("failed to copy a descriptor")?;
        Ok(Door(file))
    }
}

/// A way into a namespace.
pub(crate) struct Door(File);

impl Door {
    /// Moves the calling thread inside, for good.
    pub(crate) fn enter(&self) -> Result<()> {
        move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
            .context("failed to enter a network namespace")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = ip(&["netns", "del", &self.name]);
    }
}

/// A client and a node, linked by a veth pair.
pub(crate) struct Pair {
    /// Who asks.
    pub(crate) client: Namespace,
    /// Who answers.
    pub(crate) node: Namespace,
}

impl Pair {
    /// Creates the namespaces and the links, with addresses, and NAPI at the node's end as a network card has it.
    pub(crate) fn create() -> Result<Self> {
        let pair = Self {
            client: Namespace::create("c")?,
            node: Namespace::create("s")?,
        };
        // A queue for each CPU, so that each can send and answer without waiting for another.
        let queues = crate::cpu::count().to_string();
        let queues = ["numrxqueues", &queues, "numtxqueues", &queues];
        let client = ["link", "add", CLIENT_LINK, "address", &text(CLIENT_MAC)];
        let node = [
            "name",
            NODE_LINK,
            "netns",
            &pair.node.name,
            "address",
            &text(NODE_MAC),
        ];
        let parts = [
            &client[..],
            &queues,
            &["type", "veth", "peer"],
            &node,
            &queues,
        ];
        pair.client.ip(&parts.concat())?;
        let ends = [
            (&pair.client, CLIENT_LINK, CLIENT_IP),
            (&pair.node, NODE_LINK, NODE_IP),
        ];
        for (namespace, link, address) in ends {
            namespace.ip(&["address", "add", &format!("{address}/16"), "dev", link])?;
            namespace.ip(&["link", "set", link, "up"])?;
        }
        pair.client.ip(&[
            "link", "add", SPARE_LINK, "type", "veth", "peer", "name", "g1",
        ])?;
        pair.node.run(|| crate::raw::enable_gro(NODE_LINK))?;
        pair.node.spread_sending(NODE_LINK)?;
        Ok(pair)
    }
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Removes the namespaces that a killed bench has left behind.
pub(crate) fn sweep() -> Result<()> {
    let Ok(entries) = std::fs::read_dir("/run/netns") else {
        return Ok(());
    };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        let Some(pid) = owner.and_then(|pid| pid.parse::<u32>().ok()) else {
            continue;
        };
        if !std::fs::exists(format!("/proc/{pid}"))? {
            ip(&["netns", "del", &name])?;
        }
    }
    Ok(())
}

const PREFIX: &str = "hgbench-";
static CREATED: AtomicU32 = AtomicU32::new(0);

fn ip(args: &[&str]) -> Result<()> {
    let output = Command::new("ip")
        .args(args)
        .output()
        .context("failed to run ip: is the package iproute2 installed?")?;
    ensure!(
        output.status.success(),
        "failed to run ip {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
