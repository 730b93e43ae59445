//! The certificate that a server shows at the moment; handshakes that have begun keep theirs.

use super::identity::Identity;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// A place for one [`Identity`], shared by a server and whoever renews it.
#[derive(Default)]
pub(crate) struct Served {
    shown: RwLock<Option<Identity>>,
}

impl Served {
    /// Shows it from the next handshake on; says whether it is another than before.
    pub(crate) fn show(&self, identity: Identity) -> bool {
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = shown.as_ref() != Some(&identity);
        *shown = Some(identity);
        is_new
    }

    /// What is shown.
    pub(crate) fn shown(&self) -> Option<Identity> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        shown.clone()
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        shown.as_ref().map(Identity::signer)
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Served({:?})", self.shown())
    }
}
