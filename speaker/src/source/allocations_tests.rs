//! The allocations' file: one writer, and no news where nothing changed.

use super::*;
use speaker_core::allocator::Assignment;
use speaker_core::service::ServiceId;
use tempfile::TempDir;

fn assignments(ip: &str) -> Assignments {
    let id = ServiceId {
        namespace: "default".into(),
        name: "web".into(),
    };
    let ips = vec![ip.parse().unwrap()];
    Assignments::from([(
        id,
        Assignment {
            ips,
            pool: "p".into(),
            sharing: None,
        },
    )])
}

fn read(dir: &TempDir) -> Assignments {
    let text = std::fs::read_to_string(dir.path().join(ALLOCATIONS)).unwrap();
    text::parse(ALLOCATIONS, &text).unwrap()
}

#[test]
fn what_is_written_is_read_back() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), &assignments("192.0.2.1")).unwrap();
    assert_eq!(read(&dir), assignments("192.0.2.1"));
    write(dir.path(), &assignments("192.0.2.2")).unwrap();
    assert_eq!(read(&dir), assignments("192.0.2.2"));
}

#[test]
fn what_changes_nothing_is_not_written() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), &assignments("192.0.2.1")).unwrap();
    let inode = || {
        std::fs::metadata(dir.path().join(ALLOCATIONS))
            .unwrap()
            .ino()
    };
    let before = inode();
    write(dir.path(), &assignments("192.0.2.1")).unwrap();
    assert_eq!(inode(), before);
}

#[test]
fn the_next_one_takes_over_when_the_lock_is_let_go() {
    let dir = TempDir::new().unwrap();
    let held = lock(dir.path()).unwrap();
    let (allocations, mut told) = Allocations::spawn(dir.path()).unwrap();
    assert_eq!(told.try_recv().ok(), None);
    drop(held);
    assert_eq!(told.blocking_recv(), Some(Told::Locked));
    allocations.write(assignments("192.0.2.1"));
    assert_eq!(told.blocking_recv(), Some(Told::Written));
    assert_eq!(read(&dir), assignments("192.0.2.1"));
}

#[test]
fn a_lock_on_a_file_that_is_not_there_any_more_is_given_up_and_taken_anew() {
    let dir = TempDir::new().unwrap();
    let (allocations, mut told) = Allocations::spawn(dir.path()).unwrap();
    assert_eq!(told.blocking_recv(), Some(Told::Locked));
    std::fs::remove_file(dir.path().join(LOCK)).unwrap();
    allocations.check();
    assert_eq!(told.blocking_recv(), Some(Told::Unlocked));
    assert_eq!(told.blocking_recv(), Some(Told::Locked));
}

#[test]
fn a_lock_that_cannot_be_had_is_told_and_tried_again_when_something_changes() {
    let dir = TempDir::new().unwrap();
    let missing = dir.path().join("missing");
    let (allocations, mut told) = Allocations::spawn(&missing).unwrap();
    let first = told.blocking_recv();
    assert!(
        matches!(&first, Some(Told::Failed(why)) if why.contains("missing")),
        "{first:?}"
    );
    std::fs::create_dir(&missing).unwrap();
    allocations.check();
    assert_eq!(told.blocking_recv(), Some(Told::Locked));
}
