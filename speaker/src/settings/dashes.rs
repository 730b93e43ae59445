//! Go's flags have one dash, or two: `-log-level=debug`. MetalLB's manifests use either.

use std::collections::BTreeSet;
use std::ffi::OsString;

/// Puts a second dash before every known long name that has one. What follows `--` is left alone.
pub(super) fn doubled(
    typed: impl Iterator<Item = OsString>,
    long_names: &BTreeSet<String>,
) -> Vec<OsString> {
    let mut is_flag_allowed = true;
    typed
        .map(|arg| {
            is_flag_allowed &= arg != "--";
            match arg.to_str().and_then(|text| text.strip_prefix('-')) {
                Some(flag) if is_flag_allowed && is_long(flag, long_names) => {
                    format!("--{flag}").into()
                }
                Some(_) | None => arg,
            }
        })
        .collect()
}

fn is_long(flag: &str, long_names: &BTreeSet<String>) -> bool {
    let name = flag.split_once('=').map_or(flag, |(name, _)| name);
    long_names.contains(name)
}
