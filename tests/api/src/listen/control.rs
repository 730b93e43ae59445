//! Commands of a test to the double itself, which no API server has: `POST /double/faults` and its like.

use super::{Sent, Shared, send};
use crate::answer::{Answer, Refusal};
use crate::faults::{Fault, Rule};
use crate::route::Request;
use hyper::Response;

/// Carries out a command.
pub(super) fn control(shared: &Shared, command: &str, request: &Request) -> Response<Sent> {
    let answer = match command {
        "faults" => match serde_json::from_slice::<Vec<Rule>>(&request.body) {
            Ok(rules) => {
                let seed = request.number("seed").ok().flatten().unwrap_or(1);
                shared.set_faults(rules, seed.unsigned_abs());
                Answer::text("ok")
            }
            Err(why) => Refusal::bad(why.to_string()).answer(),
        },
        "requests" => {
            // A client that looks again and again need not read the same again.
            let after = request.number("after").ok().flatten().unwrap_or(0);
            let after = usize::try_from(after).unwrap_or(0);
            let log = shared.log().get(after..).unwrap_or_default().to_vec();
            let entries = log.iter().map(|entry| {
                serde_json::json!({
                    "user": entry.user, "verb": entry.verb, "path": entry.path, "code": entry.code, "bytes": entry.bytes,
                    "micros": entry.micros,
                })
            });
            Answer::json(200, entries.collect())
        }
        _other => Refusal::no_path().answer(),
    };
    send(answer, Fault::None)
}
