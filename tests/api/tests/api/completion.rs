//! What real shells offer after `speaker completion`: zsh and fish here, bash beside the code.

use crate::cluster::speaker;
use std::fs;
use std::process::{Command, Stdio};
use xtask::shells::Shells;
use xtask::tools::{output, say};

/// A line that is begun, and the whole of the word that is meant.
const LINES: [(&str, &str); 4] = [
    ("speaker ctl doc", "doctor"),
    ("speaker comp", "completion"),
    ("speaker run --manif", "--manifests"),
    ("speaker completion z", "zsh"),
];

#[test]
fn zsh_completes_a_line_by_the_script() {
    let Some(shells) = shells() else { return };
    let home = tempfile::tempdir().unwrap();
    let functions = home.path().join("functions");
    fs::create_dir(&functions).unwrap();
    fs::write(functions.join("_speaker"), script("zsh")).unwrap();
    let lines = LINES.map(|(begun, _)| format!("'{begun}'")).join(" ");
    let settings = ZSHRC
        .replace(
            "MODULES",
            &shells.libraries().join("zsh/5.9").to_string_lossy(),
        )
        .replace("OWN", &functions.to_string_lossy())
        .replace(
            "THEIRS",
            &shells.path("usr/share/zsh/functions").to_string_lossy(),
        )
        .replace("LINES", &lines)
        .replace("ANSWER", &home.path().join("answer").to_string_lossy());
    fs::write(home.path().join(".zshrc"), settings).unwrap();
    let mut zsh = shells.zsh(home.path());
    let zsh = zsh.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = zsh.stderr(Stdio::piped()).spawn().unwrap();
    // Nothing is typed, and the terminal stays open.
    let input = child.stdin.take();
    let done = child.wait_with_output().unwrap();
    drop(input);
    let words = String::from_utf8_lossy(&done.stdout);
    let answer = fs::read_to_string(home.path().join("answer"));
    let answer = answer.unwrap_or_else(|why| panic!("{why}: {words}"));
    let completed: Vec<&str> = answer
        .lines()
        .map(|line| line.split_whitespace().next_back().unwrap())
        // Of a flag with a value.
        .map(|word| word.trim_end_matches('='))
        .collect();
    assert_eq!(completed, LINES.map(|(_, whole)| whole), "{words}");
}

#[test]
fn fish_offers_words_by_the_script() {
    let Some(shells) = shells() else { return };
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("speaker.fish");
    fs::write(&file, script("fish")).unwrap();
    let offered = |begun: &str| -> Vec<String> {
        let commands = format!(
            "set fish_function_path {}; source {}; complete --do-complete '{begun}'",
            shells.path("usr/share/fish/functions").display(),
            file.display()
        );
        let mut fish = shells.fish(&commands);
        let offered = output(fish.env("HOME", home.path())).unwrap();
        offered
            .lines()
            .map(|line| line.split('\t').next().unwrap().to_owned())
            .collect()
    };
    for (begun, whole) in LINES {
        assert_eq!(offered(begun), [whole], "{begun}");
    }
    let folder = home.path().join("objects");
    fs::create_dir(&folder).unwrap();
    let folder = folder.display().to_string();
    let (begun, _) = folder.split_at(folder.len() - 3);
    // Files are offered where one can be meant.
    let flag = offered(&format!("speaker run --manifests {begun}"));
    assert_eq!(flag, [format!("{folder}/")]);
    for elsewhere in ["speaker run", "speaker completion", "speaker ctl bgp"] {
        let files = offered(&format!("{elsewhere} {begun}"));
        assert!(files.is_empty(), "{elsewhere}: {files:?}");
    }
}

/// None where they cannot be had, which is said.
fn shells() -> Option<Shells> {
    match Shells::ensure() {
        Ok(shells) => Some(shells),
        Err(why) => {
            say(&format!("SKIPPED: no zsh and no fish to be had: {why:#}"));
            None
        }
    }
}

fn script(shell: &str) -> String {
    output(Command::new(speaker()).args(["completion", shell])).unwrap()
}

/// Once the line editor is there it completes each line in place of somebody, and the shell ends.
const ZSHRC: &str = "
    module_path=(MODULES)
    fpath=(OWN THEIRS/**/*(/))
    zmodload zsh/zle && setopt zle
    autoload -U compinit && compinit -D -u
    zle-line-init() {
        for line in LINES; do
            BUFFER=$line CURSOR=$#line
            zle expand-or-complete
            print -r -- $BUFFER >>ANSWER
        done
        exit
    }
    zle -N zle-line-init
";
