//! `cargo xtask docs-run`: the commands of the documents, run as they stand there and held to what they must print.
//!
//! Two tests do it: against an API server's double with a real kubectl and a real helm, and on the nodes of a lab. Both are in the suites, too.

use crate::tools::{self, say};
use anyhow::Result;
use clap::Args;

/// Run the commands of the documents, and compare what they print with what they must.
///
/// The second half needs root: it has a lab whose nodes, pods and cluster the commands are for.
#[derive(Args)]
pub struct Request {}

impl Request {
    /// Runs both halves.
    ///
    /// # Errors
    /// When a command does not do what its document says.
    pub fn run(&self) -> Result<()> {
        tools::run(tools::cargo().args(["build", "--quiet", "--package", "speaker"]))?;
        for (package, suite) in [("api-tests", "api"), ("system-tests", "lab")] {
            say(&format!("documents, suite {suite}"));
            tools::run(tools::cargo().args([
                "test",
                "--quiet",
                "--package",
                package,
                "--test",
                suite,
                "documents::",
            ]))?;
        }
        Ok(())
    }
}
