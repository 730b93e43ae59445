//! `speaker completion`: what a shell needs to complete our command line, from the one definition of it.

use crate::settings::args::Cli;
use anyhow::{Context, Result};
use clap::{Args, CommandFactory, ValueEnum};
use std::io::{self, ErrorKind, Write};

/// Flags of `speaker completion`.
#[derive(Args, Debug)]
pub(crate) struct CompletionArgs {
    /// The shell: `source <(speaker completion bash)` is enough to try it
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// Shells that there is a script for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Shell {
    /// Bash.
    Bash,
    /// Zsh.
    Zsh,
    /// Fish.
    Fish,
}

/// Prints the script.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn run(args: &CompletionArgs) -> Result<()> {
    match io::stdout().lock().write_all(&script(args.shell)) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("failed to print the script"),
    }
}

fn script(shell: Shell) -> Vec<u8> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "speaker", &mut script);
    if shell == clap_complete::Shell::Fish {
        script.extend(fish_arguments().as_bytes());
    }
    script
}

/// What the generator leaves out for fish, which then offers files: no argument of ours is one, only values of flags are.
fn fish_arguments() -> String {
    let shells = Shell::value_variants().iter();
    let shells: Vec<_> = shells
        .filter_map(ValueEnum::to_possible_value)
        .map(|shell| shell.get_name().to_owned())
        .collect();
    format!(
        "complete -c speaker -f\n\
         complete -c speaker -n \"__fish_speaker_using_subcommand completion\" -f -a \"{}\"\n",
        shells.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueHint;
    use std::path::PathBuf;
    use std::process::{Command, Stdio};

    /// What bash itself offers for the last of these words.
    fn offered(words: &[&str]) -> Vec<String> {
        let (last, before) = (words.len() - 1, words.len() - 2);
        let line = words.iter().map(|word| format!("'{word}'"));
        let line = line.collect::<Vec<_>>().join(" ");
        let ask = format!(
            "source /dev/stdin && complete -p speaker >&2 && COMP_WORDS=({line}) COMP_CWORD={last} \
             && _speaker speaker '{}' '{}' && printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words[last], words[before]
        );
        let mut bash = Command::new("bash")
            .args(["--norc", "--noprofile", "-c", &ask])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = bash.stdin.take().unwrap();
        stdin.write_all(&script(Shell::Bash)).unwrap();
        drop(stdin);
        let done = bash.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{errors}");
        assert!(errors.starts_with("complete "), "{errors}");
        let offered = String::from_utf8(done.stdout).unwrap();
        offered.lines().map(str::to_owned).collect()
    }

    #[test]
    fn bash_loads_the_script_and_completes_by_it() {
        assert_eq!(offered(&["speaker", "ctl", "doc"]), ["doctor"]);
        assert_eq!(offered(&["speaker", "comp"]), ["completion"]);
        assert!(offered(&["speaker", "run", "--manif"]).contains(&"--manifests".to_owned()));
        assert_eq!(offered(&["speaker", "completion", "z"]), ["zsh"]);
    }

    /// By the path of subcommands, as in `speaker ctl bgp`.
    fn arguments_that_are_files(command: &clap::Command, path: &str) -> Vec<String> {
        let own = command
            .get_positionals()
            .filter(|argument| {
                matches!(
                    argument.get_value_hint(),
                    ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath
                )
            })
            .map(|argument| format!("{path} {}", argument.get_id()));
        let below = command.get_subcommands().flat_map(|below| {
            arguments_that_are_files(below, &format!("{path} {}", below.get_name()))
        });
        own.chain(below).collect()
    }

    #[test]
    fn no_argument_is_a_file() {
        let command = Cli::command();
        assert!(arguments_that_are_files(&command, "speaker").is_empty());
        let other = clap::Command::new("other").subcommand(
            clap::Command::new("below")
                .arg(clap::Arg::new("file").value_parser(clap::value_parser!(PathBuf))),
        );
        assert_eq!(
            arguments_that_are_files(&other, "other"),
            ["other below file"]
        );
    }

    #[test]
    fn each_script_knows_every_subcommand() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let text = String::from_utf8(script(shell)).unwrap();
            for word in [
                "controller",
                "operator",
                "doctor",
                "support",
                "completion",
                "drain",
            ] {
                assert!(text.contains(word), "{shell:?} {word}");
            }
        }
    }
}
