//! What each Service object must come to say, from what the allocator gave.
//!
//! The controller writes two things into a Service: the addresses in its status, and the annotation that names their
//! pool. Both are left alone in services of another class, and emptied where a service has no right to an address. The
//! order of the reasons is MetalLB's (`docs/metallb.md`, "Allocation"); most of them are the allocator's, this module
//! only compares its result with the objects. It knows nothing of how an object is written.

use crate::allocator::{Assignments, POOL_ANNOTATION};
use crate::annotations;
use crate::service::{Service, ServiceId};
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What a Service must say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Target {
    /// `status.loadBalancer.ingress`, in order.
    pub ips: Vec<IpAddr>,
    /// The pool that the annotation names; `None`: there is no annotation.
    pub pool: Option<String>,
    /// Whether proxies are to leave the addresses alone (`ipMode: Proxy`); `None`: whatever the status says of that is right.
    pub is_proxied: Option<bool>,
}

impl Target {
    /// What a service must say; `None` if it is none of ours.
    pub fn of(
        service: &Service,
        world: &World,
        assignments: &Assignments,
        class: Option<&str>,
    ) -> Option<Self> {
        // The API server takes the class away with the type, so that who has a class cannot know its own by it.
        if service.class.as_deref() != class {
            return None;
        }
        let given = assignments
            .get(&service.id)
            .filter(|_| service.is_load_balancer);
        let Some(given) = given else {
            return Some(Self::default());
        };
        // The pool of addresses that stay behind one that cannot be read is a guess.
        let is_known = world.pools.contains_key(&given.pool);
        let pool = match is_known {
            true => Some(given.pool.clone()),
            false => service.annotations.get(POOL_ANNOTATION).cloned(),
        };
        Some(Self {
            ips: given.ips.clone(),
            pool,
            is_proxied: is_proxied(service, world, &given.pool),
        })
    }

    /// Whether the service says so already. How an address is to be used (`ipMode`) is the API server's to fill in, unless its pool lets
    /// services choose sockets.
    pub fn is_met_by(&self, service: &Service) -> bool {
        let ips = service.ingress.iter();
        ips.map(|ip| ip.as_ref().ok()).eq(self.ips.iter().map(Some))
            && service.annotations.get(POOL_ANNOTATION) == self.pool.as_ref()
            && self.is_proxied.is_none_or(|is_proxied| {
                let mut ips = self.ips.iter();
                ips.all(|ip| service.proxied.contains(ip) == is_proxied)
            })
    }

    /// The service as it is once it says so.
    pub fn applied_to(&self, service: &Service) -> Service {
        let mut service = service.clone();
        service.ingress = self.ips.iter().copied().map(Ok).collect();
        service.proxied = match self.is_proxied {
            Some(true) => self.ips.iter().copied().collect(),
            Some(false) | None => BTreeSet::new(),
        };
        match &self.pool {
            Some(pool) => {
                let name = POOL_ANNOTATION.to_owned();
                service.annotations.insert(name, pool.clone());
            }
            None => {
                service.annotations.remove(POOL_ANNOTATION);
            }
        }
        service
    }
}

/// What the service's own annotation wants of proxies, where the pool lets it want something.
fn is_proxied(service: &Service, world: &World, pool: &str) -> Option<bool> {
    let pool = world.pools.get(pool)?;
    let allows = annotations::allows_service(&pool.annotations, "steering");
    allows.then(|| annotations::word(&service.annotations, "steering") == Some("socket"))
}

