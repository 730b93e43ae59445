//! Against a real directory and the kernel's own events.

use super::*;
use speaker_core::World;
use speaker_core::allocator::Assignment;
use speaker_core::service::ServiceId;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use tempfile::TempDir;

/// A directory that is followed, and the world that comes of it.
pub(super) struct Bench {
    dir: Arc<TempDir>,
    events: mpsc::Receiver<Event>,
    allocations: Allocations,
    pub(super) world: World,
    allocates: bool,
    /// Objects that were gone, however briefly.
    gone: Vec<String>,
}

impl Bench {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("m")).unwrap();
        for (name, text) in files {
            fs::write(dir.path().join("m").join(name), text).unwrap();
        }
        let mut bench = Self::follow(Arc::new(dir));
        bench.until("synced", |bench| bench.world.is_synced());
        bench
    }

    pub(super) fn follow(dir: Arc<TempDir>) -> Self {
        let (events, allocations) = spawn(&dir.path().join("m"), "metallb-system").unwrap();
        Self {
            dir,
            events,
            allocations,
            world: World::default(),
            allocates: false,
            gone: Vec::new(),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("m").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(super) fn dir(&self) -> Arc<TempDir> {
        Arc::clone(&self.dir)
    }

    /// Takes events until the condition holds.
    #[track_caller]
    pub(super) fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            while !holds(self) {
                let event = tokio::time::timeout(Duration::from_secs(10), self.events.recv()).await;
                let Ok(Some(event)) = event else {
                    panic!("not {what}: {:?}", self.world)
                };
                self.take(event);
            }
        });
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Put(object) => drop(self.world.put(object)),
            Event::Gone(key) => {
                self.gone.push(key.to_string());
                self.world.gone(&key);
            }
            Event::Synced(kind) => drop(self.world.synced(kind)),
            Event::Assignments(assignments) => self.world.assignments = Some(assignments),
            Event::Allocates(allocates) => self.allocates = allocates,
            Event::Note(_) => {}
        }
    }

    /// Waits until the namespaces have these names.
    #[track_caller]
    fn until_namespaces(&mut self, names: &[&str]) {
        let what = format!("namespaces {names:?}");
        self.until(&what, |bench| bench.world.namespaces.keys().eq(names));
    }

    /// Whether something is wrong with what goes by this name.
    fn has_problem(&self, name: &str) -> bool {
        self.world.problems.keys().any(|key| key.name == name)
    }
}

pub(super) fn namespace(name: &str) -> String {
    format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
}

fn assignments(ip: &str) -> Assignments {
    let id = ServiceId {
        namespace: "default".into(),
        name: "web".into(),
    };
    let ips = vec![ip.parse().unwrap()];
    BTreeMap::from([(
        id,
        Assignment {
            ips,
            pool: "p".into(),
            sharing: None,
        },
    )])
}

#[test]
fn what_is_there_is_read_before_anything_is_synced() {
    let bench = Bench::new(&[
        ("a.yaml", &namespace("a")),
        (
            "b.json",
            r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"b"}}"#,
        ),
        ("c.txt", "x"),
        (".d.yaml", "x"),
    ]);
    assert!(bench.world.namespaces.keys().eq(["a", "b"]));
    assert_eq!(bench.world.assignments, Some(Assignments::new().into()));
    assert!(bench.world.problems.is_empty());
}

#[test]
fn files_come_change_and_go() {
    let mut bench = Bench::new(&[]);
    bench.write("a.yaml", &namespace("a"));
    bench.until_namespaces(&["a"]);
    bench.write("a.yaml", &namespace("b"));
    bench.until_namespaces(&["b"]);
    fs::remove_file(bench.path("a.yaml")).unwrap();
    bench.until_namespaces(&[]);
}

#[test]
fn a_file_that_is_replaced_whole_never_loses_what_stays_in_it() {
    let mut bench = Bench::new(&[("a.yaml", &namespace("a"))]);
    bench.write(".a.yaml.swp", &(namespace("a") + &namespace("b")));
    fs::rename(bench.path(".a.yaml.swp"), bench.path("a.yaml")).unwrap();
    bench.until_namespaces(&["a", "b"]);
    fs::rename(bench.path("a.yaml"), bench.path("z.yaml")).unwrap();
    bench.write("b.yaml", &namespace("c"));
    bench.until_namespaces(&["a", "b", "c"]);
    assert!(
        !bench.gone.iter().any(|key| key.starts_with("Namespace")),
        "{:?}",
        bench.gone
    );
}

