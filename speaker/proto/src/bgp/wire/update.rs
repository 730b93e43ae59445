//! UPDATE as received (RFC 4271 §4.3, §6.3), judged by the rules of RFC 7606 and counted. The attributes' own rules are in
//! [`rule`](super::rule); here is what concerns the message as a whole.

use super::Context;
use super::attribute::{
    AS_PATH, Attribute, MP_REACH_NLRI, MP_UNREACH_NLRI, NEXT_HOP, OPTIONAL, ORIGIN, TRANSITIVE,
};
use super::bytes::Bytes;
use super::multiprotocol::{self, Listed};
use super::rule::{Approach, Facts, rule};
use crate::bgp::message::{Notification, Update};
use crate::bgp::route::Family;

/// RFC 4271 §6.3: the attributes as a whole, or the lengths round them, are wrong.
const MALFORMED_LIST: Notification = Notification::new(3, 1);
/// RFC 4271 §6.3: prefixes in a classic field are wrong.
const INVALID_NETWORK: Notification = Notification::new(3, 10);

pub(super) fn decode(body: &[u8], context: &Context) -> Result<Update, Notification> {
    let fields = Fields::of(body).ok_or(MALFORMED_LIST)?;
    // RFC 7606 §5.3: where prefixes cannot be read, nothing but the end of the session is safe.
    let count = |list| multiprotocol::count(list, Family::V4).ok_or(INVALID_NETWORK);
    let (withdrawn, announced) = (count(fields.withdrawn)?, count(fields.announced)?);
    let facts = Facts {
        has_four_byte_as: context.has_four_byte_as,
        is_ebgp: context.is_ebgp,
        has_classic_prefixes: announced > 0,
    };
    let mut judged = Judged::default();
    judged.attributes(fields.attributes, facts)?;
    judged.missing(facts);
    judged.trusted(facts)?;
    let mut update = Update {
        forgiven: judged.forgiven,
        end_of_rib: fields.end_of_rib(&judged),
        ..Update::default()
    };
    for listed in [Some(Listed::classic(withdrawn)), judged.unreach]
        .into_iter()
        .flatten()
    {
        add(&mut update.withdrawn, listed);
    }
    let reached = match judged.is_withdrawn {
        true => &mut update.withdrawn,
        false => &mut update.announced,
    };
    for listed in [Some(Listed::classic(announced)), judged.reach]
        .into_iter()
        .flatten()
    {
        add(reached, listed);
    }
    Ok(only(update, context))
}

fn add(counts: &mut [u32; 2], listed: Listed) {
    for (family, count) in Family::ALL.into_iter().zip(counts) {
        if listed.family == Some(family) {
            *count += listed.count;
        }
    }
}

/// What an UPDATE did to the families that were agreed on; the rest is passed over (RFC 4760 §7).
fn only(mut update: Update, context: &Context) -> Update {
    let agreed = |family| context.families.contains(&family);
    let counts = update.announced.iter_mut().zip(&mut update.withdrawn);
    for (family, (announced, withdrawn)) in Family::ALL.into_iter().zip(counts) {
        if !agreed(family) {
            (*announced, *withdrawn) = (0, 0);
        }
    }
    update.end_of_rib = update.end_of_rib.filter(|family| agreed(*family));
    update
}

/// The three variable fields.
struct Fields<'a> {
    withdrawn: &'a [u8],
    attributes: &'a [u8],
    announced: &'a [u8],
}

impl<'a> Fields<'a> {
    fn of(body: &'a [u8]) -> Option<Self> {
        let mut body = Bytes(body);
        Some(Self {
            withdrawn: body.behind_u16()?.0,
            attributes: body.behind_u16()?.0,
            announced: body.0,
        })
    }

    /// RFC 4724 §2: a message without anything in it, or with an empty MP_UNREACH_NLRI and nothing else.
    fn end_of_rib(&self, judged: &Judged) -> Option<Family> {
        if !self.withdrawn.is_empty() || !self.announced.is_empty() || judged.has_others {
            return None;
        }
        match judged.unreach {
            None => Some(Family::V4),
            Some(unreach) => unreach.family.filter(|_| unreach.count == 0),
        }
    }
}

/// What came of the attributes.
#[derive(Default)]
struct Judged {
    seen: Codes,
    /// There is an attribute beside MP_UNREACH_NLRI.
    has_others: bool,
    reach: Option<Listed>,
    unreach: Option<Listed>,
    /// All that the message announces counts as withdrawn.
    is_withdrawn: bool,
    /// The first error.
    forgiven: Option<&'static str>,
}

