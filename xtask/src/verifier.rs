//! Loads the object on older kernels and runs the table of frames there, in emulated machines.
//!
//! Debian's kernel packages are taken apart under `target/`, never installed. A machine is a kernel and an initial file system
//! with the kernel suite in it; it prints what the suite prints and ends. Software emulation does, so nothing about the host
//! matters; its timings mean nothing, its verdicts do.

use crate::apt::Archive;
use crate::ebpf::{self, Object};
use crate::tools::{self, output, run, say, target};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A kernel to test on.
struct Kernel {
    /// What it is called in output.
    name: &'static str,
    /// The suite that carries it.
    suite: &'static str,
    /// The tests that its test runs can do.
    filters: &'static [&'static str],
    /// Whether a mirror without it is a failure.
    is_required: bool,
}

/// The kernels beside the machine's own, which the kernel suite covers.
const KERNELS: [Kernel; 3] = [
    Kernel {
        name: "5.10",
        suite: "bullseye",
        // Test runs of XDP take a link from 5.14 on.
        filters: &["load::", "frames::every_case_holds_at_tc"],
        is_required: false,
    },
    Kernel {
        name: "6.1",
        suite: "bookworm",
        filters: &["load::", "frames::"],
        is_required: true,
    },
    Kernel {
        name: "6.12",
        suite: "trixie",
        filters: &["load::", "frames::"],
        is_required: true,
    },
];

/// Boots each kernel in turn: what each is called, and why it failed if it did. One that the mirror does not have and that may
/// be missing is only spoken of.
pub fn verify() -> Vec<(String, Result<()>)> {
    let (object, suite) = match prepare() {
        Ok(parts) => parts,
        Err(why) => return vec![("other kernels".to_owned(), Err(why))],
    };
    let mut results = Vec::new();
    for kernel in &KERNELS {
        let name = format!("kernel {}", kernel.name);
        match kernel.fetch() {
            Ok(files) => results.push((name, kernel.boot(&files, &object, &suite))),
            Err(why) if kernel.is_required => results.push((name, Err(why))),
            Err(why) => say(&format!("{name} is not tested: {why:#}")),
        }
    }
    results
}

fn prepare() -> Result<(PathBuf, PathBuf)> {
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
    tools::ensure_packages(&packages, "booting other kernels")?;
    Ok((ebpf::build(Object::Heliograph)?, suite_binary()?))
}

/// Where the parts of a kernel package are.
struct Files {
    image: PathBuf,
    veth: PathBuf,
}

impl Kernel {
    fn folder(&self) -> PathBuf {
        target().join("vm").join(self.suite)
    }

    fn fetch(&self) -> Result<Files> {
        let folder = self.folder().join("package");
        if let Ok(files) = Files::find(&folder) {
            return Ok(files);
        }
        say(&format!("fetching Debian's kernel {} (once)", self.name));
        let archive = Archive::open(self.suite, &[self.suite])?;
        let package = archive.dependency("linux-image-cloud-amd64", "linux-image-")?;
        archive.unpack(&package, &folder)?;
        Files::find(&folder)
    }

    fn boot(&self, files: &Files, object: &Path, suite: &Path) -> Result<()> {
        let disk = self.initial_files(files, object, suite)?;
        say(&format!(
            "booting {} (emulated; a minute or so)",
            files.image.display()
        ));
        let mut machine = Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg", "-cpu", "max", "-m", "1024", "-smp", "1"])
            .args(["-nographic", "-no-reboot", "-net", "none", "-append"])
            .arg("console=ttyS0 panic=-1 quiet")
            .arg("-kernel")
            .arg(&files.image)
            .arg("-initrd")
            .arg(disk)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start qemu-system-x86_64")?;
        let console = machine.stdout.take().context("the console is piped")?;
        let reader = thread::spawn(move || {
            let lines = BufReader::new(console).lines();
            lines.map_while(Result::ok).collect::<Vec<_>>()
        });
        let is_over = wait(&mut machine)?;
        let lines = reader.join().unwrap_or_default();
        // The firmware leaves control characters before the first line of the machine's own.
        let release = lines.iter().find_map(|line| line.split_once(RELEASE));
        let release = release.map_or("?", |(_, release)| release.trim());
        if is_over && lines.iter().any(|line| line.trim() == PASSED) {
            let result = lines.iter().find(|line| line.contains("test result"));
            let result = result.map_or("", |line| line.trim());
            say(&format!("kernel {release}: {result}"));
            // A machine that is seconds old has no deadline that ended ten minutes ago; this one's own kernel shows those.
            let left_out: BTreeSet<_> = lines
                .iter()
                .filter_map(|line| Some(line.split_once(LEFT_OUT)?.1.trim()))
                .collect();
            for case in left_out {
                say(&format!("kernel {release}: left out, too young: {case}"));
            }
            return Ok(());
        }
        let tail = lines.len().saturating_sub(LINES_SHOWN);
        bail!(
            "{}; the console ended with:\n{}",
            if is_over {
                "the suite failed"
            } else {
                "no end within the time"
            },
            lines[tail..].join("\n")
        )
    }

