//! Whether this process may be kept from running by a CPU limit of its control group.

use std::fs;
use std::path::Path;

/// The limit in force, in words. `None`: there is none, or it cannot be read.
pub(super) fn read() -> Option<String> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = own_group(&groups)?;
    let own = Path::new("/sys/fs/cgroup").join(group.trim_start_matches('/'));
    // A limit of any group above holds too. In a container the own group is the root of what is seen.
    own.ancestors()
        .take_while(|folder| folder.starts_with("/sys/fs/cgroup"))
        .filter_map(|folder| fs::read_to_string(folder.join("cpu.max")).ok())
        .find_map(|text| limit(&text))
}

/// The group of version 2, which has the number 0 and no controllers.
fn own_group(groups: &str) -> Option<&str> {
    groups.lines().find_map(|line| line.strip_prefix("0::"))
}

/// `cpu.max` holds a quota and a period in microseconds, or `max` for no quota.
fn limit(text: &str) -> Option<String> {
    let mut words = text.split_whitespace();
    let quota: u64 = words.next()?.parse().ok()?;
    let period: u64 = words.next()?.parse().ok()?;
    Some(format!("{quota} µs of CPU in each {period} µs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_told_and_its_absence_is_none() {
        let told = limit("10000 100000\n").unwrap();
        assert_eq!(told, "10000 µs of CPU in each 100000 µs");
        assert_eq!(limit("max 100000\n"), None);
        assert_eq!(limit(""), None);
    }

    #[test]
    fn the_group_of_version_2_is_found_beside_others() {
        let groups = "5:cpu,cpuacct:/a\n0::/kubepods.slice/pod1\n";
        assert_eq!(own_group(groups), Some("/kubepods.slice/pod1"));
        assert_eq!(own_group("1:name=systemd:/x\n"), None);
    }
}
