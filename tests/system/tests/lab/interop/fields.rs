//! What a change of each field of a BGPPeer costs, seen at FRR by how long its session has been up.

use super::frr::{bgpd, prefix};
use super::{POOL, routed};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use system_tests::lab::TestLab;
use xtask::lab::router::frr::Frr;
use xtask::tools::root;

/// A field, and its line before and after the change. Another community of the routes follows each change, so that it is seen when the session has the change.
struct Field(&'static str, &'static str, &'static str);

/// What needs no new session.
const LIVE: &[Field] = &[
    Field("keepaliveTime", "keepaliveTime: 10s", "keepaliveTime: 3s"),
    Field("connectTime", "connectTime: 2s", "connectTime: 5s"),
    Field("bfdProfile", "", "bfdProfile: fast"),
    Field(
        "nodeSelectors",
        "- matchLabels: {kubernetes.io/hostname: n1}",
        "- matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [n1]}]",
    ),
    Field("disableMP", "", "disableMP: true"),
];

/// What was said in OPEN, or belongs to the connection.
const ANEW: &[Field] = &[
    Field("myASN", "myASN: 64512", "myASN: 64514"),
    Field("localASN", "", "localASN: 64516"),
    Field("peerASN", "peerASN: 64513", "peerASN: 64515"),
    Field("dynamicASN", "peerASN: 64513", "dynamicASN: external"),
    Field(
        "peerAddress",
        "peerAddress: 192.0.2.1",
        "peerAddress: 192.0.2.9",
    ),
    // Of a link and of a VRF that this node does not have: the old session ends all the same.
    Field("interface", "peerAddress: 192.0.2.1", "interface: uplink"),
    Field("vrf", "", "vrf: red"),
    Field("peerPort", "", "peerPort: 1179"),
    Field("sourceAddress", "", "sourceAddress: 192.0.2.11"),
    Field("routerID", "", "routerID: 192.0.2.99"),
    Field("holdTime", "holdTime: 30s", "holdTime: 20s"),
    Field("enableGracefulRestart", "", "enableGracefulRestart: true"),
    Field("dualStackAddressFamily", "", "dualStackAddressFamily: true"),
    Field("ebgpMultiHop", "", "ebgpMultiHop: true"),
    Field("password", "", "password: secret"),
    Field("passwordSecret", "", "passwordSecret: {name: tor}"),
];

#[test]
fn a_changed_field_costs_a_session_only_where_it_was_said_in_open_or_belongs_to_the_connection() {
    let mut bench = Bench::new();
    for field in LIVE {
        for is_changed in [true, false] {
            let (before, told) = (bench.session(), bench.change(field, is_changed));
            bench.until_told(told);
            let after = bench.session();
            assert_eq!(after.losses, before.losses, "{}", field.0);
            assert!(after.up_ms >= before.up_ms, "{}", field.0);
        }
    }
    for field in ANEW {
        let before = bench.session();
        bench.change(field, true);
        let what = format!("a new session for {}", field.0);
        bench
            .lab
            .eventually(&what, || match bench.session().losses > before.losses {
                true => Ok(()),
                false => Err(bench.neighbour()),
            });
        assert!(bench.was_told_why(), "{}: {}", field.0, bench.neighbour());
        let told = bench.change(field, false);
        bench.until_told(told);
    }
}

#[test]
fn what_a_bgppeer_says_of_either_side_is_what_the_router_sees() {
    let bench = Bench::new();
    let ours = "myASN: 64512\n  localASN: 64516\n  routerID: 192.0.2.99";
    let peer = PEER.replace("myASN: 64512", ours);
    bench.write("peer.yaml", &peer.replace("holdTime: 30s", "holdTime: 21s"));
    bench.lab.eventually("FRR sees what was asked for", || {
        let seen = bench.neighbour();
        let has = [
            &seen["remoteRouterId"],
            &seen["remoteAs"],
            &seen["bgpTimerHoldTimeMsecs"],
        ];
        let up = seen["bgpState"] == "Established";
        match up && has == [&json!("192.0.2.99"), &json!(64516), &json!(21_000)] {
            true => Ok(()),
            false => Err(seen),
        }
    });
    bench.until_path("64516");
    let within = PEER.replace("peerASN: 64513", "dynamicASN: internal");
    bench.write("peer.yaml", &within);
    bench
        .lab
        .eventually("a router of another AS is refused", || {
            let seen = bench.lab.seen("n1", &["bgp", "tor"])?;
            let said = seen["peers"][0]["last_sent"]["words"].to_string();
            let is_up = seen["peers"][0]["state"] == "Established";
            if said.contains("2/2") && !is_up {
                Ok(())
            } else {
                Err(seen)
            }
        });
    bench.write("peer.yaml", &within.replace("internal", "external"));
    bench.until_path("64512");
}

#[test]
fn what_a_router_announces_is_counted_and_not_taken() {
    let bench = Bench::new();
    let network = [
        "router bgp 64513",
        "no bgp network import-check",
        "address-family ipv4 unicast",
        "network 203.0.113.0/24",
    ];
    bench.frr.configure(&network).unwrap();
    bench.lab.eventually("what it announces is counted", || {
        let seen = bench.lab.seen("n1", &["bgp", "tor"])?;
        let said = "show bgp ipv4 unicast neighbors 192.0.2.11 advertised-routes json";
        let said = bench.frr.show(said).map_err(|error| error.to_string())?;
        // Among them what we told it.
        let routes = said["advertisedRoutes"].as_object();
        let routes = routes.filter(|routes| routes.contains_key("203.0.113.0/24"));
        let count = routes.map(|routes| routes.len() as u64);
        let received = seen["peers"][0]["received"].as_u64();
        match count.is_some() && received == count {
            true => Ok(()),
            false => Err(format!("{received:?} of {said}")),
        }
    });
    let node = bench.lab.netns("n1");
    let routes = node.output("ip", &["route", "show", "table", "all", "203.0.113.0/24"]);
    assert_eq!(routes.unwrap().trim(), "");
}

#[test]
fn every_field_of_a_bgppeer_has_its_price() {
    let file = root().join("deploy/crds/bgppeers.yaml");
    let crd: Value = serde_norway::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let versions = crd["spec"]["versions"].as_array().unwrap().iter();
    let fields: BTreeSet<&str> = versions
        .flat_map(|version| {
            let schema = &version["schema"]["openAPIV3Schema"];
            let spec = &schema["properties"]["spec"]["properties"];
            spec.as_object().unwrap().keys().map(String::as_str)
        })
        .collect();
    let priced: BTreeSet<&str> = LIVE.iter().chain(ANEW).map(|field| field.0).collect();
    assert_eq!(priced, fields);
}

/// A speaker with one session, and FRR.
struct Bench {
    lab: TestLab,
    frr: Frr,
    vip: IpAddr,
    /// The last community.
    told: u16,
}

/// The session as FRR has it.
#[derive(Debug)]
struct Session {
    losses: u64,
    up_ms: u64,
}

impl Bench {
    fn new() -> Self {
        let mut lab = routed("");
        let router = lab.topology().router.clone().unwrap();
        router.ip("address add 192.0.2.9/24 dev eth0").unwrap();
        let bgpd = bgpd(&lab, "").replace("remote-as 64512", "remote-as external");
        let frr = Frr::start(&mut lab, &bgpd, "").unwrap();
        fs::write(lab.manifests().join("peer.yaml"), PEER).unwrap();
        fs::write(lab.manifests().join("secret.yaml"), SECRET).unwrap();
        lab.start_speakers().unwrap();
        let vips = lab.frontends_of("default/web");
        let vip = vips
            .iter()
            .map(|web| web.vip)
            .find(IpAddr::is_ipv4)
            .unwrap();
        let bench = Self {
            lab,
            frr,
            vip,
            told: 7,
        };
        bench.until_told(7);
        bench
    }

    /// Changes a field, or takes the change back; the community that goes with that.
    fn change(&mut self, field: &Field, is_changed: bool) -> u16 {
        let Field(name, before, after) = field;
        let peer = match (is_changed, before.is_empty()) {
            (false, _) => PEER.to_owned(),
            (true, true) => format!("{PEER}  {after}\n"),
            (true, false) => {
                assert!(PEER.contains(before), "{name}");
                PEER.replace(before, after)
            }
        };
        let before = self.updates();
        self.write("peer.yaml", &peer);
        self.lab
            .eventually("the speaker has read it", || match self.updates() {
                now if now > before => Ok(()),
                now => Err(now),
            });
        self.told += 1;
        let pool = POOL.replace("64512:7", &format!("64512:{}", self.told));
        self.write("bgp.yaml", &pool);
        self.told
    }

    fn write(&self, name: &str, text: &str) {
        let file = self.lab.manifests().join(name);
        let draft = file.with_extension("draft");
        fs::write(&draft, text).unwrap();
        fs::rename(draft, file).unwrap();
    }

    /// How many objects the speaker has read.
    fn updates(&self) -> u64 {
        let page = self
            .lab
            .netns("n1")
            .output("curl", &["-sS", "http://127.0.0.1:7472/metrics"])
            .unwrap();
        let name = "metallb_k8s_client_updates_total ";
        let number = page
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        number.parse().unwrap()
    }

    /// Waits until FRR has the route with this community.
    #[track_caller]
    fn until_told(&self, told: u16) {
        let community = format!("64512:{told}");
        self.lab.eventually("FRR was told", || {
            let paths = self.frr.paths(&prefix(self.vip)).unwrap();
            let has = |path: &Value| path["community"]["string"] == *community;
            match paths.iter().any(has) {
                true => Ok(()),
                false => Err((paths, self.neighbour()["bgpState"].take())),
            }
        });
    }

    /// Waits until FRR has the route with this path of AS numbers.
    #[track_caller]
    fn until_path(&self, path: &str) {
        self.lab.eventually("FRR has the path", || {
            let paths = self.frr.paths(&prefix(self.vip)).unwrap();
            let has = |one: &Value| one["aspath"]["string"] == *path;
            match paths.iter().any(has) {
                true => Ok(()),
                false => Err((paths, self.neighbour())),
            }
        });
    }

    fn neighbour(&self) -> Value {
        self.frr.neighbour("192.0.2.11").unwrap()
    }

    /// Whether the last session ended with CEASE 6/6: FRR says so until there is another, and the speaker until it says something else.
    fn was_told_why(&self) -> bool {
        let heard = self.neighbour()["lastNotificationReason"].to_string();
        let seen = self.lab.speakers()["n1"].ctl_json(&["bgp", "tor"]).unwrap();
        let said = seen["peers"][0]["last_sent"]["words"].to_string();
        // Of a router in another AS than expected is said more: 2/2, of its next OPEN.
        heard.contains("Cease/Other Configuration Change")
            || said.contains("6/6")
            || said.contains("2/2")
    }

    fn session(&self) -> Session {
        let seen = self.neighbour();
        Session {
            losses: seen["connectionsDropped"].as_u64().unwrap(),
            up_ms: seen["bgpTimerUpMsec"].as_u64().unwrap_or_default(),
        }
    }
}

const SECRET: &str = "\
apiVersion: v1
kind: Secret
metadata:
  name: tor
  namespace: metallb-system
type: kubernetes.io/basic-auth
stringData:
  password: secret
";
const PEER: &str = "\
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata:
  name: tor
  namespace: metallb-system
spec:
  myASN: 64512
  peerASN: 64513
  peerAddress: 192.0.2.1
  holdTime: 30s
  keepaliveTime: 10s
  connectTime: 2s
  nodeSelectors:
    - matchLabels: {kubernetes.io/hostname: n1}
";
