//! What a cluster's objects say of a session with a router that is there, and goes: GoBGP.

use crate::one_node::{CLIENT, OneNode};
use crate::sight::sessions;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::process::{Child, Stdio};
use xtask::routers::Routers;

#[test]
fn metallb_1_7_an_object_says_that_a_session_came_up_and_went_down() {
    let mut cluster = OneNode::new();
    cluster.apply(PEER);
    let router = Router::start(&cluster);
    cluster.start_with(&["--bgp-type", "frr-k8s"]);
    cluster.until("it is up", |cluster| state(cluster) == "Established");
    let status = &sessions(&cluster)[0]["status"];
    assert_eq!(
        (&status["peer"], &status["bfdStatus"]),
        (&CLIENT.into(), &"N/A".into())
    );
    router.end();
    cluster.until("it is down", |cluster| {
        !["Established", ""].contains(&state(cluster).as_str())
    });
    let router = Router::start(&cluster);
    cluster.until("it is up again", |cluster| state(cluster) == "Established");
    router.end();
}

/// The state of the only session; nothing while there is none.
fn state(cluster: &OneNode) -> String {
    let objects = sessions(cluster);
    assert!(objects.len() <= 1, "{objects:?}");
    let state = objects
        .first()
        .and_then(|object| object["status"]["bgpStatus"].as_str());
    state.unwrap_or_default().to_owned()
}

/// GoBGP in the client's namespace; ends with the test.
struct Router(Child);

impl Router {
    fn start(cluster: &OneNode) -> Self {
        let routers = Routers::ensure().unwrap();
        let config = cluster.path("gobgp.toml");
        fs::write(&config, CONFIG).unwrap();
        let mut command = routers.command(cluster.client(), "usr/bin/gobgpd");
        command
            .arg("-f")
            .arg(config)
            .args(["--pprof-disable", "--api-hosts", "127.0.0.1:50051"]);
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(quiet.spawn().unwrap())
    }

    /// As the machine would that it runs on.
    fn end(mut self) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.unwrap(), Signal::TERM).unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        // After `end` there is nothing to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const PEER: &str = "\
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: tor, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.2, connectTime: 1s}
";

const CONFIG: &str = "\
[global.config]
as = 64513
router-id = \"192.0.2.2\"

[[neighbors]]
[neighbors.config]
neighbor-address = \"192.0.2.11\"
peer-as = 64512
[neighbors.transport.config]
passive-mode = true
";
