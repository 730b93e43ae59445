//! Which of two connections with the same peer goes on (RFC 4271 §6.8, RFC 6286 §2.3).

use super::Side;
use super::settings::Settings;
use crate::bgp::Open;

/// The connection that stays: the one that was dialled by the speaker with the higher identifier; with equal ones, by that in the
/// higher AS.
pub(super) fn survivor(settings: &Settings, peer: &Open) -> Side {
    let ours = (settings.router_id.bits(), settings.asn);
    let theirs = (peer.router_id.bits(), peer.asn);
    if ours > theirs {
        Side::Dialled
    } else {
        Side::Accepted
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{open, router_id, settings};
    use super::*;

    fn check(ours: (u8, u32), theirs: (u8, u32), survivor_is: Side) {
        let settings = Settings {
            router_id: router_id(ours.0),
            asn: ours.1,
            ..settings()
        };
        let peer = Open {
            router_id: router_id(theirs.0),
            asn: theirs.1,
            ..open()
        };
        assert_eq!(survivor(&settings, &peer), survivor_is);
    }

    #[test]
    fn rfc4271_6_8_the_connection_of_the_higher_identifier_stays() {
        check((2, 100), (1, 900), Side::Dialled);
        check((1, 900), (2, 100), Side::Accepted);
        check((200, 1), (100, 1), Side::Dialled);
    }

    #[test]
    fn rfc6286_2_3_with_equal_identifiers_that_of_the_higher_as_stays() {
        check((1, 200), (1, 100), Side::Dialled);
        check((1, 100), (1, 70_000), Side::Accepted);
    }
}
