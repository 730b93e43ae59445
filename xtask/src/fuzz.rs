//! The fuzz targets of `tests/model/fuzz`, each for a bounded time: built with the address sanitizer and with the coverage that steers
//! libFuzzer, and begun with the committed corpus.
//!
//! The seed is fixed, so that a run that finds something finds it again; whoever looks for what is new runs them for longer with another
//! one, as the head of their Cargo.toml says. What the targets do is theirs.

use crate::tools::{self, say, target};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Builds and runs all of them: what each is called, and what it found if it did.
pub fn fuzz() -> Vec<(String, Result<()>)> {
    say("building the fuzz targets under the address sanitizer");
    if let Err(why) = build() {
        return vec![("the fuzz targets".to_owned(), Err(why))];
    }
    // All at once, since each waits for its time and not for its work.
    std::thread::scope(|scope| {
        let runs = TARGETS.map(|one| (one.name, scope.spawn(move || one.run())));
        runs.map(|(name, run)| {
            let panicked = |_| bail!("the thread that ran it panicked");
            (format!("fuzz {name}"), run.join().unwrap_or_else(panicked))
        })
        .into()
    })
}

/// A fuzz target.
#[derive(Clone, Copy)]
struct Target {
    name: &'static str,
    /// Its corpus is hexadecimal text, and not the input itself.
    is_hex: bool,
}

const TARGETS: [Target; 5] = [
    Target::new("frames", true),
    Target::new("bgp", true),
    Target::new("bfd", true),
    Target::new("manifests", false),
    Target::new("reviews", false),
];

fn build() -> Result<()> {
    tools::ensure_packages(&["g++"], "building libFuzzer")?;
    let mut cargo = tools::cargo();
    cargo
        .args(["build", "--quiet", "--locked", "--target", &host()])
        .arg("--manifest-path")
        .arg(crate_folder().join("Cargo.toml"))
        .arg("--target-dir")
        .arg(folder())
        // The sanitizer's and the coverage's flags are not stable; the compiler is.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"));
    tools::run(&mut cargo)
}

impl Target {
    const fn new(name: &'static str, is_hex: bool) -> Self {
        Self { name, is_hex }
    }

    fn run(&self) -> Result<()> {
        let (corpus, found) = (folder().join("run").join(self.name), folder().join("found"));
        if corpus.exists() {
            fs::remove_dir_all(&corpus)
                .with_context(|| format!("failed to empty {}", corpus.display()))?;
        }
        for folder in [&corpus, &found] {
            fs::create_dir_all(folder)
                .with_context(|| format!("failed to make {}", folder.display()))?;
        }
        self.plant(&corpus)?;
        let program = folder().join(host()).join("debug").join(self.name);
        let output = Command::new(program)
            .arg(format!("-max_total_time={SECONDS}"))
            .args(["-seed=1", "-timeout=10", "-rss_limit_mb=2048"])
            .arg(format!(
                "-artifact_prefix={}/{}-",
                found.display(),
                self.name
            ))
            .arg(&corpus)
            .stdin(Stdio::null())
            .output()
            .context("failed to start it")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let end: Vec<&str> = said.lines().rev().take(LINES_SHOWN).collect();
        let end: Vec<&str> = end.into_iter().rev().collect();
        ensure!(output.status.success(), "{}", end.join("\n"));
        ensure!(
            said.contains("DONE"),
            "it did not come to its end: {}",
            end.join("\n")
        );
        Ok(())
    }

    /// The committed corpus as the target takes it.
    fn plant(&self, corpus: &Path) -> Result<()> {
        let committed = crate_folder().join(self.name);
        let entries = fs::read_dir(&committed)
            .with_context(|| format!("failed to list {}", committed.display()))?;
        for entry in entries {
            let file = entry?.path();
            let name = file.file_name().context("a file has a name")?;
            let mut bytes =
                fs::read(&file).with_context(|| format!("failed to read {}", file.display()))?;
            if self.is_hex {
                bytes = unhex(&bytes)
                    .with_context(|| format!("{}: not hexadecimal", file.display()))?;
            }
            fs::write(corpus.join(name), bytes).context("failed to write the corpus")?;
        }
        Ok(())
    }
}

fn unhex(text: &[u8]) -> Result<Vec<u8>> {
    let digits = text.iter().filter(|byte| !byte.is_ascii_whitespace());
    let digits = digits.map(|byte| char::from(*byte).to_digit(16));
    let digits: Option<Vec<u32>> = digits.collect();
    let digits = digits.context("a letter that is no digit")?;
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Ok((high << 4 | low) as u8),
        _ => bail!("half a byte"),
    });
    pairs.collect()
}

fn crate_folder() -> PathBuf {
    tools::root().join("tests/model/fuzz")
}

fn folder() -> PathBuf {
    target().join("fuzz")
}

fn host() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// As `cargo fuzz` builds, with overflows and debug assertions checked.
const FLAGS: [&str; 9] = [
    "-Zsanitizer=address",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "--cfg=fuzzing",
];
/// Enough for the corpora and some thousand inputs more of each; all suites together take the better part of an hour.
const SECONDS: u32 = 8;
const LINES_SHOWN: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_corpus_in_hexadecimal_text_is_read_over_line_ends() {
        assert_eq!(unhex(b"00ff\n1A\n").unwrap(), [0, 0xff, 0x1a]);
        assert!(unhex(b"0").is_err());
        assert!(unhex(b"zz").is_err());
    }

    #[test]
    fn every_target_of_the_crate_is_run() {
        let text = fs::read_to_string(crate_folder().join("Cargo.toml")).unwrap();
        let named = text.matches("[[bin]]").count();
        assert_eq!(named, TARGETS.len());
        for one in TARGETS {
            assert!(text.contains(&format!("fuzz_targets/{}.rs", one.name)));
            assert!(crate_folder().join(one.name).is_dir(), "{}", one.name);
        }
    }
}
