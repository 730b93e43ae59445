//! JSON values as the rules of a server read and change them: what is not there is empty.

use serde_json::Value;

/// A text, empty if it is none.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The items of a list, none of what is no list.
pub(crate) fn each(value: &Value) -> impl ExactSizeIterator<Item = &Value> {
    value.as_array().map_or(&[][..], Vec::as_slice).iter()
}

/// The items of an object's list, to be changed.
pub(crate) fn each_mut<'a>(
    object: &'a mut Value,
    key: &str,
) -> impl ExactSizeIterator<Item = &'a mut Value> {
    let list = object.get_mut(key).and_then(Value::as_array_mut);
    list.map_or(&mut [][..], Vec::as_mut_slice).iter_mut()
}

/// Removes a field.
pub(crate) fn take(object: &mut Value, key: &str) {
    if let Some(object) = object.as_object_mut() {
        object.remove(key);
    }
}

/// Gives a field a value if it is not there; `null` is there.
pub(crate) fn fill(object: &mut Value, key: &str, value: impl Into<Value>) {
    if object.get(key).is_none() {
        object[key] = value.into();
    }
}
