//! The file of last good objects, for a start while no API server can be reached.
//!
//! Its time of change says until when the objects were known to be right. Written aside and moved, so that a reader finds a
//! whole file or the one before; a file that cannot be used is a line in the log and never more. Root alone may read it, and what is in it is
//! what `speaker_core::state` puts there.

use anyhow::{Context, Result};
use speaker_core::{Object, World, state};
use speaker_proto::NodeName;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The file of one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    node: NodeName,
}

impl StateFile {
    /// The file in `dir`, which is there.
    pub(crate) fn new(dir: &Path, node: NodeName) -> Self {
        Self {
            path: dir.join(NAME),
            node,
        }
    }

    /// The objects, and when they were last known to be right. `None` if there is no file that can be used.
    pub(crate) fn load(&self, config_namespace: &str) -> Option<(Vec<Object>, SystemTime)> {
        let loaded = self.read().and_then(|read| {
            let Some((text, at)) = read else {
                return Ok(None);
            };
            let objects = state::parse(&text, &self.node, config_namespace);
            Ok(Some((objects.map_err(anyhow::Error::msg)?, at)))
        });
        loaded.unwrap_or_else(|error| {
            tracing::warn!(
                file = %self.path.display(),
                error = format!("{error:#}"),
                event = "stateNotUsed",
                "the objects that were kept cannot be used"
            );
            None
        })
    }

    fn read(&self) -> Result<Option<(String, SystemTime)>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let at = file.metadata()?.modified()?;
        let mut text = String::new();
        file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
        Ok(Some((text, at)))
    }

    /// Writes the objects, right as of now.
    ///
    /// # Errors
    /// When they are too many, or cannot be written; then the file is as it was.
    pub(crate) fn save(&self, world: &World) -> Result<()> {
        let text = state::text(world, &self.node)
            .with_context(|| format!("the objects have more than {} bytes", state::BYTES_MAX))?;
        replace(&self.path, &text)
    }

    /// Notes that the objects are right as of `at`; without a file there is nothing to note.
    pub(crate) fn touch(&self, at: SystemTime) {
        if let Ok(file) = OpenOptions::new().append(true).open(&self.path) {
            // The time is told to people; the objects are the same without it.
            drop(file.set_modified(at));
        }
    }
}

/// Writes a text aside and moves it into place.
pub(super) fn replace(path: &Path, text: &str) -> Result<()> {
    let aside = path.with_extension("new");
    let about = || format!("failed to write {}", path.display());
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)
        .with_context(about)?;
    file.write_all(text.as_bytes()).with_context(about)?;
    fs::rename(&aside, path).with_context(about)
}

const NAME: &str = "objects.jsonl";
const FILE_BYTES_MAX: u64 = state::BYTES_MAX as u64 + (1 << 16); // the first line is short

#[cfg(test)]
mod tests {
    use super::*;
    use speaker_core::manifest::{self, DEFAULT_NAMESPACE};
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    fn file(dir: &tempfile::TempDir) -> StateFile {
        StateFile::new(dir.path(), "n1".parse().unwrap())
    }

    fn world() -> World {
        let text = "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n";
        let mut world = World::default();
        for object in manifest::read("f.yaml", text, DEFAULT_NAMESPACE).objects {
            world.put(object);
        }
        world
    }

    #[test]
    fn what_was_saved_is_loaded_with_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(&dir);
        assert_eq!(file.load(DEFAULT_NAMESPACE), None);
        file.save(&world()).unwrap();
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        file.touch(at);
        let (objects, loaded_at) = file.load(DEFAULT_NAMESPACE).unwrap();
        assert_eq!((objects.len(), loaded_at), (1, at));
        let mode = fs::metadata(&file.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none_and_the_next_save_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = file(&dir);
        for damage in [&b"nonsense"[..], b"\xff\xfe", b"", b"{}\n"] {
            fs::write(&file.path, damage).unwrap();
            assert_eq!(file.load(DEFAULT_NAMESPACE), None, "{damage:?}");
        }
        file.save(&world()).unwrap();
        assert!(file.load(DEFAULT_NAMESPACE).is_some());
    }

    #[test]
    fn a_place_that_is_gone_is_an_error_that_names_the_file() {
        let file = StateFile::new(Path::new("/no/such"), "n1".parse().unwrap());
        let error = format!("{:#}", file.save(&world()).unwrap_err());
        assert!(error.contains("/no/such/objects.jsonl"), "{error}");
    }
}
