//! Which events of a pass are written: of a few services each that MetalLB writes, of many that lose their addresses at once one each.
//!
//! A range that is replaced takes the addresses of all its services. `ClearAssignment` for each beside `IPAllocated` would be a third of
//! all that is written then, would say the same of each, and would push older events out of the queue. Knows no objects.

use super::desk::News;
use speaker_core::allocator::{Event, EventReason};
use speaker_core::service::ServiceId;
use std::collections::BTreeSet;

/// The events that are to be written. If many services were cleared, those of them that have another event in this pass have
/// that one alone, and a piece of news says how many were cleared and why the first was.
pub(super) fn brief(events: &[Event]) -> (Vec<&Event>, Option<News>) {
    let clears = |event: &&Event| event.reason == EventReason::ClearAssignment;
    let count = events.iter().filter(clears).count();
    let first = events.iter().find(clears);
    let Some(first) = first.filter(|_| count > CLEARED_TOLD_MAX) else {
        return (events.iter().collect(), None);
    };
    let others = events.iter().filter(|event| !clears(event));
    let others: BTreeSet<&ServiceId> = others.map(|event| &event.service).collect();
    let is_told = |event: &&Event| !clears(event) || !others.contains(&event.service);
    let news = News::ManyCleared(count, first.message.clone());
    (events.iter().filter(is_told).collect(), Some(news))
}

/// Services of which each is told that it was cleared: more events than anybody reads one by one.
pub(super) const CLEARED_TOLD_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn moves(services: usize) -> Vec<Event> {
        let of = |number: usize| {
            [EventReason::ClearAssignment, EventReason::Allocated].map(|reason| Event {
                service: ServiceId {
                    namespace: "a".into(),
                    name: format!("{number:03}"),
                },
                reason,
                message: format!("{} {number}", reason.as_str()),
            })
        };
        (0..services).flat_map(of).collect()
    }

    #[test]
    fn of_a_few_services_everything_is_told() {
        let events = moves(CLEARED_TOLD_MAX);
        let (told, news) = brief(&events);
        assert_eq!((told.len(), news), (2 * CLEARED_TOLD_MAX, None));
    }

    #[test]
    fn of_many_services_each_is_told_of_once_and_all_of_them_together() {
        let mut events = moves(CLEARED_TOLD_MAX + 2);
        // The last finds nothing else and has no other event.
        events.pop();
        let (told, news) = brief(&events);
        let services: BTreeSet<_> = told.iter().map(|event| &event.service).collect();
        assert_eq!(services.len(), CLEARED_TOLD_MAX + 2);
        assert_eq!(told.len(), services.len());
        assert_eq!(told.last().unwrap().reason, EventReason::ClearAssignment);
        let first = "ClearAssignment 0".to_owned();
        assert_eq!(news, Some(News::ManyCleared(CLEARED_TOLD_MAX + 2, first)));
    }
}
