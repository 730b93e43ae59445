//! Certificates and authorities whose time has come: who renews them, whom API servers trust meanwhile, and that nobody asks in vain.

use super::cluster::{BUSY_MAX, CRD, CRD_BUNDLE, Cluster, POOLS, Replica, SECRET, WEBHOOKS};
use api_tests::{Fault, Rule};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[test]
fn a_certificate_in_its_last_third_is_renewed_once_whoever_sees_it() {
    let cluster = Cluster::start();
    let young = Signer::of(Life::new(300 * DAY, 3000 * DAY));
    let old = young.secret(&[&young], Life::new(300 * DAY, 60 * DAY));
    keep(&cluster, &old);
    let replicas = [0; 2].map(|_| Replica::start(&cluster, &[]));
    let secret = || cluster.double.get(SECRET).unwrap();
    replicas[0].until("it is renewed", || {
        secret()["data"]["tls.crt"] != old["tls.crt"]
    });
    assert_eq!(
        secret()["data"]["ca.crt"],
        old["ca.crt"],
        "the authority is young"
    );
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(cluster.patches(SECRET), 1);
    for replica in &replicas {
        answers(&cluster, replica);
    }
}

#[test]
fn another_authority_is_made_by_the_leader_alone_and_no_replica_fails_one_question() {
    let cluster = Cluster::start();
    let ageing = Signer::of(Life::new(300 * DAY, 60 * DAY));
    let old = ageing.secret(&[&ageing], Life::new(10 * DAY, 50 * DAY));
    keep(&cluster, &old);
    // Nothing is renewed before both replicas serve what is old.
    cluster
        .double
        .faults(vec![refused_patches_of_the_secret()], 1);
    let leader = Replica::start(&cluster, &["--webhook-mode=enabled", "--pod-name=c-0"]);
    leader.until("it leads", || holder(&cluster).contains("c-0"));
    let kubeconfig = second_account(&cluster);
    let follower = Replica::start(
        &cluster,
        &["--webhook-mode=enabled", "--pod-name=c-1", &kubeconfig],
    );
    let replicas = [&leader, &follower];
    let old = certificates(&old["ca.crt"]);
    assert_eq!(bundles(&cluster), vec![old.clone(); 7]);
    let peer = json!({
        "apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer",
        "metadata": {"name": "tor", "namespace": "metallb-system"},
        "spec": {"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1"},
    });
    for replica in replicas {
        answers(&cluster, replica);
    }
    assert_eq!(cluster.post(&peers("v1beta2"), &peer).0, 201);

    cluster.double.faults(Vec::new(), 1);
    // Another cluster that believes what it is told to, and no more.
    let strict = Cluster::start();
    let new = rotated(&cluster, &strict, replicas, &old);
    assert_eq!(new[1..], old);
    assert_eq!(bundles(&cluster), vec![new; 7], "both are trusted");
    believe(&strict, &old);
    for replica in replicas {
        assert!(
            !is_believed(&strict, replica),
            "the old certificate is gone"
        );
        answers(&cluster, replica);
    }
    // At the start and for the rotation.
    assert_eq!(
        [SECRET, WEBHOOKS, CRD].map(|path| cluster.patches(path)),
        [1, 2, 2]
    );
    let requests = cluster.double.requests();
    let of_follower = || requests.iter().filter(|one| one.user == SECOND);
    assert!(of_follower().any(|one| one.verb == "watch"));
    let written = of_follower().find(|one| !READS.contains(&one.verb.as_str()));
    assert_eq!(written, None);
}

#[test]
fn an_hour_after_a_new_authority_began_the_old_one_goes_from_secret_and_bundles() {
    let cluster = Cluster::start();
    let old = Signer::of(Life::new(300 * DAY, 60 * DAY));
    // An authority counts from an hour before it is made.
    let new = Signer::of(Life::new(2 * HOUR + MINUTE, 3000 * DAY));
    let kept = new.secret(&[&new, &old], Life::new(2 * HOUR + MINUTE, 300 * DAY));
    keep(&cluster, &kept);
    let replica = Replica::start(&cluster, &["--webhook-mode=enabled", "--pod-name=c-0"]);
    let both = certificates(&kept["ca.crt"]);
    let secret = || cluster.double.get(SECRET).unwrap()["data"].clone();
    replica.until("the old authority is gone", || {
        answers(&cluster, &replica);
        certificates(&secret()["ca.crt"]) == both[..1] && bundles(&cluster) == vec![&both[..1]; 7]
    });
    assert_eq!(
        secret()["tls.crt"],
        kept["tls.crt"],
        "it was by the new one"
    );
}

/// Asks both replicas all the time, until each shows a certificate by another authority; the authorities that are kept then.
fn rotated(
    cluster: &Cluster,
    strict: &Cluster,
    replicas: [&Replica; 2],
    old: &[CertificateDer<'static>],
) -> Vec<CertificateDer<'static>> {
    let deadline = Instant::now() + BUSY_MAX;
    let mut asked = 0;
    loop {
        for replica in replicas {
            answers(cluster, replica);
            let converted = cluster.double.get(&format!("{}/tor", peers("v1beta1")));
            assert!(converted.is_some(), "{}", replica.log());
            asked += 1;
        }
        let roots = certificates(&cluster.double.get(SECRET).unwrap()["data"]["ca.crt"]);
        if roots != old {
            believe(strict, &roots[..1]);
            // A machine that does a dozen things at once asks little meanwhile; then it asks on.
            let is_done = replicas.iter().all(|replica| is_believed(strict, replica));
            if is_done && asked >= ASKED_MIN {
                return roots;
            }
        }
        let logs = replicas.map(|replica| replica.log()).join("\n");
        assert!(Instant::now() < deadline, "not both\n{logs}");
    }
}

