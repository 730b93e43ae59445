//! Which objects a change of files puts and takes.

use super::*;
use speaker_core::manifest;

/// A folder and what it told, as short texts.
#[derive(Default)]
struct Bench {
    folder: Folder,
}

impl Bench {
    /// What files with these texts lead to; `None`: the file is gone.
    fn take(&mut self, files: &[(&str, Option<&str>)]) -> Vec<String> {
        let found = files.iter().map(|(path, text)| {
            let content = match text {
                Some("?") => Content::Unreadable("cannot be opened".into()),
                Some(text) => Content::Read(manifest::read(path, text, "metallb-system")),
                None => Content::Absent,
            };
            ((*path).into(), content)
        });
        let change = self.folder.take(found.collect());
        let reread = change.reread.iter().map(|path| format!("reread {path}"));
        change.events.iter().map(short).chain(reread).collect()
    }
}

fn short(event: &Event) -> String {
    match event {
        Event::Put(Ok(object)) => format!("put {}", object.key()),
        Event::Put(Err(problem)) => format!("problem {problem}"),
        Event::Gone(key) => format!("gone {key}"),
        Event::Note(note) => format!("note {note}"),
        Event::Synced(_) | Event::Assignments(_) | Event::Allocates(_) => format!("{event:?}"),
    }
}

fn namespace(name: &str) -> String {
    format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
}

fn two(a: &str, b: &str) -> String {
    namespace(a) + &namespace(b)
}

#[test]
fn an_object_that_leaves_its_file_is_gone() {
    let mut bench = Bench::default();
    let both = two("a", "b");
    assert_eq!(
        bench.take(&[("f", Some(&both))]),
        ["put Namespace a", "put Namespace b"]
    );
    assert_eq!(
        bench.take(&[("f", Some(&namespace("b")))]),
        ["put Namespace b", "gone Namespace a"]
    );
    assert_eq!(bench.take(&[("f", None)]), ["gone Namespace b"]);
    assert_eq!(bench.folder, Folder::default(), "nothing is left behind");
}

#[test]
fn an_object_that_moves_between_files_is_never_gone() {
    let mut bench = Bench::default();
    let text = namespace("a");
    bench.take(&[("f", Some(&text))]);
    assert_eq!(
        bench.take(&[("f", None), ("g", Some(&text))]),
        ["put Namespace a"]
    );
}

#[test]
fn a_broken_document_takes_nothing_away() {
    let mut bench = Bench::default();
    bench.take(&[("f", Some(&two("a", "b")))]);
    let broken = namespace("a") + "---\nkind: [\n";
    let told = bench.take(&[("f", Some(&broken))]);
    assert_eq!(told[0], "put Namespace a");
    assert!(told[1].starts_with("problem f#2: "), "{told:?}");
    assert_eq!(told.len(), 2, "{told:?}");
    let told = bench.take(&[("f", Some(&namespace("a")))]);
    assert_eq!(told[0], "put Namespace a");
    assert_eq!(
        BTreeSet::from_iter(&told[1..]),
        BTreeSet::from([&"gone document f#2".into(), &"gone Namespace b".into()])
    );
}

#[test]
fn a_file_that_cannot_be_read_takes_nothing_away_until_it_is_removed() {
    let mut bench = Bench::default();
    bench.take(&[("f", Some(&namespace("a")))]);
    assert_eq!(
        bench.take(&[("f", Some("?"))]),
        ["problem f: cannot be opened"]
    );
    assert_eq!(
        bench.take(&[("f", Some("?"))]),
        ["problem f: cannot be opened"]
    );
    let told = bench.take(&[("f", None)]);
    assert_eq!(
        BTreeSet::from_iter(told),
        BTreeSet::from(["gone document f".into(), "gone Namespace a".into()])
    );
}

#[test]
fn what_stayed_in_force_does_not_hide_the_same_object_in_another_file() {
    let mut bench = Bench::default();
    bench.take(&[("f", Some(&namespace("a")))]);
    bench.take(&[("f", Some("kind: [\n"))]);
    assert_eq!(
        bench.take(&[("g", Some(&namespace("a")))]),
        ["put Namespace a"]
    );
    assert_eq!(
        bench.take(&[("f", None)]),
        ["reread g", "gone document f#1"]
            .map(String::from)
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
    );
}

#[test]
fn of_an_object_that_stands_twice_the_first_path_counts_and_both_are_named() {
    let mut bench = Bench::default();
    let text = namespace("a");
    let problem = "problem g: Namespace a: is also in f, and that one counts";
    assert_eq!(bench.take(&[("g", Some(&text))]), ["put Namespace a"]);
    assert_eq!(
        bench.take(&[("f", Some(&text))]),
        ["put Namespace a", problem]
    );
    assert_eq!(
        bench.take(&[("g", Some(&text))]),
        [problem],
        "what does not count is not told"
    );
    assert_eq!(bench.take(&[("f", None)]), ["reread g"]);
    assert_eq!(
        bench.take(&[("g", Some(&text))]),
        ["put Namespace a"],
        "which also ends the problem"
    );
}

#[test]
fn the_second_of_two_that_goes_ends_the_problem() {
    let mut bench = Bench::default();
    let text = namespace("a");
    bench.take(&[("f", Some(&text)), ("g", Some(&text))]);
    assert_eq!(bench.take(&[("g", None)]), ["reread f"]);
}

#[test]
fn an_object_that_stands_twice_in_one_file_is_told_once() {
    let mut bench = Bench::default();
    let problem = "problem f: Namespace a: is there twice, and the first one counts";
    assert_eq!(
        bench.take(&[("f", Some(&two("a", "a")))]),
        ["put Namespace a", problem]
    );
    assert_eq!(
        bench.take(&[("f", Some(&namespace("a")))]),
        ["put Namespace a"]
    );
}

#[test]
fn a_note_is_told_once() {
    let mut bench = Bench::default();
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n";
    let told = bench.take(&[("f", Some(text))]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("note f#1: Deployment"), "{told:?}");
    assert_eq!(bench.take(&[("f", Some(text))]), [] as [String; 0]);
}