#[test]
fn a_file_that_is_being_written_is_not_read_half() {
    let mut bench = Bench::new(&[("a.yaml", &namespace("a"))]);
    let mut file = fs::File::create(bench.path("a.yaml")).unwrap();
    bench.write("b.yaml", &namespace("b"));
    bench.until_namespaces(&["a", "b"]);
    file.write_all((namespace("a") + &namespace("c")).as_bytes())
        .unwrap();
    drop(file);
    bench.until_namespaces(&["a", "b", "c"]);
    assert!(
        !bench.gone.iter().any(|key| key.starts_with("Namespace")),
        "{:?}",
        bench.gone
    );
}

#[test]
fn a_broken_edit_keeps_what_was_good() {
    let mut bench = Bench::new(&[("a.yaml", &namespace("a"))]);
    bench.write("a.yaml", "kind: [");
    bench.until("a problem", |bench| bench.has_problem("a.yaml#1"));
    assert!(bench.world.namespaces.contains_key("a"));
    bench.write("a.yaml", &namespace("a"));
    bench.until("no problem", |bench| bench.world.problems.is_empty());
    bench.until_namespaces(&["a"]);
}

#[test]
fn an_object_in_two_files_counts_once_until_one_goes() {
    let mut bench = Bench::new(&[("a.yaml", &namespace("a")), ("b.yaml", &namespace("a"))]);
    bench.until("a problem", |bench| bench.has_problem("a"));
    fs::remove_file(bench.path("a.yaml")).unwrap();
    bench.until("no problem", |bench| bench.world.problems.is_empty());
    bench.until_namespaces(&["a"]);
}

#[test]
fn a_configmap_is_swapped_as_a_whole() {
    let mut bench = Bench::new(&[]);
    let version = |bench: &Bench, name: &str, namespace_name: &str| {
        fs::create_dir(bench.path(name)).unwrap();
        fs::write(bench.path(name).join("a.yaml"), namespace(namespace_name)).unwrap();
    };
    version(&bench, "..1", "one");
    symlink("..1", bench.path("..data")).unwrap();
    symlink("..data/a.yaml", bench.path("a.yaml")).unwrap();
    bench.until_namespaces(&["one"]);
    version(&bench, "..2", "two");
    symlink("..2", bench.path("..data_tmp")).unwrap();
    fs::rename(bench.path("..data_tmp"), bench.path("..data")).unwrap();
    bench.until_namespaces(&["two"]);
}

#[test]
fn a_file_behind_a_link_is_followed() {
    let mut bench = Bench::new(&[]);
    let target = bench.dir.path().join("elsewhere");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("x"), namespace("one")).unwrap();
    symlink(target.join("x"), bench.path("a.yaml")).unwrap();
    bench.until_namespaces(&["one"]);
    fs::write(target.join("x"), namespace("two")).unwrap();
    bench.until_namespaces(&["two"]);
}

#[test]
fn directories_within_count_too() {
    let mut bench = Bench::new(&[]);
    fs::create_dir_all(bench.path("x/y")).unwrap();
    bench.write("x/y/a.yaml", &namespace("a"));
    bench.until_namespaces(&["a"]);
    bench.write("x/y/b.yaml", &namespace("b"));
    bench.until_namespaces(&["a", "b"]);
    fs::remove_dir_all(bench.path("x")).unwrap();
    bench.until_namespaces(&[]);
}

#[test]
fn a_directory_that_is_gone_says_nothing_until_it_is_back() {
    let mut bench = Bench::new(&[("a.yaml", &namespace("a"))]);
    let root = bench.path("");
    fs::rename(&root, bench.dir.path().join("away")).unwrap();
    bench.until("a problem", |bench| !bench.world.problems.is_empty());
    assert!(bench.world.namespaces.contains_key("a"));
    fs::create_dir(&root).unwrap();
    bench.write("b.yaml", &namespace("b"));
    bench.until_namespaces(&["b"]);
    bench.until("no problem", |bench| bench.world.problems.is_empty());
    bench.write("c.yaml", &namespace("c"));
    bench.until_namespaces(&["b", "c"]);
}

#[test]
fn a_directory_that_does_not_exist_is_an_error_at_the_start() {
    let error = spawn(Path::new("/no/such/directory"), "metallb-system").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("/no/such/directory is not a directory"),
        "{error:#}"
    );
}

