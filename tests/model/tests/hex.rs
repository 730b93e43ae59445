//! Corpora that are kept as hexadecimal text, so that a change of one can be read.

use std::fs;
use std::path::Path;

/// All files of a folder in the order of their names: the name without its ending, and the bytes.
pub(crate) fn corpus(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries
        .map(|entry| {
            let file = entry.unwrap().path();
            let text = fs::read_to_string(&file).unwrap();
            let bytes =
                parse(&text).unwrap_or_else(|| panic!("{}: not hexadecimal", file.display()));
            (
                file.file_stem().unwrap().to_string_lossy().into_owned(),
                bytes,
            )
        })
        .collect();
    files.sort();
    files
}

fn parse(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16))
        .collect::<Option<_>>()?;
    let bytes = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some((high << 4 | low) as u8),
        _ => None,
    });
    bytes.collect()
}
