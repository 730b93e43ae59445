//! VIPs that are served by sockets of a proxy in userspace (`docs/steering.md`, mode `socket`): a real HAProxy on every node, which listens on
//! loopback and knows nothing of VIPs, and no address on any interface.

use super::moves::{Talk, open, open_until, talk_until};
use super::restart::echo_until;
use serde_json::Value;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use system_tests::lab::{TestLab, tell};
use xtask::haproxy::HaProxy;
use xtask::lab::topology::{CLIENT_V4, CLIENT_V6};

/// A lab with a service that asks for sockets, and that kube-proxy is to leave alone.
struct Proxied {
    lab: TestLab,
    haproxy: HaProxy,
    proxies: Vec<(String, Child)>,
}

impl Proxied {
    fn new(nodes: &[&str]) -> Self {
        let haproxy = HaProxy::ensure().unwrap();
        let lab = TestLab::with(&[
            (
                "pools.yaml",
                "kind: IPAddressPool\nmetadata:\n",
                "kind: IPAddressPool\nmetadata:\n  annotations: {heliograph.io/allow-service: steering}\n",
            ),
            ("proxied.yaml", "", SERVICE),
        ]);
        let mut proxied = Self {
            lab,
            haproxy,
            proxies: Vec::new(),
        };
        for node in nodes {
            proxied.start(node);
            proxied.register(node);
        }
        proxied
    }

    /// Starts HAProxy on a node and waits until it listens.
    fn start(&mut self, node: &str) {
        let config = self.lab.folder().join(format!("haproxy-{node}.cfg"));
        fs::write(&config, CONFIG.replace("NODE", node)).unwrap();
        let netns = self.lab.netns(node).clone();
        let mut command = self.haproxy.command(&netns);
        command.arg("-db").arg("-f").arg(&config);
        let log = fs::File::create(config.with_extension("log")).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.proxies.push((node.to_owned(), child));
        self.lab.eventually("HAProxy listens", || {
            let up = netns.enter(|| TcpStream::connect((CONFIG_V6, HTTP_PORT)));
            up.unwrap().map(drop)
        });
    }

