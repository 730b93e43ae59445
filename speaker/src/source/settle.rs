//! Which changed files may be read now.
//!
//! A file that is being written is empty or half there, and reading it then would withdraw what it holds. So a change
//! counts once the file is closed, moved or removed and the directory is quiet for [`SETTLE`]; a file that someone
//! keeps open counts after [`OPEN_MAX`] of quiet. Pure: the waiting is the caller's.

use std::collections::BTreeSet;
use std::time::Duration;

/// What a file's change leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Closed after writing, moved in, moved away or removed.
    Whole,
    /// Written to, and not closed yet.
    Open,
}

/// Changes that were seen and not acted on yet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Pending {
    whole: BTreeSet<String>,
    open: BTreeSet<String>,
    is_all: bool,
    seen: usize,
}

/// What to read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// These files.
    Files(BTreeSet<String>),
    /// Everything.
    All,
}

impl Pending {
    /// A file changed.
    pub(super) fn file(&mut self, path: String, state: State) {
        self.seen += 1;
        let (into, from) = match state {
            State::Whole => (&mut self.whole, &mut self.open),
            State::Open => (&mut self.open, &mut self.whole),
        };
        from.remove(&path);
        into.insert(path);
    }

    /// What changed cannot be told file by file.
    pub(super) fn all(&mut self) {
        self.seen += 1;
        self.is_all = true;
    }

    /// How long the directory must be quiet before something is due; `None`: nothing is pending.
    pub(super) fn wait(&self) -> Option<Duration> {
        if self.is_all || !self.whole.is_empty() {
            return Some(if self.seen < EVENTS_MAX {
                SETTLE
            } else {
                Duration::ZERO
            });
        }
        (!self.open.is_empty()).then_some(OPEN_MAX)
    }

    /// Takes what is due after that quiet.
    pub(super) fn take(&mut self) -> Due {
        self.seen = 0;
        if std::mem::take(&mut self.is_all) {
            self.whole.clear();
            return Due::All;
        }
        if self.whole.is_empty() {
            return Due::Files(std::mem::take(&mut self.open));
        }
        Due::Files(std::mem::take(&mut self.whole))
    }

    /// Files that are being written: not to be read even if everything is.
    pub(super) fn is_open(&self, path: &str) -> bool {
        self.open.contains(path)
    }
}

pub(super) const SETTLE: Duration = Duration::from_millis(5); // an editor's rename and rewrite
pub(super) const OPEN_MAX: Duration = Duration::from_secs(1); // past that the writer is not about to close it
const EVENTS_MAX: usize = 512; // a directory that is never quiet is read all the same

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> Due {
        Due::Files(paths.iter().map(|&path| path.to_owned()).collect())
    }

    #[test]
    fn a_file_that_is_being_written_waits_until_it_is_closed() {
        let mut pending = Pending::default();
        pending.file("a".into(), State::Open);
        assert_eq!(pending.wait(), Some(OPEN_MAX));
        pending.file("a".into(), State::Whole);
        assert_eq!(pending.wait(), Some(SETTLE));
        assert_eq!(pending.take(), files(&["a"]));
        assert_eq!(pending.wait(), None);
    }

    #[test]
    fn an_editor_that_moves_a_file_away_and_writes_it_anew_never_removes_it() {
        let mut pending = Pending::default();
        pending.file("a".into(), State::Whole);
        pending.file("a".into(), State::Open);
        pending.file("b".into(), State::Whole);
        assert_eq!(pending.take(), files(&["b"]));
        assert!(pending.is_open("a"));
        assert_eq!(pending.wait(), Some(OPEN_MAX));
        assert_eq!(pending.take(), files(&["a"]));
    }

    #[test]
    fn a_directory_that_is_never_quiet_is_read_all_the_same() {
        let mut pending = Pending::default();
        for n in 0..EVENTS_MAX {
            pending.file(n.to_string(), State::Whole);
        }
        assert_eq!(pending.wait(), Some(Duration::ZERO));
    }

    #[test]
    fn everything_includes_what_was_pending_file_by_file() {
        let mut pending = Pending::default();
        pending.file("a".into(), State::Whole);
        pending.all();
        assert_eq!(pending.take(), Due::All);
        assert_eq!(pending.wait(), None);
    }
}
