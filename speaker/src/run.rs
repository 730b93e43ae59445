//! `speaker run`: where every part of the speaker meets.

use crate::settings::Settings;
use anyhow::Result;

/// Runs the speaker until it is told to stop.
///
/// # Errors
/// When something is missing that it cannot work without.
pub(crate) fn run(settings: Settings) -> Result<()> {
    tracing::info!(node = %settings.node, op = "startup", "speaker started");
    Ok(())
}
