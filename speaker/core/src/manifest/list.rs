//! Long lists of JSON, one item after the other: all of them as values at once would take ten times the length of their text.

use super::text::{Budget, Document, settle_nulls};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// A document that is a list.
#[derive(Deserialize)]
pub(super) struct List<'a> {
    #[serde(rename = "apiVersion")]
    pub(super) version: Option<String>,
    pub(super) kind: String,
    /// That they are an array, and JSON: what they hold is read by [`List::each`].
    #[serde(rename = "items")]
    _items: Vec<IgnoredAny>,
    #[serde(skip)]
    text: &'a str,
}

impl<'a> List<'a> {
    /// The document as a list, where it is one of JSON.
    pub(super) fn of(document: &Document<'a>) -> Option<Self> {
        let text = document.text;
        if document.is_too_long() || !text.trim_start().starts_with('{') {
            return None;
        }
        let list: Self = serde_json::from_str(text).ok()?;
        list.kind.ends_with("List").then_some(Self { text, ..list })
    }

    /// Hands out its items in their order, as [`super::text::values`] reads them, until one cannot be read.
    pub(super) fn each(&self, mut take: impl FnMut(Value)) -> Result<(), serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_str(self.text);
        let budget = Budget::of(self.text);
        let mut take = |mut value| {
            settle_nulls(&mut value, false);
            take(value);
        };
        reader.deserialize_map(Fields(Items {
            budget: &budget,
            take: &mut take,
        }))
    }
}

/// The fields of a list, of which the items count.
struct Fields<'a>(Items<'a>);

/// Reads items and hands them out.
struct Items<'a> {
    budget: &'a Budget,
    take: &'a mut dyn FnMut(Value),
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        while let Some(field) = fields.next_key::<String>()? {
            if field == "items" {
                fields.next_value_seed(&mut self.0)?;
            } else {
                fields.next_value_seed(self.0.budget)?;
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for &mut Items<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for &mut Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the items of a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element_seed(self.budget)? {
            (self.take)(item);
        }
        Ok(())
    }
}
