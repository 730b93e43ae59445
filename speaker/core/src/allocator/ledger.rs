//! Who uses which address, and who may join.

use super::ask::Ask;
use super::{Port, Sharing};
use crate::service::{Service, ServiceId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The addresses in use during one pass.
#[derive(Default)]
pub(super) struct Ledger<'w>(BTreeMap<IpAddr, Use<'w>>);

/// The use of one address.
struct Use<'w> {
    /// Key and backend of all of its services; `None` where a service does not share.
    terms: Option<(String, String)>,
    services: BTreeSet<&'w ServiceId>,
    ports: BTreeMap<Port, &'w ServiceId>,
}

impl<'w> Ledger<'w> {
    /// Whether nobody uses `ip`.
    pub(super) fn is_free(&self, ip: IpAddr) -> bool {
        !self.0.contains_key(&ip)
    }

    /// Whether a service on `ip` has `port`.
    pub(super) fn has_port(&self, ip: IpAddr, port: Port) -> bool {
        self.0
            .get(&ip)
            .is_some_and(|used| used.ports.contains_key(&port))
    }

    /// Whether a service that asks like this may use `ip` beside those who do.
    pub(super) fn may_join(&self, ip: IpAddr, ask: &Ask) -> bool {
        let Some(used) = self.0.get(&ip) else {
            return true;
        };
        used.fits(ask.sharing.as_ref())
            && ask.ports.iter().all(|port| !used.ports.contains_key(port))
    }

    /// Refuses a service that may not use `ip`, with MetalLB's words.
    pub(super) fn check(&self, ip: IpAddr, service: &Service, ask: &Ask) -> Result<(), String> {
        let Some(used) = self.0.get(&ip) else {
            return Ok(());
        };
        if !used.fits(ask.sharing.as_ref()) {
            let others: Vec<_> = used.services.iter().map(ToString::to_string).collect();
            return Err(format!(
                "can't change sharing key for \"{}\", address also in use by {}",
                service.id,
                others.join(",")
            ));
        }
        let mut ports = service.ports.iter().map(|port| (port.protocol, port.port));
        match ports.find(|port| used.ports.contains_key(port)) {
            Some((protocol, port)) => Err(format!(
                "port {protocol}/{port} is already in use on \"{ip}\""
            )),
            None => Ok(()),
        }
    }

    /// Notes that a service which cannot be seen now uses `ip`. Where it does not share, no port is known of it, and
    /// none is needed.
    pub(super) fn reserve(&mut self, ip: IpAddr, id: &'w ServiceId, sharing: Option<&Sharing>) {
        let used = self.0.entry(ip).or_insert_with(|| Use {
            terms: sharing.map(|s| (s.key.clone(), s.backend.clone())),
            services: BTreeSet::new(),
            ports: BTreeMap::new(),
        });
        used.services.insert(id);
        for port in sharing.iter().flat_map(|sharing| &sharing.ports) {
            used.ports.insert(*port, id);
        }
    }

    /// Notes that a service uses `ip`. It must have been free, or joinable, or the service's own.
    pub(super) fn take(&mut self, ip: IpAddr, service: &'w Service, ask: &Ask) {
        let terms = ask
            .sharing
            .as_ref()
            .map(|s| (s.key.clone(), s.backend.clone()));
        let used = self.0.entry(ip).or_insert_with(|| Use {
            terms,
            services: BTreeSet::new(),
            ports: BTreeMap::new(),
        });
        used.services.insert(&service.id);
        for port in &ask.ports {
            used.ports.insert(*port, &service.id);
        }
    }
}

impl Use<'_> {
    fn fits(&self, sharing: Option<&Sharing>) -> bool {
        match (&self.terms, sharing) {
            (Some((key, backend)), Some(sharing)) => {
                *key == sharing.key && *backend == sharing.backend
            }
            (None, _) | (_, None) => false,
        }
    }
}
