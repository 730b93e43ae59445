//! Somebody else's hand in the kernel's tables.

use std::process::Command;
use std::time::Duration;
use system_tests::lab::{TestLab, within};

#[test]
fn an_entry_that_somebody_deletes_comes_back() {
    let lab = TestLab::sample();
    let vip = lab.frontends_of("default/web")[0].vip;
    let holder = lab.holder_of(vip);
    let map = lab.pins(&holder).join("hg_vips_v1");
    let key = first_key(&map);
    let mut delete = Command::new("bpftool");
    delete
        .args(["map", "delete", "pinned"])
        .arg(&map)
        .args(["key", "hex"])
        .args(&key);
    // It fails where there is no such entry. That it is gone is not looked for: the audit may come just now.
    assert!(delete.status().unwrap().success());
    within(AUDITED, || {
        if keys(&map).contains(&key) {
            Ok(())
        } else {
            Err("not yet")
        }
    })
    .expect("the audit finds it");
}

fn first_key(map: &std::path::Path) -> Vec<String> {
    keys(map).into_iter().next().expect("the table has entries")
}

/// The keys as bpftool takes them: bytes in hexadecimal.
fn keys(map: &std::path::Path) -> Vec<Vec<String>> {
    let output = Command::new("bpftool")
        .args(["-j", "map", "dump", "pinned"])
        .arg(map)
        .output()
        .unwrap();
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let bytes = |row: &serde_json::Value| {
        let key = row["key"].as_array().unwrap().iter();
        key.map(|byte| byte.as_str().unwrap().trim_start_matches("0x").to_owned())
            .collect()
    };
    rows.as_array().unwrap().iter().map(bytes).collect()
}

/// The speaker looks each 30 seconds.
const AUDITED: Duration = Duration::from_secs(45);