#[test]
fn one_follower_allocates_and_the_other_reads() {
    let mut first = Bench::new(&[]);
    first.until("the writer", |bench| bench.allocates);
    let mut second = Bench::follow(Arc::clone(&first.dir));
    second.until("synced", |bench| bench.world.is_synced());
    first.allocations.write(assignments("192.0.2.1"));
    first.until("its own", |bench| {
        bench.world.assignments == Some(assignments("192.0.2.1").into())
    });
    second.until("the other's", |bench| {
        bench.world.assignments == Some(assignments("192.0.2.1").into())
    });
    assert!(!second.allocates);
}

#[test]
fn addresses_that_cannot_be_read_stay_in_force_and_are_not_written_over() {
    let mut bench = Bench::new(&[("allocations.yaml", &text::render(&assignments("192.0.2.1")))]);
    bench.until("the writer", |bench| bench.allocates);
    bench.write("allocations.yaml", "version: [");
    bench.until("a problem", |bench| bench.has_problem("allocations.yaml"));
    assert_eq!(
        bench.world.assignments,
        Some(assignments("192.0.2.1").into())
    );
    bench.allocations.write(assignments("192.0.2.2"));
    bench.until("a refusal", |bench| bench.has_problem(WRITER));
    assert_eq!(
        fs::read_to_string(bench.path("allocations.yaml")).unwrap(),
        "version: ["
    );
}

#[test]
fn nothing_is_synced_while_addresses_cannot_be_read() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("m")).unwrap();
    fs::write(dir.path().join("m/allocations.yaml"), "version: [").unwrap();
    let mut bench = Bench::follow(Arc::new(dir));
    bench.until("a problem", |bench| bench.has_problem("allocations.yaml"));
    assert!(bench.world.synced.is_empty());
    bench.write("allocations.yaml", &text::render(&assignments("192.0.2.1")));
    bench.until("synced", |bench| bench.world.is_synced());
    assert_eq!(
        bench.world.assignments,
        Some(assignments("192.0.2.1").into())
    );
}

#[test]
fn addresses_that_someone_removed_are_put_back() {
    let mut bench = Bench::new(&[("allocations.yaml", &text::render(&assignments("192.0.2.1")))]);
    bench.until("the writer", |bench| bench.allocates);
    fs::remove_file(bench.path("allocations.yaml")).unwrap();
    let file = bench.path("allocations.yaml");
    for _ in 0..500 {
        if file.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not put back");
}

#[test]
fn a_file_that_is_too_large_is_named_and_the_others_are_read() {
    let mut bench = Bench::new(&[("a.yaml", &namespace("a"))]);
    let large = fs::File::create(bench.path("large.yaml")).unwrap();
    large.set_len((32 << 20) + 1).unwrap();
    drop(large);
    bench.write("b.yaml", &namespace("b"));
    bench.until("a problem", |bench| bench.has_problem("large.yaml"));
    bench.until_namespaces(&["a", "b"]);
    let problem = bench.world.problems.values().next().unwrap();
    assert_eq!(problem.to_string(), "large.yaml: is larger than 32 MiB");
}

#[test]
fn bytes_that_are_no_text_are_named_and_take_nothing_away() {
    let mut bench = Bench::new(&[("a.yaml", &namespace("a"))]);
    fs::write(bench.path("a.yaml"), b"kind: \xff").unwrap();
    bench.until("a problem", |bench| bench.has_problem("a.yaml"));
    let problem = bench.world.problems.values().next().unwrap();
    assert_eq!(problem.to_string(), "a.yaml: is not UTF-8 text: byte 6");
    bench.until_namespaces(&["a"]);
}

#[test]
fn directories_that_are_too_deep_are_named() {
    let bench = Bench::new(&[]);
    let deep = ["d"; 12].join("/");
    fs::create_dir_all(bench.path(&deep)).unwrap();
    let tree = Tree::walk(&bench.path(""));
    let fault = tree.faults.iter().next().unwrap();
    assert_eq!(fault.0, &["d"; 9].join("/"));
    assert!(fault.1.contains("limit of 8 levels"), "{fault:?}");
}

#[test]
fn a_link_that_leads_back_is_entered_once() {
    let mut bench = Bench::new(&[("a.yaml", &namespace("a"))]);
    symlink(bench.path(""), bench.path("again")).unwrap();
    bench.write("b.yaml", &namespace("b"));
    bench.until_namespaces(&["a", "b"]);
    assert!(
        bench.world.problems.is_empty(),
        "{:?}",
        bench.world.problems
    );
}