    /// Ends a node's HAProxy at once.
    fn kill(&mut self, node: &str) {
        let at = self.proxies.iter().position(|(name, _)| name == node);
        let (_, mut child) = self.proxies.remove(at.unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn pid(&self, node: &str) -> String {
        let mut proxies = self.proxies.iter();
        let (_, child) = proxies.find(|(name, _)| name == node).unwrap();
        child.id().to_string()
    }

    /// Has the sockets of a node's HAProxy serve.
    fn register(&self, node: &str) {
        let (pid, speaker) = (self.pid(node), &self.lab.speakers()[node]);
        for vip in VIPS {
            let ports = [(80, HTTP_PORT), (7, ECHO_PORT)];
            for (port, from) in ports {
                let (front, from) = (SocketAddr::new(ip(vip), port), from.to_string());
                let front = front.to_string();
                let words = ["socket", "add", &front, "--pid", &pid, "--port", &from];
                let told = speaker.ctl(&words).unwrap();
                assert!(told.contains(&format!("haproxy ({pid})")), "{told}");
            }
        }
    }

    /// The node that holds a VIP, once sockets serve it there.
    fn until_served(&self, vip: IpAddr) -> String {
        self.lab.eventually("sockets serve it at its holder", || {
            let holder = self.lab.known_holder(vip).or_else(|| self.lab.holder(vip));
            let holder = holder.ok_or_else(|| "nobody holds it".to_owned())?;
            match self.why(&holder, vip) {
                Ok(None) => Ok(holder),
                Ok(Some(because)) => Err(format!("{holder}: {because}")),
                Err(why) => Err(format!("{holder}: {why}")),
            }
        })
    }

    /// Why a node's sockets do not serve a VIP; none if they do.
    fn why(&self, node: &str, vip: IpAddr) -> Result<Option<String>, String> {
        let told = self.lab.speakers()[node].ctl_json(&["why", "default/proxied"]);
        let told = told.map_err(|error| format!("{error:#}"))?;
        let rows = told["sockets"].as_array().cloned().unwrap_or_default();
        let mut rows = rows.iter();
        let row = rows.find(|row| row["address"] == vip.to_string());
        let row = row.ok_or_else(|| format!("it is not asked for: {told}"))?;
        Ok(row["because"].as_str().map(ToOwned::to_owned))
    }

    /// What a client gets from the web server behind a VIP: the node, and whom it sees as client and server.
    fn ask(&self, vip: IpAddr) -> Result<String, String> {
        self.lab.in_client(|| {
            let address = SocketAddr::new(vip, 80);
            let stream = TcpStream::connect_timeout(&address, PATIENCE);
            let mut stream = stream.map_err(|error| error.to_string())?;
            let exchange = stream
                .set_read_timeout(Some(PATIENCE))
                .and_then(|()| stream.write_all(b"GET / HTTP/1.0\r\n\r\n"));
            let mut answer = String::new();
            let exchange = exchange.and_then(|()| stream.read_to_string(&mut answer));
            exchange.map_err(|error| error.to_string())?;
            let body = answer.lines().last().unwrap_or_default();
            Ok(body.to_owned())
        })
    }

    fn list(&self, node: &str) -> Vec<Value> {
        let told = self.lab.speakers()[node].ctl_json(&["socket", "list"]);
        let told = told.unwrap_or_default();
        told["sockets"].as_array().cloned().unwrap_or_default()
    }
}

impl Drop for Proxied {
    fn drop(&mut self) {
        for (_, child) in &mut self.proxies {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

#[test]
fn a_proxy_on_loopback_serves_vips_of_both_families_that_no_interface_has() {
    let proxied = Proxied::new(&["n1", "n2", "n3"]);
    for vip in VIPS.map(ip) {
        let holder = proxied.until_served(vip);
        let client: IpAddr = match vip {
            IpAddr::V4(_) => CLIENT_V4.into(),
            IpAddr::V6(_) => CLIENT_V6.into(),
        };
        let answer = proxied.lab.eventually("it answers", || proxied.ask(vip));
        assert_eq!(answer, format!("node={holder} client={client} at={vip}"));
        for netns in proxied.lab.topology().namespaces() {
            assert!(!netns.addresses().unwrap().contains(&vip));
        }
    }
}

const VIPS: [&str; 2] = ["192.0.2.110", "2001:db8::110"];
const HTTP_PORT: u16 = 8080;
const ECHO_PORT: u16 = 8007;
const CONFIG_V6: &str = "::1";
const PATIENCE: Duration = Duration::from_secs(5);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

const CONFIG: &str = "\
global
  maxconn 1000
defaults
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend web
  mode http
  bind 127.0.0.1:8080
  bind [::1]:8080
  http-request return status 200 content-type text/plain lf-string \"node=NODE client=%[src] at=%[dst]\"
frontend echo
  mode tcp
  bind 127.0.0.1:8007
  bind [::1]:8007
  default_backend pods
backend pods
  mode tcp
  server n1 10.244.1.11:7007
  server n2 10.244.2.11:7007
";

const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata:
  name: proxied
  namespace: default
  annotations: {heliograph.io/steering: socket}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  ipFamilies: [IPv4, IPv6]
  clusterIPs: [10.96.0.30, \"fd00:10:96::30\"]
  ports:
    - {name: web, protocol: TCP, port: 80}
    - {name: echo, protocol: TCP, port: 7}
    - {name: dns, protocol: UDP, port: 53}
status:
  loadBalancer:
    ingress:
      - {ip: 192.0.2.110, ipMode: Proxy}
      - {ip: \"2001:db8::110\", ipMode: Proxy}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: proxied-v4
  namespace: default
  labels: {kubernetes.io/service-name: proxied}
addressType: IPv4
ports: [{name: web, protocol: TCP, port: 8080}]
endpoints:
  - {addresses: [10.244.1.11], nodeName: n1, conditions: {ready: true}}
";