    /// Everything that the machine needs, in one archive.
    fn initial_files(&self, files: &Files, object: &Path, suite: &Path) -> Result<PathBuf> {
        let folder = self.folder().join("root");
        let _ = fs::remove_dir_all(&folder);
        for part in ["proc", "sys", "dev", "run", "tmp", "bin"] {
            fs::create_dir_all(folder.join(part))
                .with_context(|| format!("failed to make {part}"))?;
        }
        let ip = PathBuf::from(output(Command::new("which").arg("ip"))?.trim());
        place(&folder, Path::new("/bin/busybox"), "bin/busybox")?;
        place(&folder, &ip, "bin/ip")?;
        place(&folder, suite, "suite")?;
        place(&folder, object, "heliograph.o")?;
        for library in libraries(&[&ip, suite])? {
            let to = library.to_string_lossy().trim_start_matches('/').to_owned();
            place(&folder, &library, &to)?;
        }
        unpacked(&files.veth, &folder.join("veth.ko"))?;
        let init = folder.join("init");
        fs::write(&init, self.script()).context("failed to write init")?;
        fs::set_permissions(&init, fs::Permissions::from_mode(0o755))
            .context("failed to set a mode")?;
        let archive = self.folder().join("initial.cpio");
        let pack = format!("find . | cpio --quiet -o -H newc > {}", archive.display());
        run(Command::new("sh").args(["-c", &pack]).current_dir(&folder))?;
        Ok(archive)
    }

    fn script(&self) -> String {
        let filters = self.filters.join(" ");
        format!(
            "#!/bin/busybox sh\n\
             /bin/busybox --install -s /bin\n\
             mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev\n\
             mount -t tmpfs run /run; mount -t tmpfs tmp /tmp\n\
             echo {RELEASE}$(uname -r)\n\
             insmod /veth.ko\n\
             ulimit -l unlimited\n\
             HELIOGRAPH_EBPF_OBJECT=/heliograph.o RUST_BACKTRACE=0 /suite --nocapture --test-threads=1 {filters} && echo {PASSED}\n\
             poweroff -f\n"
        )
    }
}

impl Files {
    fn find(folder: &Path) -> Result<Self> {
        let find = |name: &str| -> Result<PathBuf> {
            let listed = output(
                Command::new("find")
                    .arg(folder)
                    .args(["-name", name, "-type", "f"]),
            )?;
            let first = listed.lines().next();
            first
                .map(PathBuf::from)
                .with_context(|| format!("no {name} in {}", folder.display()))
        };
        Ok(Self {
            image: find("vmlinuz-*")?,
            veth: find("veth.ko*")?,
        })
    }
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

/// The kernel suite as one program.
fn suite_binary() -> Result<PathBuf> {
    say("building the kernel suite");
    let mut build = tools::cargo();
    build.args(["test", "--quiet", "--no-run", "--package", "system-tests"]);
    build.args(["--test", "kernel", "--message-format", "json"]);
    let messages = output(&mut build)?;
    let programs = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| Some(message.get("executable")?.as_str()?.to_owned()));
    let last = programs.last();
    last.map(PathBuf::from).context("cargo named no program")
}

fn libraries(programs: &[&Path]) -> Result<BTreeSet<PathBuf>> {
    let mut libraries = BTreeSet::new();
    for program in programs {
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
const PASSED: &str = "heliograph-passed";
/// What the suite prints before the name of a case that this machine cannot have.
const LEFT_OUT: &str = "left out on a machine that was up for too short:";
const BOOT_TIME_MAX: Duration = Duration::from_secs(360);
const LINES_SHOWN: usize = 60;
