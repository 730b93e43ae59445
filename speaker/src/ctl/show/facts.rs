//! What `ctl doctor` wants to know of a running speaker.

use super::{Known, Shown};
use anyhow::Result;
use speaker_core::doctor::facts::SpeakerFacts;
use std::collections::BTreeMap;

pub(super) fn show(known: &Known<'_>) -> Result<Shown<SpeakerFacts>> {
    let snapshot = known.snapshot;
    let slots = known.sight.slots()?;
    let problems = snapshot.all_problems().into_iter();
    let others = snapshot.members.members.iter();
    let unheard = others.clone().filter(|member| member.is_unheard);
    let other_rules = others.filter(|member| member.has_other_rules);
    let api = snapshot.api.as_ref();
    let data = SpeakerFacts {
        version: env!("HELIOGRAPH_VERSION").to_owned(),
        secret: snapshot.members.secret.clone(),
        state: snapshot.state().to_owned(),
        problems: problems.map(ToString::to_string).collect(),
        unattached: unattached(known),
        api_troubles: api.map_or_else(BTreeMap::new, |api| {
            let troubles = api.troubles.iter();
            troubles
                .map(|(kind, why)| ((*kind).to_owned(), why.clone()))
                .collect()
        }),
        unheard: unheard.map(|member| member.addresses.join(",")).collect(),
        other_rules: other_rules.map(|member| member.name.clone()).collect(),
        is_name_taken: snapshot.members.is_name_taken,
        vips: slots.into_iter().map(|slot| slot.vip).collect(),
        ..SpeakerFacts::of_world(&snapshot.world)
    };
    let text = format!("{}\n", serde_json::to_string_pretty(&data)?);
    Ok(Shown { data, text })
}

/// Links that may announce and have no program, with the last thing that was tried.
fn unattached(known: &Known<'_>) -> BTreeMap<String, String> {
    let reports = known.snapshot.attached.iter();
    reports
        .filter(|report| report.hook.is_none())
        .map(|report| {
            let last = report.steps.last();
            let why = last.map_or_else(
                || "nothing was tried".to_owned(),
                |step| format!("{}: {}", step.tried, step.why),
            );
            (report.link.clone(), why)
        })
        .collect()
}
