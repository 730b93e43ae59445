//! BGP and BFD beside FRR, BIRD and GoBGP: each figure is measured of all of them in one run, with the same routes, peers and addresses.
//!
//! All senders are real processes as they ship, those of other makes from Debian 12. What they are measured by is a peer of the bench's
//! own ([`peer`], [`watch`]), and for losses a router ([`losses`]). A make that cannot do what a part asks for is a row that says so.

mod capture;
mod change;
mod hold;
mod liveness;
mod losses;
mod peer;
mod place;
mod sender;
mod shown;
mod table;
mod watch;

use super::Setting;
use crate::figure::Figure;
use crate::sheet::Sheet;
use anyhow::{Result, ensure};
use losses::Case;
use place::{Family, PEERS_MAX, Site, progress};
use sender::Make;
use std::time::{Duration, Instant};
use table::Size;

/// The name of this bench.
pub(crate) const NAME: &str = "bgp";

/// Its parts, in the order in which they run: those that say most in a minute come first, for who has few.
pub(crate) const PARTS: [&str; 7] = ["change", "bfd", "losses", "memory", "many", "v4", "v6"];

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Extent {
    /// Routes to one peer.
    large: usize,
    /// Routes and peers of the case with many peers.
    many: (usize, usize),
    rounds: usize,
    /// Changes one at a time.
    changes: usize,
    /// For how long there are many changes.
    busy: Duration,
    /// BFD sessions.
    sessions: usize,
    /// For how long their packets are captured.
    span: Duration,
}

impl Extent {
    fn of(setting: &Setting) -> Self {
        let all = Self {
            large: 100_000,
            many: (10_000, 64),
            rounds: 3,
            changes: 200,
            busy: Duration::from_secs(20),
            sessions: PEERS_MAX,
            span: setting.capture,
        };
        let quick = Self {
            large: 4_000,
            many: (1_000, 8),
            rounds: 1,
            changes: 10,
            busy: Duration::from_secs(2),
            sessions: 8,
            span: setting.capture.min(Duration::from_secs(3)),
        };
        if setting.is_quick { quick } else { all }
    }

    /// A whole table to one peer.
    const fn one_peer(self, family: Family) -> Size {
        Size {
            family,
            routes: self.large,
            peers: 1,
            rounds: self.rounds,
        }
    }

    const fn many_peers(self) -> Size {
        Size {
            family: Family::V4,
            routes: self.many.0,
            peers: self.many.1,
            rounds: 1,
        }
    }
}

/// Measures all parts that are asked for, whatever became of those before.
pub(crate) fn run(setting: &Setting, sheet: &mut Sheet<'_>) -> Result<()> {
    let (begun, extent) = (Instant::now(), Extent::of(setting));
    let site = Site::create(setting)?;
    let mut broken = Vec::new();
    for part in PARTS {
        if !setting.wants(NAME, part) {
            continue;
        }
        let start = Instant::now();
        if let Err(error) = measure(part, &site, extent, sheet) {
            progress(&format!("{part}: {error:#}"));
            broken.push(part);
        }
        progress(&format!("{part} took {} s", start.elapsed().as_secs()));
    }
    progress(&format!("all of it took {} s", begun.elapsed().as_secs()));
    ensure!(broken.is_empty(), "the speaker did not do {broken:?}");
    Ok(())
}

fn measure(part: &str, site: &Site<'_>, extent: Extent, sheet: &mut Sheet<'_>) -> Result<()> {
    match part {
        "v4" => tables(site, extent.one_peer(Family::V4), shown::of_one_peer, sheet),
        "v6" => tables(site, extent.one_peer(Family::V6), shown::of_one_peer, sheet),
        "many" => tables(site, extent.many_peers(), shown::of_many_peers, sheet),
        "memory" => tables(site, SMALL, shown::of_memory, sheet),
        "change" => each(
            "a change",
            &Make::ALL,
            sheet,
            |make| change::measure(site, make, extent.changes, extent.busy),
            shown::of_changes,
        ),
        "bfd" => each(
            "BFD",
            &Make::WITH_BFD,
            sheet,
            |make| liveness::measure(site, make, extent.sessions, extent.span),
            |make, own, one| shown::of_liveness(extent.sessions, extent.span, make, own, one),
        ),
        _ => losses(site, sheet),
    }
}

/// What is shown of one make, beside what the speaker came to.
type Show<M> = fn(Size, Make, Option<&M>, &M) -> Vec<Figure>;

fn tables(
    site: &Site<'_>,
    size: Size,
    show: Show<table::Measured>,
    sheet: &mut Sheet<'_>,
) -> Result<()> {
    each(
        &shown::title(size),
        &Make::ALL,
        sheet,
        |make| table::measure(site, size, make),
        |make, own, one| show(size, make, own, one),
    )
}

fn losses(site: &Site<'_>, sheet: &mut Sheet<'_>) -> Result<()> {
    let mut result = Ok(());
    for case in [Case::GracefulRestart, Case::Restart, Case::Drain] {
        // Only the speaker has a drain.
        let makes = match case {
            Case::GracefulRestart | Case::Restart => &Make::ALL[..],
            Case::Drain => &[Make::Speaker],
        };
        let done = each(
            case.name(),
            makes,
            sheet,
            |make| losses::measure(site, make, case),
            |make, _, one| shown::of_losses(make, case, one),
        );
        result = result.and(done);
    }
    result
}

/// Measures one make after the other, and hands over what there is of it before the next: the speaker first, for the others' ratios.
///
/// # Errors
/// If the speaker could not be measured, after all others were. That another could not is one of its rows.
fn each<M>(
    title: &str,
    makes: &[Make],
    sheet: &mut Sheet<'_>,
    mut measure: impl FnMut(Make) -> Result<M>,
    show: impl Fn(Make, Option<&M>, &M) -> Vec<Figure>,
) -> Result<()> {
    let (mut own, mut result) = (None, Ok(()));
    for make in makes {
        match measure(*make) {
            Ok(measured) => {
                sheet.extend(show(*make, own.as_ref(), &measured))?;
                if *make == Make::Speaker {
                    own = Some(measured);
                }
            }
            Err(error) => {
                sheet.add(&shown::failed(title, *make, &error))?;
                if *make == Make::Speaker {
                    result = Err(error);
                }
            }
        }
    }
    result
}

/// As many as a small cluster has.
const SMALL: Size = Size {
    family: Family::V4,
    routes: 1_000,
    peers: 4,
    rounds: 1,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sheet::Output;
    use anyhow::bail;

    /// What becomes of a part in which these makes fail.
    fn part(failing: &[Make]) -> (bool, String) {
        let mut out = Vec::new();
        let mut sheet = Sheet::new(Output::Json, &mut out);
        let result = each(
            "part",
            &Make::ALL,
            &mut sheet,
            |make| match failing.contains(&make) {
                true => bail!("no time"),
                false => Ok(2.0),
            },
            |make, own, one| shown::beside("time", "ms", make, own.copied(), *one, None),
        );
        (result.is_ok(), String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_make_that_fails_is_a_row_and_the_others_are_measured() {
        let (is_ok, rows) = part(&[Make::Frr]);
        assert!(is_ok);
        assert!(rows.contains(r#""figure":"part, FRR","unit":"","failed":"no time""#));
        assert!(rows.contains("time, GoBGP / this"));
    }

    #[test]
    fn a_speaker_that_fails_is_an_error_after_the_others_were_measured() {
        let (is_ok, rows) = part(&[Make::Speaker]);
        assert!(!is_ok);
        assert_eq!(rows.lines().count(), Make::ALL.len());
        assert!(!rows.contains("ratio"));
    }
}
