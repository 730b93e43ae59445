//! VIPs that are served by sockets of a proxy in userspace (`docs/steering.md`, mode `socket`): a real HAProxy on every node, which listens on
//! loopback and knows nothing of VIPs, and no address on any interface.

use super::moves::{Talk, open, open_until, talk_until};
use super::restart::echo_until;
use serde_json::Value;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use system_tests::lab::{TestLab, tell};
use xtask::haproxy::HaProxy;
use xtask::lab::net;
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
                // A speaker that has only begun may refuse what it does in a moment.
                let told = self.lab.eventually(&front, || speaker.ctl(&words));
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

#[test]
fn a_restart_of_the_speaker_breaks_no_connection_and_refuses_none() {
    let mut proxied = Proxied::new(&["n1", "n2", "n3"]);
    let vip = ip(VIPS[0]);
    let holder = proxied.until_served(vip);
    let echo = SocketAddr::new(vip, 7);
    proxied.lab.eventually("it answers", || proxied.ask(vip));
    let client = proxied.lab.client().clone();
    let streams = client.enter(|| open(echo, STREAMS)).unwrap();
    let stop = AtomicBool::new(false);
    let (talk, later) = thread::scope(|scope| {
        let talk = scope.spawn(|| talk_until(streams, &stop));
        let later = scope.spawn(|| client.enter(|| open_until(echo, &stop)).unwrap());
        thread::sleep(WHILE);
        assert!(
            proxied
                .lab
                .speaker(&holder)
                .unwrap()
                .stop()
                .unwrap()
                .success()
        );
        proxied.lab.start_speaker(&holder).unwrap();
        let speaker = proxied.lab.speaker(&holder).unwrap();
        speaker.wait_until_ready().unwrap();
        thread::sleep(WHILE);
        stop.store(true, Ordering::Relaxed);
        (talk.join().unwrap(), later.join().unwrap())
    });
    let expected = Talk {
        all: STREAMS,
        broken: 0,
    };
    assert_eq!(talk, expected);
    assert_eq!(later.broken, 0, "{later:?}");
    assert!(later.all > 20, "{later:?}");
    proxied.lab.eventually("all four sockets are open", || {
        let rows = proxied.list(&holder);
        match rows.len() == 4 && rows.iter().all(|row| row["is_open"] == true) {
            true => Ok(()),
            false => Err(rows),
        }
    });
}

#[test]
fn a_proxy_that_dies_serves_nothing_and_one_that_comes_back_serves() {
    let mut proxied = Proxied::new(&["n1", "n2", "n3"]);
    for vip in VIPS.map(ip) {
        let holder = proxied.until_served(vip);
        proxied.lab.eventually("it answers", || proxied.ask(vip));
        proxied.kill(&holder);
        let fault = proxied.lab.eventually("connections fail", || {
            let asked = proxied.lab.in_client(|| {
                let address = SocketAddr::new(vip, 80);
                TcpStream::connect_timeout(&address, PATIENCE)
            });
            asked.map_or_else(Ok, |_| Err("it answers"))
        });
        // The kernel sends no reset of IPv4 from an address that it does not have.
        let expected = match vip {
            IpAddr::V4(_) => ErrorKind::TimedOut,
            IpAddr::V6(_) => ErrorKind::ConnectionRefused,
        };
        assert_eq!(fault.kind(), expected);
        // It stays with sockets all the same.
        assert_eq!(proxied.why(&holder, vip), Ok(None));
        proxied.lab.eventually("its sockets are closed", || {
            let rows = proxied.list(&holder);
            match rows.len() == 4 && rows.iter().all(|row| row["is_open"] == false) {
                true => Ok(()),
                false => Err(rows),
            }
        });
        proxied.start(&holder);
        proxied.register(&holder);
        proxied
            .lab
            .eventually("it answers again", || proxied.ask(vip));
    }
}

/// What the old holder serves goes on there, and what is new comes to the new one.
#[test]
fn the_holder_may_be_drained_and_no_connection_breaks() {
    let proxied = Proxied::new(&["n1", "n2", "n3"]);
    let vip = ip(VIPS[0]);
    let holder = proxied.until_served(vip);
    let echo = SocketAddr::new(vip, 7);
    proxied.lab.eventually("it answers", || proxied.ask(vip));
    let client = proxied.lab.client().clone();
    let streams = client.enter(|| open(echo, STREAMS)).unwrap();
    let stop = AtomicBool::new(false);
    let (talk, later, heir) = thread::scope(|scope| {
        let talk = scope.spawn(|| talk_until(streams, &stop));
        let later = scope.spawn(|| client.enter(|| open_until(echo, &stop)).unwrap());
        thread::sleep(WHILE);
        proxied.lab.speakers()[&holder].ctl(&["drain"]).unwrap();
        let heir = proxied.lab.eventually("another node has it", || {
            let now = proxied.lab.known_holder(vip).ok_or("nobody")?;
            if now == holder {
                Err("still there")
            } else {
                Ok(now)
            }
        });
        thread::sleep(WHILE);
        stop.store(true, Ordering::Relaxed);
        (talk.join().unwrap(), later.join().unwrap(), heir)
    });
    let expected = Talk {
        all: STREAMS,
        broken: 0,
    };
    assert_eq!(talk, expected);
    assert_eq!(later.broken, 0, "{later:?}");
    let answer = proxied
        .lab
        .eventually("the heir answers", || proxied.ask(vip));
    assert!(answer.contains(&format!("node={heir} ")), "{answer}");
    tell(&format!(
        "{holder} was drained, {heir} has it: {} of {STREAMS} connections broke, {} of {} opened meanwhile",
        talk.broken, later.broken, later.all
    ));
}

