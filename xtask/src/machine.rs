//! An emulated machine with a kernel of Debian's: fetch the kernel, pack what is to run there, boot, and read the console.
//!
//! Debian's kernel packages are taken apart under `target/`, never installed. A machine is a kernel and an initial file system;
//! it runs a script, prints, and ends. Software emulation does, so nothing about the host matters; timings there mean nothing,
//! verdicts do. What is run, and what its words mean, is up to the caller.

use crate::apt::Archive;
use crate::tools::{self, output, run, say, target};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A kernel to boot.
#[derive(Debug)]
pub struct Kernel {
    /// What it is called in output.
    pub name: &'static str,
    /// The suite that carries it.
    pub suite: &'static str,
    /// Whether a mirror without it is a failure.
    pub is_required: bool,
}

/// Debian 11's: the oldest kernel that is supported.
pub const BULLSEYE: Kernel = Kernel {
    name: "5.10",
    suite: "bullseye",
    is_required: false,
};

/// Debian 12's: the last without TCX.
pub const BOOKWORM: Kernel = Kernel {
    name: "6.1",
    suite: "bookworm",
    is_required: true,
};

/// Debian 13's.
pub const TRIXIE: Kernel = Kernel {
    name: "6.12",
    suite: "trixie",
    is_required: true,
};

/// What a machine has besides its kernel and the small tools of busybox, and what it does.
#[derive(Debug)]
pub struct Guest {
    /// Names the folder it is packed in.
    pub name: &'static str,
    /// Programs with the libraries that they need: where from, and where to.
    pub programs: Vec<(PathBuf, String)>,
    /// Other files: where from, and where to.
    pub files: Vec<(PathBuf, String)>,
    /// Modules to insert, each after those that it needs.
    pub modules: &'static [&'static str],
    /// Shell commands, once the modules are in.
    pub script: String,
}

/// What a machine said.
#[derive(Debug)]
pub struct Console {
    /// Its lines.
    pub lines: Vec<String>,
    /// Whether it ended by itself.
    pub is_over: bool,
}

/// Sees to it that this machine can emulate one.
///
/// # Errors
/// When it is of another kind, or a package is missing and cannot be installed.
pub fn prepare() -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("the kernels of this test are for x86-64 only");
    }
    let packages = [
        "qemu-system-x86",
        "busybox-static",
        "cpio",
        "xz-utils",
        "iproute2",
    ];
    tools::ensure_packages(&packages, "booting other kernels")
}

/// Where a program of this machine is.
///
/// # Errors
/// When it is not in the path.
pub fn program(name: &str) -> Result<PathBuf> {
    let found = output(Command::new("which").arg(name))?;
    Ok(PathBuf::from(found.trim()))
}