impl Judged {
    fn attributes(&mut self, list: &[u8], facts: Facts) -> Result<(), Notification> {
        let mut left = Bytes(list);
        while !left.is_empty() {
            let Some(attribute) = Attribute::next(&mut left) else {
                // RFC 7606 §4: the length round all attributes still tells where the prefixes begin.
                self.has_others = true;
                self.withdraw("an attribute runs beyond the end of all");
                break;
            };
            self.attribute(attribute, facts)?;
        }
        Ok(())
    }

    fn attribute(&mut self, attribute: Attribute<'_>, facts: Facts) -> Result<(), Notification> {
        let Attribute { flags, code, .. } = attribute;
        self.has_others |= code != MP_UNREACH_NLRI;
        if !self.seen.insert(code) {
            // RFC 7606 §3.g: the first counts, unless it says which prefixes there are.
            if matches!(code, MP_REACH_NLRI | MP_UNREACH_NLRI) {
                return Err(MALFORMED_LIST);
            }
            self.forgive("an attribute stands twice");
            return Ok(());
        }
        let Some(rule) = rule(code) else {
            // RFC 4271 §6.3: one that each speaker would have to know. Others are passed over (RFC 4271 §9).
            let is_known = flags & OPTIONAL != 0;
            return is_known.then_some(()).ok_or_else(|| with(2, attribute));
        };
        if rule.is_internal && facts.is_ebgp {
            return Ok(());
        }
        if flags & (OPTIONAL | TRANSITIVE) != rule.flags {
            self.withdraw(rule.wrong_flags);
        }
        if (rule.is_right)(attribute.value, facts) {
            self.prefixes(attribute);
            return Ok(());
        }
        match rule.otherwise {
            Approach::Discard => self.forgive(rule.wrong_value),
            Approach::Withdraw => self.withdraw(rule.wrong_value),
            Approach::Reset => return Err(with(9, attribute)),
        }
        Ok(())
    }

    fn prefixes(&mut self, attribute: Attribute<'_>) {
        match attribute.code {
            MP_REACH_NLRI => self.reach = multiprotocol::reach(attribute.value),
            MP_UNREACH_NLRI => self.unreach = multiprotocol::unreach(attribute.value),
            _ => (),
        }
    }

    /// RFC 7606 §3.d: routes need these.
    fn missing(&mut self, facts: Facts) {
        if !self.announces(facts) {
            return;
        }
        let needed = [
            (ORIGIN, true, "ORIGIN is missing"),
            (AS_PATH, true, "AS_PATH is missing"),
            (NEXT_HOP, facts.has_classic_prefixes, "NEXT_HOP is missing"),
        ];
        for (code, is_needed, why) in needed {
            if is_needed && !self.seen.contains(code) {
                self.withdraw(why);
            }
        }
    }

    /// RFC 7606 §5.2: attributes of which one is wrong, and no route that they belong to: prefixes may have been lost.
    fn trusted(&self, facts: Facts) -> Result<(), Notification> {
        if self.is_withdrawn && self.has_others && !self.announces(facts) {
            return Err(MALFORMED_LIST);
        }
        Ok(())
    }

    fn announces(&self, facts: Facts) -> bool {
        facts.has_classic_prefixes || self.reach.is_some_and(|reach| reach.count > 0)
    }

    fn withdraw(&mut self, why: &'static str) {
        self.is_withdrawn = true;
        self.forgive(why);
    }

    fn forgive(&mut self, why: &'static str) {
        self.forgiven.get_or_insert(why);
    }
}

/// RFC 4271 §6.3: an error that is told with the attribute.
fn with(subcode: u8, attribute: Attribute<'_>) -> Notification {
    Notification {
        data: attribute.bytes.to_vec(),
        ..Notification::new(3, subcode)
    }
}

/// A set of bytes.
#[derive(Default)]
struct Codes([u64; 4]);

impl Codes {
    /// Whether it is new.
    fn insert(&mut self, code: u8) -> bool {
        let is_new = !self.contains(code);
        self.0[usize::from(code / 64)] |= 1 << (code % 64);
        is_new
    }

    fn contains(&self, code: u8) -> bool {
        self.0[usize::from(code / 64)] & 1 << (code % 64) != 0
    }
}