#[test]
fn datagrams_are_answered_from_the_vip() {
    let proxied = Proxied::new(&[]);
    let mut servers = Vec::new();
    for node in ["n1", "n2", "n3"] {
        let netns = proxied.lab.netns(node);
        let mut server = netns.command("python3");
        let server = server.args(["-c", UDP_SERVER]).stdout(Stdio::piped());
        let mut server = Ended(server.spawn().unwrap());
        let mut ready = [0; 6];
        let mut out = server.0.stdout.take().unwrap();
        out.read_exact(&mut ready).unwrap();
        let pid = server.0.id().to_string();
        for vip in VIPS {
            let front = format!("{}/udp", SocketAddr::new(ip(vip), 53));
            let speaker = &proxied.lab.speakers()[node];
            let words = ["socket", "add", &front, "--pid", &pid];
            proxied.lab.eventually(&front, || speaker.ctl(&words));
        }
        servers.push((server, out));
    }
    for vip in VIPS.map(ip) {
        proxied.until_served(vip);
        proxied.lab.eventually("a datagram comes back", || {
            proxied
                .lab
                .in_client(|| back_from(SocketAddr::new(vip, 53)))
        });
        let client = proxied.lab.client().clone();
        let stop = AtomicBool::new(false);
        let at = SocketAddr::new(vip, 53);
        let (sent, lost) = thread::scope(|scope| {
            let echo = scope.spawn(|| client.enter(|| echo_until(at, &stop)).unwrap());
            thread::sleep(WHILE);
            stop.store(true, Ordering::Relaxed);
            echo.join().unwrap()
        });
        assert!(sent > 100, "{sent}");
        assert_eq!(lost, 0, "of {sent} to {vip}");
    }
}

/// Sends one datagram; a socket that is connected hears only the address that it sent to.
fn back_from(at: SocketAddr) -> std::io::Result<()> {
    let any = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(at)?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    socket.send(b"once")?;
    socket.recv(&mut [0; 8]).map(drop)
}

#[test]
fn without_a_socket_the_stack_has_it_and_cleanup_takes_all_away() {
    let mut proxied = Proxied::new(&["n1"]);
    let vip = ip(VIPS[0]);
    proxied
        .lab
        .eventually("a node without a socket says so", || {
            match proxied.why("n2", vip)? {
                Some(because) if because.contains("no socket is registered") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    let says = |proxied: &Proxied, words: &[&str]| {
        let netns = proxied.lab.netns("n1");
        netns.output("ip", words).unwrap()
    };
    let rules = |proxied: &Proxied| {
        [["-4", "rule"], ["-6", "rule"]]
            .map(|words| says(proxied, &words).contains("fwmark 0x1000/0x1000"))
    };
    proxied.lab.eventually("rules and routes are there", || {
        let routes = says(&proxied, &["-4", "route", "show", "table", "18503"]);
        match rules(&proxied) == [true, true] && routes.contains(VIPS[0]) {
            true => Ok(()),
            false => Err(routes),
        }
    });
    proxied.lab.speaker("n1").unwrap().kill().unwrap();
    let options = proxied.lab.options();
    let mut cleanup = proxied.lab.netns("n1").command(&options.speaker);
    cleanup.args(["cleanup", "--node-name", "n1", "--bpffs"]);
    cleanup
        .arg(&options.bpffs)
        .arg("--run-dir")
        .arg(&options.run_dir);
    let told = net::output(&mut cleanup).unwrap();
    let line = format!("removed the local route of {vip}");
    assert!(told.contains(&line), "{told}");
    assert_eq!(rules(&proxied), [false, false]);
    assert!(!proxied.lab.pins("n1").exists());
    // The program is gone with its pin, and the listener is as it was.
    let own = proxied.lab.netns("n1").clone();
    let answer = own
        .enter(|| TcpStream::connect(("127.0.0.1", HTTP_PORT)))
        .unwrap();
    assert!(answer.is_ok());
}

/// A process that ends with its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

const STREAMS: usize = 50;
const WHILE: Duration = Duration::from_secs(2);

/// Sends every datagram back from the address that it came to, as a server on many addresses does (IP_PKTINFO, RFC 3542 §6.1).
const UDP_SERVER: &str = r#"
import select, socket
# SO_RCVBUFFORCE: what comes within some seconds waits when the machine has other work.
queue = (socket.SOL_SOCKET, 33, 8 << 20)
v4 = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
v4.setsockopt(*queue)
v4.setsockopt(socket.IPPROTO_IP, 8, 1)
v4.bind(("0.0.0.0", 53))
v6 = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
v6.setsockopt(*queue)
v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
v6.bind(("::", 53))
print("ready", flush=True)
while True:
    for ready in select.select([v4, v6], [], [])[0]:
        data, beside, _, peer = ready.recvmsg(2048, 256)
        level, kind, info = beside[0]
        if ready is v4:
            info = bytes(4) + info[8:12] + bytes(4)
        else:
            info = info[:16] + bytes(4)
        ready.sendmsg([data], [(level, kind, info)], 0, peer)
"#;

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