/// What an API server asks gets an answer: a pool is judged and stored.
fn answers(cluster: &Cluster, replica: &Replica) {
    cluster.route(replica);
    let (code, stored) = cluster.pool("p", "192.0.2.0/24");
    assert_eq!(code, 201, "{stored}\n{}", replica.log());
    assert_eq!(cluster.double.delete(&format!("{POOLS}/p")), 200);
}

/// Makes the Secret.
fn keep(cluster: &Cluster, data: &Value) {
    let (all, name) = SECRET.rsplit_once('/').unwrap();
    let (code, made) = cluster.post(all, &json!({"metadata": {"name": name}, "data": data}));
    assert_eq!(code, 201, "{made}");
}

fn refused_patches_of_the_secret() -> Rule {
    Rule {
        method: "PATCH".to_owned(),
        path: SECRET.to_owned(),
        fault: Fault::Refuse {
            code: 503,
            retry_after: 0,
        },
        ..Rule::default()
    }
}

fn holder(cluster: &Cluster) -> String {
    let lease = cluster.double.get(LEASE).unwrap_or_default();
    let holder = lease["spec"]["holderIdentity"].as_str();
    holder.unwrap_or_default().to_owned()
}

/// A service account with the controller's rights, so that requests tell who sent them; the flag that uses it.
fn second_account(cluster: &Cluster) -> String {
    let (_, name) = SECOND.rsplit_once(':').unwrap();
    for path in BINDINGS {
        let mut binding = cluster.double.get(path).unwrap();
        let mut subject = binding["subjects"][0].clone();
        subject["name"] = json!(name);
        binding["subjects"].as_array_mut().unwrap().push(subject);
        assert_eq!(cluster.double.put(&binding).0, 200);
    }
    cluster.double.add_user("second", SECOND, &[]);
    let path = cluster.double.kubeconfig(SECOND).unwrap();
    format!("--kubeconfig={}", path.display())
}

/// The certificates in each `caBundle`: of six webhooks and of the conversion.
fn bundles(cluster: &Cluster) -> Vec<Vec<CertificateDer<'static>>> {
    let webhooks = cluster.double.get(WEBHOOKS).unwrap();
    let crd = cluster.double.get(CRD).unwrap();
    let each = webhooks["webhooks"].as_array().unwrap().iter();
    let each = each.map(|webhook| &webhook["clientConfig"]["caBundle"]);
    let each = each.chain(crd.pointer(CRD_BUNDLE));
    each.map(certificates).collect()
}

/// The certificates of a PEM text in Base64.
fn certificates(text: &Value) -> Vec<CertificateDer<'static>> {
    let pem = STANDARD.decode(text.as_str().unwrap()).unwrap();
    let read = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>();
    read.unwrap()
}

/// Lets a cluster trust these authorities and no others.
fn believe(cluster: &Cluster, roots: &[CertificateDer<'_>]) {
    let section = |root: &CertificateDer<'_>| {
        let text = STANDARD.encode(root);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    };
    let pem: String = roots.iter().map(section).collect();
    cluster.apply_bundle("test", &STANDARD.encode(pem));
}

/// Whether a cluster takes a replica for the server of its webhooks.
fn is_believed(cluster: &Cluster, replica: &Replica) -> bool {
    cluster.route(replica);
    let (code, answer) = cluster.pool("p", "192.0.2.0/24");
    let is_stranger = answer.to_string().contains("unknown authority");
    assert_eq!(code, if is_stranger { 500 } else { 201 }, "{answer}");
    cluster.double.delete(&format!("{POOLS}/p"));
    !is_stranger
}

fn peers(version: &str) -> String {
    format!("/apis/metallb.io/{version}/namespaces/metallb-system/bgppeers")
}

/// Since when something counts, and how long it still does.
#[derive(Clone, Copy)]
struct Life {
    ago: Duration,
    more: Duration,
}

impl Life {
    fn new(ago: Duration, more: Duration) -> Self {
        Self { ago, more }
    }

    fn of(self, params: &mut CertificateParams) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        params.not_before = epoch + (now - self.ago);
        params.not_after = epoch + (now + self.more);
    }
}

/// An authority.
struct Signer {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Signer {
    fn of(life: Life) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        life.of(&mut params);
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { pem, issuer }
    }

    /// The data of a Secret: these authorities, and a certificate of the webhooks by this one.
    fn secret(&self, roots: &[&Self], life: Life) -> Value {
        let name = "metallb-webhook-service.metallb-system.svc";
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
        life.of(&mut leaf);
        let leaf = leaf.signed_by(&key, &self.issuer).unwrap();
        let roots: String = roots.iter().map(|root| root.pem.as_str()).collect();
        json!({
            "ca.crt": STANDARD.encode(roots),
            "ca.key": STANDARD.encode(self.issuer.key().serialize_pem()),
            "tls.crt": STANDARD.encode(leaf.pem()),
            "tls.key": STANDARD.encode(key.serialize_pem()),
        })
    }
}

const ASKED_MIN: usize = 10;
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86400);
const SECOND: &str = "system:serviceaccount:metallb-system:controller-2";
const READS: [&str; 3] = ["get", "list", "watch"];
const LEASE: &str =
    "/apis/coordination.k8s.io/v1/namespaces/metallb-system/leases/heliograph-controller";
const BINDINGS: [&str; 2] = [
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/metallb-system:controller",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/metallb-system/rolebindings/controller",
];
