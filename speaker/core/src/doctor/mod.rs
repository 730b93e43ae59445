//! `speaker ctl doctor`: what a node lacks, or has set in a way that hurts.
//!
//! [`examine`] makes findings from [`Facts`] and nothing else; who gathers them is the shell's business. Each finding says what was seen,
//! why it matters and what would mend it. Absent facts find nothing, but for those that [`Facts::unseen`] names.

mod check;
pub mod facts;
mod kernel;
mod links;
mod others;
mod settings;
mod speaker;

#[cfg(test)]
mod tests;

pub use check::{CHECKS, Check, Row};
pub use facts::Facts;

use serde::Serialize;
use std::fmt;

/// How bad something is, the worst first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work.
    Error,
    /// Something will not work in some cases, or works badly.
    Warning,
    /// Good to know.
    Note,
}

/// One thing that was found.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was looked for.
    pub check: Check,
    /// What it is about: a link, a pool, a port; empty for the node as a whole.
    pub about: String,
    /// What was seen.
    pub seen: String,
    /// Why it matters.
    pub why: &'static str,
    /// What mends it: a command where there is one.
    pub remedy: String,
}

/// Everything that was found, the worst first.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Findings {
    /// In order.
    pub findings: Vec<Finding>,
    /// How many were left out of each check that found more than [`PER_CHECK_MAX`].
    pub left_out: usize,
}

/// Looks at everything.
pub fn examine(facts: &Facts) -> Findings {
    let mut all = Findings::default();
    kernel::examine(facts, &mut all);
    settings::examine(facts, &mut all);
    links::examine(facts, &mut all);
    others::examine(facts, &mut all);
    speaker::examine(facts, &mut all);
    for (what, why) in &facts.unseen {
        let remedy = "run it as root, in the network namespace of the speaker";
        all.add(Severity::Warning, Check::Unseen, what, why.clone(), remedy);
    }
    all.findings.sort();
    all
}

impl Findings {
    /// Adds one, as long as its check has not found [`PER_CHECK_MAX`].
    fn add(
        &mut self,
        severity: Severity,
        check: Check,
        about: &str,
        seen: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let same = self.findings.iter().filter(|found| found.check == check);
        if same.count() >= PER_CHECK_MAX {
            self.left_out += 1;
            return;
        }
        self.findings.push(Finding {
            severity,
            check,
            about: about.to_owned(),
            seen: seen.into(),
            why: check.why(),
            remedy: remedy.into(),
        });
    }

    /// The worst of them.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.first().map(|found| found.severity)
    }

    /// How a program ends that found this: 0 if nothing is wrong, 1 for warnings, 2 for errors.
    pub fn exit_code(&self) -> u8 {
        match self.worst() {
            None | Some(Severity::Note) => 0,
            Some(Severity::Warning) => 1,
            Some(Severity::Error) => 2,
        }
    }

    fn count(&self, severity: Severity) -> usize {
        let same = self.findings.iter();
        same.filter(|found| found.severity == severity).count()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for found in &self.findings {
            writeln!(f, "{found}")?;
        }
        if self.left_out > 0 {
            writeln!(f, "and {} more of the same kinds", self.left_out)?;
        }
        writeln!(
            f,
            "errors {}, warnings {}, notes {}, of {} checks",
            self.count(Severity::Error),
            self.count(Severity::Warning),
            self.count(Severity::Note),
            CHECKS.len()
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "ERROR",
            Severity::Warning => "WARNING",
            Severity::Note => "NOTE",
        };
        let about = match self.about.as_str() {
            "" => String::new(),
            about => format!(" ({about})"),
        };
        writeln!(f, "{severity} {}{about}: {}", self.check.name(), self.seen)?;
        writeln!(f, "    why: {}", self.why)?;
        writeln!(f, "    do:  {}", self.remedy)
    }
}

/// Of one kind; more of them say nothing new.
pub const PER_CHECK_MAX: usize = 16;
