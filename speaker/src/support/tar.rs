//! An archive as tar(5) has it since POSIX.1-1988 (ustar), of small files with short names.
//!
//! Written here since it is one header a file; nothing is read back.

/// Bytes of an archive that is being made.
pub(super) struct Archive {
    bytes: Vec<u8>,
    /// Seconds since 1970 that all its files have.
    at: u64,
}

impl Archive {
    pub(super) fn new(at: u64) -> Self {
        Self {
            bytes: Vec::new(),
            at,
        }
    }

    /// Adds a file that its owner alone may read. `name` has at most [`NAME_MAX`] bytes.
    pub(super) fn add(&mut self, name: &str, content: &[u8]) {
        assert!(name.len() <= NAME_MAX, "names in an archive are ours");
        let mut header = [0; BLOCK];
        let mut put = |at: usize, text: &str| {
            for (place, byte) in header.iter_mut().skip(at).zip(text.bytes()) {
                *place = byte;
            }
        };
        put(0, name);
        put(100, "0000600\0");
        put(108, "0000000\0");
        put(116, "0000000\0");
        put(124, &format!("{:011o}\0", content.len()));
        put(136, &format!("{:011o}\0", self.at));
        // The sum is made with spaces in its own place.
        put(148, "        ");
        put(156, "0");
        put(257, "ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        for (place, byte) in header
            .iter_mut()
            .skip(148)
            .zip(format!("{sum:06o}\0 ").bytes())
        {
            *place = byte;
        }
        self.bytes.extend(header);
        self.bytes.extend(content);
        self.bytes
            .resize(self.bytes.len().next_multiple_of(BLOCK), 0);
    }

    /// The whole, with the two empty blocks that end it.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        self.bytes
    }
}

const BLOCK: usize = 512;
/// A name field, less the zero that ends it.
const NAME_MAX: usize = 99;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn tar_itself_reads_it() {
        let mut archive = Archive::new(1_767_323_045);
        archive.add("a/first.txt", b"one\n");
        archive.add("a/empty", b"");
        archive.add("a/full", &[b'x'; BLOCK]);
        let bytes = archive.finish();
        let listed = tar(&["-tvf", "-"], &bytes);
        for line in [
            "-rw------- 0/0               4 2026-01-02",
            "a/empty",
            "512 2026",
        ] {
            assert!(listed.contains(line), "{listed}");
        }
        assert_eq!(tar(&["-xOf", "-", "a/first.txt"], &bytes), "one\n");
        assert_eq!(tar(&["-xOf", "-", "a/full"], &bytes).len(), BLOCK);
    }

    fn tar(words: &[&str], input: &[u8]) -> String {
        let mut tar = Command::new("tar")
            .args(words)
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        tar.stdin.take().unwrap().write_all(input).unwrap();
        let done = tar.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() && errors.is_empty(), "{errors}");
        String::from_utf8(done.stdout).unwrap()
    }
}