/// What must be written: every service that does not say yet what it must. Means nothing before services, pools and
/// namespaces are synced.
pub fn changes(
    world: &World,
    assignments: &Assignments,
    class: Option<&str>,
) -> BTreeMap<ServiceId, Target> {
    let services = world.services.values();
    services
        .filter_map(|service| {
            let target = Target::of(service, world, assignments, class)?;
            (!target.is_met_by(service)).then(|| (service.id.clone(), target))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocator::{Allocation, allocate};
    use crate::key::Kind;
    use crate::manifest::{DEFAULT_NAMESPACE, read};

    fn world(text: &str) -> World {
        let mut world = World::default();
        for object in read("f.yaml", text, DEFAULT_NAMESPACE).objects {
            world.put(object);
        }
        for kind in Kind::ALL {
            world.synced(kind);
        }
        world
    }

    fn service(name: &str, spec: &str, pool: &str, ips: &[&str]) -> String {
        let ingress: Vec<String> = ips.iter().map(|ip| format!("{{ip: {ip}}}")).collect();
        let annotations = match pool {
            "" => String::new(),
            pool => format!(", annotations: {{{POOL_ANNOTATION}: {pool}}}"),
        };
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: a{annotations}}}\n\
             spec: {{clusterIPs: [10.96.0.1], ports: [{{port: 80}}], {spec}}}\n\
             status: {{loadBalancer: {{ingress: [{}]}}}}\n",
            ingress.join(", ")
        )
    }

    fn pool(name: &str, addresses: &str) -> String {
        format!(
            "---\napiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: {name}, namespace: metallb-system}}\n\
             spec: {{addresses: [{addresses}]}}\n"
        )
    }

    /// What must be written, as `name: addresses pool`.
    fn check(text: &str, class: Option<&str>, expected: &[&str]) {
        let world = world(text);
        let Allocation { assignments, .. } = allocate(&world, &Assignments::new(), class);
        let told: Vec<String> = changes(&world, &assignments, class)
            .iter()
            .map(|(id, target)| {
                let Target { ips, pool, .. } = target;
                format!("{}: {ips:?} {}", id.name, pool.as_deref().unwrap_or("-"))
            })
            .collect();
        assert_eq!(told, expected);
        let mut after = world.clone();
        for (id, target) in changes(&world, &assignments, class) {
            let service = target.applied_to(&world.services[&id]);
            assert!(target.is_met_by(&service));
            after.put(Ok(crate::object::Object::Service(service)));
        }
        assert_eq!(
            changes(&after, &assignments, class),
            BTreeMap::new(),
            "what was written is met"
        );
    }

    const LB: &str = "type: LoadBalancer";

    #[test]
    fn a_service_gets_address_and_pool() {
        let text = pool("p", "192.0.2.0/30") + &service("web", LB, "", &[]);
        check(&text, None, &["web: [192.0.2.0] p"]);
    }

    #[test]
    fn what_a_service_says_already_is_not_written() {
        let text = pool("p", "192.0.2.0/30") + &service("web", LB, "p", &["192.0.2.1"]);
        check(&text, None, &[]);
    }

    #[test]
    fn a_pool_of_another_name_is_only_noted() {
        let text = pool("p", "192.0.2.0/30") + &service("web", LB, "q", &["192.0.2.1"]);
        check(&text, None, &["web: [192.0.2.1] p"]);
    }

    #[test]
    fn a_service_of_another_type_has_neither() {
        let text =
            pool("p", "192.0.2.0/30") + &service("web", "type: ClusterIP", "p", &["192.0.2.1"]);
        check(&text, None, &["web: [] -"]);
        check(&text, Some("c"), &[]);
    }

    #[test]
    fn services_of_another_class_are_left_alone() {
        let classed = "type: LoadBalancer, loadBalancerClass: c";
        let text = pool("p", "192.0.2.0/30")
            + &service("mine", classed, "", &[])
            + &service("other", LB, "x", &["198.51.100.1"]);
        check(&text, Some("c"), &["mine: [192.0.2.0] p"]);
        check(&text, None, &["other: [192.0.2.0] p"]);
    }

    #[test]
    fn without_pools_everything_is_cleared() {
        check(
            &service("web", LB, "p", &["192.0.2.1"]),
            None,
            &["web: [] -"],
        );
    }

    #[test]
    fn a_host_name_in_the_status_is_written_over() {
        let mut text = pool("p", "192.0.2.0/30") + &service("web", LB, "p", &[]);
        text = text.replace("ingress: []", "ingress: [{hostname: h}]");
        check(&text, None, &["web: [192.0.2.0] p"]);
    }

    /// In a pool that lets services say it, the status follows the annotation there and back; elsewhere it is left alone.
    #[test]
    fn proxies_are_told_to_leave_an_address_to_sockets() {
        let plain = service("web", LB, "p", &["192.0.2.1"]);
        let asking = plain.replace("{metallb.io", "{heliograph.io/steering: socket, metallb.io");
        let told = |text: &str| text.replace("{ip: 192.0.2.1}", "{ip: 192.0.2.1, ipMode: Proxy}");
        let strict = pool("p", "192.0.2.0/30");
        let lenient = strict.replace(
            "name: p,",
            "name: p, annotations: {heliograph.io/allow-service: steering},",
        );
        let written = ["web: [192.0.2.1] p"];
        check(&(lenient.clone() + &asking), None, &written);
        check(&(lenient.clone() + &told(&asking)), None, &[]);
        check(&(lenient + &told(&plain)), None, &written);
        for service in [&asking, &told(&asking), &told(&plain)] {
            check(&(strict.clone() + service), None, &[]);
        }
    }

    #[test]
    fn what_a_frozen_pool_may_hold_stays_as_it_is_and_frees_nothing() {
        let frozen = pool("p", "nonsense");
        let text = frozen.clone()
            + &service("noted", LB, "p", &["192.0.2.1"])
            + &service("unnoted", LB, "", &["192.0.2.2"])
            + &service("moved", LB, "q", &["192.0.2.3"])
            + &service("waits", LB, "", &[]);
        check(&text, None, &[]);
        let other = pool("q", "198.51.100.0/30");
        check(
            &(text + &other + &service("held", LB, "p", &["198.51.100.3"])),
            None,
            &["held: [198.51.100.3] q", "waits: [198.51.100.0] q"],
        );
    }
}
