//! One thing that is wrong with an object, as `details.causes` of a Status says it.

use serde_json::Value;

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cause {
    /// Path of the field; `<nil>` where the server names none.
    pub field: String,
    /// The server's name for this sort of fault, as in `FieldValueRequired`.
    pub reason: &'static str,
    /// What is wrong, with the value.
    pub message: String,
}

/// The causes as the message of a Status has them after «is invalid: »: each once, several in brackets.
pub fn message(causes: &[Cause]) -> String {
    let mut texts: Vec<String> = Vec::new();
    for cause in causes {
        let text = format!("{}: {}", cause.field, cause.message);
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.as_slice() {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}

impl Cause {
    pub(crate) fn new(field: impl AsRef<str>, reason: &'static str, message: String) -> Self {
        let field = field.as_ref();
        let field = if field.is_empty() { "<nil>" } else { field };
        Self {
            field: field.to_owned(),
            reason,
            message,
        }
    }

    /// The value may not be that; it is shown as it is, lists and objects too.
    pub(crate) fn shown(field: impl AsRef<str>, value: &Value, why: &str) -> Self {
        let message = format!("Invalid value: {value}: {why}");
        Self::new(field, "FieldValueInvalid", message)
    }

    /// A value is needed.
    pub(crate) fn wanted(field: impl AsRef<str>, why: &str) -> Self {
        let colon = if why.is_empty() { "" } else { ": " };
        let message = format!("Required value{colon}{why}");
        Self::new(field, "FieldValueRequired", message)
    }

    /// The value is none of a few that are known.
    pub(crate) fn unlisted<T>(field: impl AsRef<str>, value: &Value, known: &[T]) -> Self
    where
        T: Clone + Into<Value>,
    {
        let known = known.iter().map(|one| one.clone().into().to_string());
        let message = format!(
            "Unsupported value: {value}: supported values: {}",
            known.collect::<Vec<_>>().join(", ")
        );
        Self::new(field, "FieldValueNotSupported", message)
    }

    pub(crate) fn forbidden(field: impl AsRef<str>, text: &str) -> Self {
        Self::new(field, "FieldValueForbidden", format!("Forbidden: {text}"))
    }

    pub(crate) fn duplicate(field: impl AsRef<str>, value: &Value) -> Self {
        let text = format!("Duplicate value: {value}");
        Self::new(field, "FieldValueDuplicate", text)
    }

    pub(crate) fn too_long(field: impl AsRef<str>, length_max: u64) -> Self {
        let bytes = if length_max == 1 { "byte" } else { "bytes" };
        let text = format!("Too long: may not be more than {length_max} {bytes}");
        Self::new(field, "FieldValueTooLong", text)
    }

    pub(super) fn too_many(field: &str, count: usize, count_max: u64) -> Self {
        let items = if count_max == 1 { "item" } else { "items" };
        let text = format!("Too many: {count}: must have at most {count_max} {items}");
        Self::new(field, "FieldValueTooMany", text)
    }

    /// `value` is what the server shows: the value, or the name of its type.
    pub(super) fn type_invalid(field: &str, value: &Value, text: &str) -> Self {
        let text = format!("Invalid value: {value}: {text}");
        Self::new(field, "FieldValueTypeInvalid", text)
    }

    /// Objects and lists are not shown.
    pub(super) fn invalid(field: &str, value: &Value, text: &str) -> Self {
        if value.is_object() || value.is_array() {
            let text = format!("Invalid value: {text}");
            return Self::new(field, "FieldValueInvalid", text);
        }
        Self::shown(field, value, text)
    }

    /// Said in place of rules that could not be evaluated.
    pub(super) fn unchecked() -> Self {
        let text = "some validation rules were not checked because the object was invalid; correct the existing \
            errors to complete validation";
        Self::invalid("", &Value::Null, text)
    }

    /// Whether rules are not even tried.
    pub(super) fn blocks_rules(&self) -> bool {
        matches!(
            self.reason,
            "FieldValueNotSupported"
                | "FieldValueRequired"
                | "FieldValueTooLong"
                | "FieldValueTooMany"
                | "FieldValueTypeInvalid"
        )
    }
}