/// Does something for each of several machines, as many at a time as there are processors, since a machine has one; what came of each in
/// their order.
pub fn for_each<M: Sync, R: Send>(machines: &[M], run: impl Fn(&M) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = || {
        let turns = std::iter::from_fn(|| {
            let at = next.fetch_add(1, Ordering::Relaxed);
            machines.get(at).map(|machine| (at, run(machine)))
        });
        turns.collect::<Vec<_>>()
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mut results: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let results = workers.into_iter().map(|worker| match worker.join() {
            Ok(results) => results,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        results.flatten().collect()
    });
    results.sort_unstable_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

impl Kernel {
    /// Boots it with this guest, fetching it first if need be. `None`: the mirror does not have it, and it may be missing.
    ///
    /// # Errors
    /// When it cannot be had, packed or started.
    pub fn boot(&self, guest: &Guest) -> Result<Option<Console>> {
        let package = match self.fetch(guest) {
            Ok(package) => package,
            Err(why) if self.is_required => return Err(why),
            Err(why) => {
                say(&format!("kernel {} is not tested: {why:#}", self.name));
                return Ok(None);
            }
        };
        let image = find(&package, "vmlinuz-*")?;
        let disk = self.initial_files(&package, guest)?;
        say(&format!(
            "booting {} (emulated; a minute or two)",
            image.display()
        ));
        let mut machine = Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg", "-cpu", "max", "-m", "1024", "-smp", "1"])
            .args(["-nographic", "-no-reboot", "-net", "none", "-append"])
            // Of the kernel only its end: whatever else it says would stand in the middle of the lines of a suite.
            .arg("console=ttyS0 panic=-1 loglevel=2")
            .arg("-kernel")
            .arg(image)
            .arg("-initrd")
            .arg(disk)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start qemu-system-x86_64")?;
        let console = machine.stdout.take().context("the console is piped")?;
        let reader = thread::spawn(move || read(console));
        let is_over = wait(&mut machine)?;
        let lines = reader.join().unwrap_or_default();
        Ok(Some(Console { lines, is_over }))
    }

    /// The folder with the kernel's package.
    fn fetch(&self, guest: &Guest) -> Result<PathBuf> {
        let folder = self.folder().join("package");
        let is_there = |name: &str| find(&folder, name).is_ok();
        let module = |name: &&str| is_there(&format!("{name}.ko*"));
        if is_there("vmlinuz-*") && guest.modules.iter().all(module) {
            return Ok(folder);
        }
        say(&format!("fetching Debian's kernel {} (once)", self.name));
        let archive = Archive::open(self.suite, &[self.suite])?;
        let package = archive.dependency("linux-image-cloud-amd64", "linux-image-")?;
        archive.unpack(&package, &folder)?;
        Ok(folder)
    }

    fn folder(&self) -> PathBuf {
        target().join("vm").join(self.suite)
    }

    /// Everything that the machine needs, in one archive.
    fn initial_files(&self, package: &Path, guest: &Guest) -> Result<PathBuf> {
        let folder = self.folder().join(guest.name);
        let _ = fs::remove_dir_all(&folder);
        for part in ["proc", "sys", "dev", "run", "tmp", "bin"] {
            fs::create_dir_all(folder.join(part))
                .with_context(|| format!("failed to make {part}"))?;
        }
        place(&folder, Path::new("/bin/busybox"), "bin/busybox")?;
        for (from, to) in guest.programs.iter().chain(&guest.files) {
            place(&folder, from, to)?;
        }
        for library in libraries(&guest.programs)? {
            let to = library.to_string_lossy().trim_start_matches('/').to_owned();
            place(&folder, &library, &to)?;
        }
        for module in guest.modules {
            let file = find(package, &format!("{module}.ko*"))?;
            unpacked(&file, &folder.join(format!("{module}.ko")))?;
        }
        let init = folder.join("init");
        fs::write(&init, guest.init()).context("failed to write init")?;
        fs::set_permissions(&init, fs::Permissions::from_mode(0o755))
            .context("failed to set a mode")?;
        let archive = self.folder().join(format!("{}.cpio", guest.name));
        let pack = format!("find . | cpio --quiet -o -H newc > {}", archive.display());
        run(Command::new("sh").args(["-c", &pack]).current_dir(&folder))?;
        Ok(archive)
    }
}

impl Guest {
    fn init(&self) -> String {
        let insert: String = self
            .modules
            .iter()
            .map(|module| format!("insmod /{module}.ko\n"))
            .collect();
        format!(
            "#!/bin/busybox sh\n\
             /bin/busybox --install -s /bin\n\
             mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev\n\
             mount -t tmpfs run /run; mount -t tmpfs tmp /tmp\n\
             echo {RELEASE}$(uname -r)\n\
             {insert}\
             ulimit -l unlimited\n\
             {}\n\
             poweroff -f\n",
            self.script
        )
    }
}

impl Console {
    /// The kernel's release as the machine itself said it.
    #[must_use]
    pub fn release(&self) -> &str {
        // The firmware leaves control characters before the first line of the machine's own.
        let said = self.lines.iter().find_map(|line| line.split_once(RELEASE));
        said.map_or("?", |(_, release)| release.trim())
    }

    /// Whether one of the lines is this word alone.
    #[must_use]
    pub fn has(&self, word: &str) -> bool {
        self.lines.iter().any(|line| line.trim() == word)
    }

    /// Why it is not as it should be, with the end of what it said.
    #[must_use]
    pub fn failure(&self) -> anyhow::Error {
        let tail = self.lines.len().saturating_sub(LINES_SHOWN);
        anyhow::anyhow!(
            "{}; the console ended with:\n{}",
            if self.is_over {
                "the suite failed"
            } else {
                "no end within the time"
            },
            self.lines[tail..].join("\n")
        )
    }
}

/// One byte that is no text must not end the reading: the machine would hang on a full pipe.
fn read(console: impl std::io::Read) -> Vec<String> {
    let lines = BufReader::new(console).split(b'\n');
    lines
        .map_while(std::result::Result::ok)
        .map(|line| String::from_utf8_lossy(&line).trim_end().to_owned())
        .collect()
}

fn find(folder: &Path, name: &str) -> Result<PathBuf> {
    let listed = output(
        Command::new("find")
            .arg(folder)
            .args(["-name", name, "-type", "f"]),
    )?;
    let first = listed.lines().next();
    first
        .map(PathBuf::from)
        .with_context(|| format!("no {name} in {}", folder.display()))
}

/// Waits for the machine's end. `false`: it was ended here.
fn wait(machine: &mut Child) -> Result<bool> {
    let begun = Instant::now();
    while begun.elapsed() < BOOT_TIME_MAX {
        if machine
            .try_wait()
            .context("failed to wait for qemu")?
            .is_some()
        {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(200));
    }
    machine.kill().context("failed to end qemu")?;
    machine.wait().context("failed to wait for qemu")?;
    Ok(false)
}

fn libraries(programs: &[(PathBuf, String)]) -> Result<BTreeSet<PathBuf>> {
    let mut libraries = BTreeSet::new();
    for (program, _) in programs {
        let listed = output(Command::new("ldd").arg(program))?;
        let paths = listed
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
            .map(|word| PathBuf::from(word.trim_end_matches(':')));
        libraries.extend(paths);
    }
    Ok(libraries)
}

fn place(folder: &Path, from: &Path, to: &str) -> Result<()> {
    let to = folder.join(to);
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)
            .with_context(|| format!("failed to make {}", parent.display()))?;
    }
    fs::copy(from, &to).with_context(|| format!("failed to copy {}", from.display()))?;
    Ok(())
}

/// A module as the small `insmod` takes it: not compressed.
fn unpacked(module: &Path, to: &Path) -> Result<()> {
    if module
        .extension()
        .is_some_and(|extension| extension == "ko")
    {
        fs::copy(module, to).with_context(|| format!("failed to copy {}", module.display()))?;
        return Ok(());
    }
    let file = fs::File::create(to).with_context(|| format!("failed to write {}", to.display()))?;
    run(Command::new("xz").args(["-dc"]).arg(module).stdout(file))
}

const RELEASE: &str = "heliograph-kernel: ";
const BOOT_TIME_MAX: Duration = Duration::from_secs(1_200);
const LINES_SHOWN: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_machine_has_one_turn_and_results_keep_their_order() {
        let machines: Vec<u64> = (0..20).collect();
        let results = for_each(&machines, |machine| {
            // The first are done last.
            thread::sleep(Duration::from_millis(20 - machine));
            machine * 2
        });
        let expected: Vec<u64> = machines.iter().map(|machine| machine * 2).collect();
        assert_eq!(results, expected);
        assert_eq!(for_each(&[0_u8; 0], |_| ()), []);
    }
}
