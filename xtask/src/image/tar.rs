//! An archive whose bytes depend on what is in it alone: no clock, owner or order of this machine shows.
//!
//! POSIX.1-1988 `ustar`, the form that every reader of layers takes: short names, regular files and folders, all of them root's.

use anyhow::{Result, bail};
use std::collections::BTreeMap;

/// What is to be archived, by its path.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
enum Entry {
    Folder,
    File { mode: u32, bytes: Vec<u8> },
}

impl Archive {
    /// Puts a file there, with its folders. `path` has no slash at its start.
    pub(crate) fn file(&mut self, path: &str, mode: u32, bytes: Vec<u8>) {
        for (end, _) in path.match_indices('/') {
            let folder = path.get(..=end).unwrap_or(path);
            self.entries.insert(folder.to_owned(), Entry::Folder);
        }
        let file = Entry::File { mode, bytes };
        self.entries.insert(path.to_owned(), file);
    }

    /// The archive, every entry last changed at `moment`, in seconds since 1970.
    ///
    /// # Errors
    /// When a path or a number is too long for the form.
    pub(crate) fn bytes(&self, moment: u64) -> Result<Vec<u8>> {
        let mut archive = Vec::new();
        for (path, entry) in &self.entries {
            let (kind, mode, bytes) = match entry {
                Entry::Folder => (b'5', 0o755, [].as_slice()),
                Entry::File { mode, bytes } => (b'0', *mode, bytes.as_slice()),
            };
            archive.extend(header(path, kind, mode, bytes.len(), moment)?);
            archive.extend(bytes);
            archive.resize(archive.len().next_multiple_of(BLOCK), 0);
        }
        // Two empty blocks are the end.
        archive.resize(archive.len() + 2 * BLOCK, 0);
        Ok(archive)
    }
}

fn header(path: &str, kind: u8, mode: u32, size: usize, moment: u64) -> Result<[u8; BLOCK]> {
    if path.len() > NAME.width {
        bail!("{path} is longer than {} bytes", NAME.width);
    }
    let mut block = [0; BLOCK];
    NAME.put(&mut block, path.as_bytes());
    MODE.number(&mut block, mode.into())?;
    UID.number(&mut block, 0)?;
    GID.number(&mut block, 0)?;
    SIZE.number(&mut block, size.try_into()?)?;
    MTIME.number(&mut block, moment)?;
    KIND.put(&mut block, &[kind]);
    MAGIC.put(&mut block, b"ustar\x0000");
    // The sum is taken with blanks in its own place.
    CHECKSUM.put(&mut block, b"        ");
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    CHECKSUM.put(&mut block, format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

/// A place in the header.
struct Field {
    at: usize,
    width: usize,
}

impl Field {
    fn put(&self, block: &mut [u8; BLOCK], bytes: &[u8]) {
        let end = self.at + bytes.len().min(self.width);
        let room = block
            .get_mut(self.at..end)
            .expect("every field lies in the block");
        room.copy_from_slice(bytes);
    }

    /// In octal digits, with a zero byte after them.
    fn number(&self, block: &mut [u8; BLOCK], number: u64) -> Result<()> {
        let digits = format!("{number:0width$o}", width = self.width - 1);
        if digits.len() >= self.width {
            bail!("{number} has more than {} octal digits", self.width - 1);
        }
        self.put(block, digits.as_bytes());
        Ok(())
    }
}

const BLOCK: usize = 512;
const NAME: Field = Field { at: 0, width: 100 };
const MODE: Field = Field { at: 100, width: 8 };
const UID: Field = Field { at: 108, width: 8 };
const GID: Field = Field { at: 116, width: 8 };
const SIZE: Field = Field { at: 124, width: 12 };
const MTIME: Field = Field { at: 136, width: 12 };
const CHECKSUM: Field = Field { at: 148, width: 8 };
const KIND: Field = Field { at: 156, width: 1 };
const MAGIC: Field = Field { at: 257, width: 8 };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::output;
    use std::process::Command;

    #[test]
    fn the_order_in_which_files_came_does_not_show() {
        let mut one = Archive::default();
        one.file("a/b", 0o644, b"b".to_vec());
        one.file("z", 0o755, b"z".to_vec());
        let mut other = Archive::default();
        other.file("z", 0o755, b"z".to_vec());
        other.file("a/b", 0o644, b"b".to_vec());
        assert_eq!(one.bytes(7).unwrap(), other.bytes(7).unwrap());
        assert_ne!(one.bytes(7).unwrap(), one.bytes(8).unwrap());
    }

    /// GNU tar is what others read it with.
    #[test]
    fn tar_lists_what_was_put_in() {
        let mut archive = Archive::default();
        archive.file("speaker", 0o755, vec![7; 700]);
        archive.file("licenses/LICENSE", 0o644, b"free".to_vec());
        let path = std::env::temp_dir().join(format!("heliograph-{}.tar", std::process::id()));
        std::fs::write(&path, archive.bytes(86_400).unwrap()).unwrap();
        let mut tar = Command::new("tar");
        tar.args(["-tv", "--numeric-owner", "--full-time", "-f"])
            .arg(&path)
            .env("TZ", "UTC");
        let listed = output(&mut tar).unwrap();
        std::fs::remove_file(&path).unwrap();
        let words: Vec<Vec<&str>> = listed
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        let day = ["1970-01-02", "00:00:00"];
        let expected = [
            ["drwxr-xr-x", "0/0", "0", day[0], day[1], "licenses/"],
            ["-rw-r--r--", "0/0", "4", day[0], day[1], "licenses/LICENSE"],
            ["-rwxr-xr-x", "0/0", "700", day[0], day[1], "speaker"],
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn what_the_form_cannot_hold_is_refused() {
        let mut long = Archive::default();
        long.file(&"a".repeat(101), 0o644, Vec::new());
        assert!(long.bytes(0).is_err());
        let mut late = Archive::default();
        late.file("a", 0o644, Vec::new());
        assert!(late.bytes(1 << 33).is_err());
    }
}
