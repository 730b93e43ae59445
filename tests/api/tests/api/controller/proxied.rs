//! An API server that is reached through a proxy alone: what kubeconfig and environment say of one, for a controller and for a real kubectl.

use super::site::{Site, TOKEN, pool, service};
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

/// No resolver knows it: only the proxy does.
const NAME: &str = "api.heliograph.invalid";

#[test]
fn the_proxy_of_a_kubeconfig_is_asked_for_every_connection() {
    let site = Site::new();
    let proxy = Proxy::start(site.double.address());
    site.put(&pool("p", "192.0.2.0/30"));
    site.put(&service("web"));
    let url = format!("http://example:p%61ss@{}", proxy.address);
    let config = kubeconfig(&site, Some(&url));
    let mut controller = site.controller_of(&config, &[]);
    site.until("an address", || site.holds("web") == ["192.0.2.0"]);
    let asked = proxy.asked();
    let each = format!("CONNECT {NAME}:6443 Basic ZXhhbXBsZTpwYXNz");
    assert!(
        asked.len() > 1 && asked.iter().all(|one| *one == each),
        "{asked:?}"
    );
    assert!(controller.ended().is_none());

    let path = site.folder.path().join("kubeconfig");
    let kubectl = Command::new(xtask::kubectl::ensure().unwrap())
        .env("HOME", site.folder.path())
        .env("KUBECONFIG", &path)
        .args(["get", "service", "-n", "a", "web", "-o", "name"])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&kubectl.stderr);
    assert_eq!(
        String::from_utf8_lossy(&kubectl.stdout),
        "service/web\n",
        "{words}"
    );
    assert!(
        proxy.asked().len() > asked.len(),
        "kubectl came another way"
    );
}

#[test]
fn the_proxy_of_the_environment_is_asked_unless_the_server_is_an_exception() {
    let site = Site::new();
    let proxy = Proxy::start(site.double.address());
    site.put(&pool("p", "192.0.2.0/30"));
    site.put(&service("web"));
    let url = format!("http://example:pass@{}", proxy.address);
    let config = kubeconfig(&site, None);
    let excepted = [("HTTPS_PROXY", &*url), ("NO_PROXY", ".invalid")];
    let controller = site.controller_of(&config, &excepted);
    controller.until_it_says("leaseFailed");
    let why = controller.line("leaseFailed").unwrap()["error"].to_string();
    assert!(!why.contains("through the proxy"), "{why}");
    drop(controller);
    assert_eq!(proxy.asked(), Vec::<String>::new());

    let controller = site.controller_of(&config, &[("https_proxy", &url)]);
    site.until("an address", || site.holds("web") == ["192.0.2.0"]);
    assert!(!proxy.asked().is_empty());
    controller.stop();
}

#[test]
fn a_proxy_that_does_not_let_us_through_is_named() {
    let site = Site::new();
    let proxy = Proxy::start(site.double.address());
    let url = format!("http://example:wrong@{}", proxy.address);
    let controller = site.controller_of(&kubeconfig(&site, Some(&url)), &[]);
    controller.until_it_says("leaseFailed");
    let why = controller.line("leaseFailed").unwrap()["error"].to_string();
    let named = format!("through the proxy http://{}", proxy.address);
    assert!(why.contains(&named), "{why}");
    assert!(!controller.log().contains("wrong"), "the password is told");
    assert!(site.double.requests().is_empty());
}

/// For a server by that name, which shows the certificate of the double.
fn kubeconfig(site: &Site, proxy: Option<&str>) -> Value {
    let text = site.double.kubeconfig_text(crate::cluster::CONTROLLER);
    let mut config: Value = serde_json::from_str(&text).unwrap();
    let cluster = &mut config["clusters"][0]["cluster"];
    cluster["server"] = json!(format!("https://{NAME}:6443"));
    cluster["tls-server-name"] = json!("localhost");
    if let Some(proxy) = proxy {
        cluster["proxy-url"] = json!(proxy);
    }
    assert_eq!(config["users"][0]["user"]["token"], TOKEN);
    config
}

/// A proxy that passes connections for one name on to one server, if it is told name and password.
struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// It ends with the process.
    fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let log = Arc::clone(&log);
                // A connection that breaks is its two ends' business.
                thread::spawn(move || drop(pass_on(client, server, &log)));
            }
        });
        Self { address, asked }
    }

    /// Every question so far, with what was shown.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn pass_on(client: TcpStream, server: SocketAddr, log: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let question = head.first().cloned().unwrap_or_default();
    let question = question.trim_end_matches(" HTTP/1.1");
    let word = head.iter().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let is_word = name.eq_ignore_ascii_case("proxy-authorization");
        is_word.then_some(value)
    });
    let word = word.unwrap_or("-");
    let mut client = client;
    if word != "Basic ZXhhbXBsZTpwYXNz" || question != format!("CONNECT {NAME}:6443") {
        return client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    }
    log.lock().unwrap().push(format!("{question} {word}"));
    let mut upstream = TcpStream::connect(server)?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let mut down = (upstream.try_clone()?, client.try_clone()?);
    let back = thread::spawn(move || copy(&mut down.0, &mut down.1));
    copy(&mut reader, &mut upstream)?;
    back.join().unwrap()
}

/// Until one side ends; then the other one is told.
fn copy(from: &mut impl Read, to: &mut TcpStream) -> io::Result<()> {
    let copied = io::copy(from, to);
    to.shutdown(Shutdown::Write)?;
    copied.map(drop)
}
