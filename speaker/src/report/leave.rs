//! Whether something may be written at this moment: always, or as long as a Lease lets this process.
//!
//! Knows no Lease and no object: whoever has a term gives leave, and writers ask before each request, which then takes no longer
//! than [`speaker_proto::lease::REQUEST_MAX`].

use crate::drive::clock::pause;
use std::sync::Arc;
use std::time::Duration;

/// Whether something may be written. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Leave(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Leave {
    /// At any time.
    pub(crate) const fn always() -> Self {
        Self(None)
    }

    /// As long as this is so.
    pub(crate) fn while_so(is_so: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(is_so)))
    }

    /// Waits until a request may be begun.
    pub(crate) async fn given(&self) {
        while self.0.as_ref().is_some_and(|is_so| !is_so()) {
            pause(LOOK_EVERY).await;
        }
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(200); // what waits for a term to be renewed is late already

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn what_needs_leave_waits_for_it() {
        Leave::always().given().await;
        let looks = AtomicU32::new(0);
        let leave = Leave::while_so(move || looks.fetch_add(1, Ordering::Relaxed) == 2);
        leave.given().await;
        // The third look was the one that let it go; at the fourth it is over.
        let over = tokio::time::timeout(LOOK_EVERY / 2, leave.given()).await;
        assert!(over.is_err());
    }
}
