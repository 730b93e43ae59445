//! `speaker ctl version`: what this program is, and what the speaker is that runs here.
//!
//! The two differ while an image is being replaced. Knows nothing of which versions go together.

use super::{CtlArgs, Form, facts};
use anyhow::Result;
use serde::Serialize;

/// The two versions, with their commits where the builds were told them.
#[derive(Serialize)]
struct Versions {
    /// Of this program.
    ctl: &'static str,
    /// Of the speaker; `None`: none runs here.
    speaker: Option<String>,
}

/// Prints them.
///
/// # Errors
/// When several speakers run here and none is named, or the one that runs does not answer.
pub(super) fn run(args: &CtlArgs) -> Result<()> {
    let versions = Versions {
        ctl: env!("HELIOGRAPH_VERSION"),
        speaker: facts(args)?.map(|facts| facts.version),
    };
    print!("{}", text(&versions, args.output)?);
    Ok(())
}

fn text(versions: &Versions, form: Form) -> Result<String> {
    Ok(match form {
        Form::Table => {
            let speaker = versions.speaker.as_deref().unwrap_or("none runs here");
            format!("this program  {}\nthe speaker   {speaker}\n", versions.ctl)
        }
        Form::Json => format!("{}\n", serde_json::to_string(versions)?),
        Form::Yaml => serde_norway::to_string(versions)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_told_in_each_form() {
        let versions = |speaker: Option<&str>| Versions {
            ctl: "0.2.0 (abc)",
            speaker: speaker.map(str::to_owned),
        };
        let told = text(&versions(Some("0.1.0")), Form::Table).unwrap();
        assert_eq!(told, "this program  0.2.0 (abc)\nthe speaker   0.1.0\n");
        let told = text(&versions(None), Form::Table).unwrap();
        assert!(told.ends_with("none runs here\n"), "{told}");
        let told = text(&versions(None), Form::Json).unwrap();
        assert_eq!(told, "{\"ctl\":\"0.2.0 (abc)\",\"speaker\":null}\n");
    }
}
