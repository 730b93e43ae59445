//! The file of what other nodes published of their hardware, beside the last good objects.
//!
//! What is in it is `speaker_core::hardware`'s affair. A file that cannot be used is a line in the log and never more.

use super::state::replace;
use anyhow::{Context, Error, Result};
use speaker_core::hardware::Hardware;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The file. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HardwareFile(PathBuf);

impl HardwareFile {
    /// The file in `dir`, which is there.
    pub(crate) fn new(dir: &Path) -> Self {
        Self(dir.join(NAME))
    }

    /// What was kept, as of `now_s` in seconds since 1970; nothing if there is no file that can be used.
    pub(crate) fn load(&self, now_s: u64) -> Hardware {
        let read = self.read().and_then(|text| match text {
            None => Ok(Hardware::default()),
            Some(text) => Hardware::parse(&text, now_s).map_err(Error::msg),
        });
        read.unwrap_or_else(|error| {
            tracing::warn!(
                file = %self.0.display(),
                error = format!("{error:#}"),
                event = "stateNotUsed",
                "what was kept of other nodes' hardware cannot be used"
            );
            Hardware::default()
        })
    }

    fn read(&self) -> Result<Option<String>> {
        let file = match File::open(&self.0) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut text = String::new();
        let mut file = file.take(BYTES_MAX);
        file.read_to_string(&mut text)
            .context("it cannot be read")?;
        Ok(Some(text))
    }

    /// Writes it.
    ///
    /// # Errors
    /// When it cannot be written; then the file is as it was.
    pub(crate) fn save(&self, hardware: &Hardware) -> Result<()> {
        replace(&self.0, &hardware.text())
    }
}

const NAME: &str = "hardware.json";
const BYTES_MAX: u64 = 4 << 20; // a thousand nodes with 48 addresses each take 1 MB, long names included

#[cfg(test)]
mod tests {
    use super::*;
    use speaker_core::hardware::object;
    use std::fs;

    #[test]
    fn l2_3_what_was_published_is_known_after_a_restart_without_an_api_server() {
        let dir = tempfile::tempdir().unwrap();
        let file = HardwareFile::new(dir.path());
        assert_eq!(file.load(1), Hardware::default());
        let mut hardware = Hardware::default();
        hardware.put(&object("speaker-n2", &[].into(), None));
        file.save(&hardware).unwrap();
        let me = "n1".parse().unwrap();
        assert_eq!(file.load(1).others(&me), hardware.others(&me));
        fs::write(dir.path().join(NAME), "{").unwrap();
        assert_eq!(file.load(1), Hardware::default());
    }
}
