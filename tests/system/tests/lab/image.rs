//! The image, as a container runtime would use it: documents followed, layers unpacked into a root of their own, the program started
//! in it.
//!
//! The layout is made from a static program that is not optimised; `HELIOGRAPH_IMAGE` names one that `cargo xtask image` made. Where
//! Rust's library for the target cannot be had, which the output says, it is the binary that the other tests run: that one is not static, and
//! gets the libraries that it is linked with beside it.

use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::time::Duration;
use system_tests::lab::{Turn, turn, within};
use xtask::image::{self, Architecture, Layout, Program, Source};
use xtask::lab::Options;
use xtask::lab::net::{Netns, output, run};
use xtask::tools;

#[test]
fn the_image_starts_and_says_what_it_is() {
    let image = Image::unpacked();
    let version = output(&mut image.speaker(&["--version"])).unwrap();
    let labels = &image.config["config"]["Labels"];
    let expected = labels["org.opencontainers.image.version"].as_str().unwrap();
    assert!(version.contains(expected), "{version}");
    if !has_loader(&image.root()) {
        let commit = labels["org.opencontainers.image.revision"]
            .as_str()
            .unwrap();
        assert!(version.contains(commit), "{version}");
    }
    let help = output(&mut image.speaker(&["--help"])).unwrap();
    for command in ["run", "controller", "operator", "ctl", "cleanup"] {
        assert!(help.contains(command), "{help}");
    }
    let licence = fs::read_to_string(image.root().join("licenses/LICENSE")).unwrap();
    assert!(licence.contains("Apache License"));
}

/// With what a pod has: the node's network, a bpf file system, a run directory and the objects.
#[test]
fn a_speaker_from_the_image_answers_for_addresses() {
    let image = Image::unpacked();
    let mut node = Node::started(&image);
    let answers = within(Duration::from_secs(60), || {
        if let Some(ended) = node.speaker.try_wait().unwrap() {
            panic!("it ended with {ended}:\n{}", node.log());
        }
        let mut ask = image.speaker(&["ctl", "--node", "n1", "status", "-o", "json"]);
        let said = output(&mut ask).map_err(|why| why.to_string())?;
        let status: Value = serde_json::from_str(&said).unwrap();
        match status["vips"].as_u64() {
            Some(vips) if vips > 0 => Ok(()),
            _none => Err(said),
        }
    });
    answers.unwrap_or_else(|why| panic!("it answers for nothing: {why}\n{}", node.log()));
}

/// Another program reads the same documents: a registry will.
#[test]
fn skopeo_follows_the_layout_and_its_archive() {
    tools::ensure_packages(&["skopeo"], "reading images").unwrap();
    let image = Image::unpacked();
    let layout = format!("oci:{}", image.layout.display());
    let seen = output(Command::new("skopeo").args(["inspect", &layout])).unwrap();
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen["Labels"], image.config["config"]["Labels"]);
    assert_eq!(seen["Os"], "linux");
    let archive = format!("oci-archive:{}", image.archive.display());
    let copied = image.home.path().join("copied");
    let copy = ["copy", "--quiet", "--all", &archive];
    let to = format!("oci:{}", copied.display());
    run(Command::new("skopeo").args(copy).arg(&to)).unwrap();
    let top = read(&copied.join("index.json"));
    let digest = &read(&image.layout.join("index.json"))["manifests"][0]["digest"];
    assert_eq!(top["manifests"][0]["digest"], *digest);
}

/// A layout, and what its layers become.
struct Image {
    home: tempfile::TempDir,
    layout: PathBuf,
    archive: PathBuf,
    config: Value,
    _turn: Turn,
}

impl Image {
    fn unpacked() -> Self {
        let turn = turn();
        let home = tempfile::tempdir().unwrap();
        let (layout, archive) = match std::env::var_os("HELIOGRAPH_IMAGE") {
            Some(made) => made_before(Path::new(&made)),
            None => packed(),
        };
        let root = home.path().join("root");
        fs::create_dir(&root).unwrap();
        let index = followed(&layout, &read(&layout.join("index.json"))["manifests"][0]);
        let machine = match Architecture::own().unwrap() {
            Architecture::X86_64 => "amd64",
            Architecture::Aarch64 => "arm64",
        };
        let manifest = index["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["platform"]["architecture"] == machine)
            .expect("there is an image for this machine");
        let manifest = followed(&layout, manifest);
        for layer in manifest["layers"].as_array().unwrap() {
            let mut tar = Command::new("tar");
            tar.arg("-xzf")
                .arg(blob(&layout, layer))
                .arg("-C")
                .arg(&root);
            run(&mut tar).unwrap();
        }
        borrow_libraries(&root);
        Self {
            config: followed(&layout, &manifest["config"]),
            home,
            layout,
            archive,
            _turn: turn,
        }
    }

    fn root(&self) -> PathBuf {
        self.home.path().join("root")
    }

    /// The image's entry point with these arguments, nothing but the image around it.
    fn speaker(&self, args: &[&str]) -> Command {
        let mut chroot = Command::new("chroot");
        let entry = self.config["config"]["Entrypoint"][0].as_str().unwrap();
        chroot.env_clear().env("PATH", PATH);
        chroot.arg(self.root()).arg(entry).args(args);
        chroot
    }
}

fn made_before(layout: &Path) -> (PathBuf, PathBuf) {
    let beside = fs::read_dir(layout.parent().unwrap()).unwrap();
    let archive = beside
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().ends_with(".oci.tar"))
        .expect("an archive is beside the layout");
    (layout.to_owned(), archive)
}

/// Packed once: compressing it takes longer than the rest.
fn packed() -> (PathBuf, PathBuf) {
    static PACKED: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    let pack = || {
        let out = Options::sample().home.join("image");
        fs::create_dir_all(&out).unwrap();
        let source = Source {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: "tested".to_owned(),
            moment: 1_700_000_000,
        };
        let own = Architecture::own().unwrap();
        let program = match image::ensure(own) {
            Ok(()) => image::quick(own, &source).unwrap(),
            Err(why) => borrowed(own, &out, &why),
        };
        let licences = image::own_licences().unwrap();
        let layout = Layout::of("example/heliograph", &source, vec![program], &licences).unwrap();
        image::put(&layout, &source, &out).unwrap()
    };
    PACKED.get_or_init(pack).clone()
}

/// The binary of the other tests, without what debuggers read.
fn borrowed(architecture: Architecture, out: &Path, why: &dyn std::fmt::Display) -> Program {
    tools::say(&format!(
        "the image is tested with a program that is not static: {why:#}"
    ));
    let bare = out.join("speaker");
    let mut strip = Command::new("strip");
    strip.arg("--strip-debug").arg("-o").arg(&bare);
    run(strip.arg(Options::sample().speaker)).unwrap();
    Program {
        architecture,
        bytes: fs::read(bare).unwrap(),
    }
}

/// What `ldd` says that the program asks for; a static one asks for nothing.
fn borrow_libraries(root: &Path) {
    let asked = Command::new("ldd")
        .arg(root.join("speaker"))
        .output()
        .unwrap();
    let asked = String::from_utf8(asked.stdout).unwrap();
    for path in asked
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        let to = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(path, to).unwrap();
    }
}

/// Whether the program needed more than the image.
fn has_loader(root: &Path) -> bool {
    ["lib", "lib64"]
        .iter()
        .any(|folder| root.join(folder).exists())
}

fn followed(layout: &Path, descriptor: &Value) -> Value {
    read(&blob(layout, descriptor))
}

fn blob(layout: &Path, descriptor: &Value) -> PathBuf {
    let digest = descriptor["digest"].as_str().unwrap();
    layout.join("blobs").join(digest.replace(':', "/"))
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A node with one link, on which a speaker of the image runs.
struct Node {
    netns: Netns,
    speaker: Child,
    log: PathBuf,
}

impl Node {
    fn started(image: &Image) -> Self {
        let netns = Netns::named(format!("hgt{}-image", std::process::id()));
        netns.create().unwrap();
        let wired = "link set lo up\nlink add eth0 type veth peer name peer0\nlink set peer0 up\n\
            addr add 192.0.2.11/24 dev eth0\naddr add 2001:db8::11/64 dev eth0 nodad\nlink set eth0 up\n";
        netns.ip(wired).unwrap();
        let root = image.root();
        for folder in ["proc", "sys", "run", "manifests"] {
            fs::create_dir(root.join(folder)).unwrap();
        }
        for sample in fs::read_dir(tools::root().join("deploy/samples")).unwrap() {
            let sample = sample.unwrap().path();
            fs::copy(
                &sample,
                root.join("manifests").join(sample.file_name().unwrap()),
            )
            .unwrap();
        }
        let log = image.home.path().join("log");
        let mut shell = netns.command("unshare");
        shell.args(["--mount", "sh", "-c", START, "sh"]).arg(&root);
        shell.env_clear().env("PATH", PATH);
        shell.stdout(File::create(&log).unwrap());
        shell.stderr(File::options().append(true).open(&log).unwrap());
        Self {
            speaker: shell.spawn().unwrap(),
            netns,
            log,
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.speaker.kill();
        let _ = self.speaker.wait();
        let _ = self.netns.delete();
    }
}

/// What a runtime mounts into a pod of the speaker. The mounts go with the process.
const START: &str = "set -e
    mount -t proc proc $1/proc
    mount -t sysfs sysfs $1/sys
    mount -t bpf bpf $1/sys/fs/bpf
    exec chroot $1 /speaker run --manifests /manifests --node-name n1 --insecure-gossip";
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
