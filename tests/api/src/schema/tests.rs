//! What the recordings do not show: corners of schemas that MetalLB's kinds do not have.

use super::*;
use serde_json::json;

#[test]
fn an_int_or_string_is_one_of_the_two() {
    let schema = with(
        json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
    );
    assert_eq!(refusal(&schema, json!(5)), "");
    assert_eq!(refusal(&schema, json!("5%")), "");
    assert_eq!(
        refusal(&schema, json!(true)),
        "spec.x: Invalid value: \"boolean\": spec.x in body must be of type integer,string: \"boolean\""
    );
}

#[test]
fn a_whole_number_is_an_integer_however_it_is_written() {
    let schema = with(json!({"type": "integer", "format": "int32"}));
    assert_eq!(refusal(&schema, json!(3.0)), "");
    assert_eq!(
        refusal(&schema, json!(-2_147_483_649_i64)),
        "<nil>: Invalid value: \"\": Checked value must be of type integer with format int32 in spec.x"
    );
}

#[test]
fn lengths_and_counts_have_words_of_their_own() {
    let text = with(json!({"type": "string", "maxLength": 3}));
    assert_eq!(refusal(&text, json!("äöü")), "");
    assert_eq!(
        refusal(&text, json!("long")),
        "spec.x: Too long: may not be more than 3 bytes"
    );
    let list =
        with(json!({"type": "array", "items": {"type": "string"}, "maxItems": 1, "minItems": 1}));
    assert_eq!(
        refusal(&list, json!(["a", "b"])),
        "spec.x: Too many: 2: must have at most 1 item"
    );
    assert_eq!(
        refusal(&list, json!([])),
        "spec.x: Invalid value: 0: spec.x in body should have at least 1 items"
    );
}

#[test]
fn a_time_is_a_time() {
    let schema = with(json!({"type": "string", "format": "date-time"}));
    assert_eq!(refusal(&schema, json!("2026-01-01T00:00:00Z")), "");
    assert_eq!(
        refusal(&schema, json!("yesterday")),
        "spec.x: Invalid value: \"yesterday\": spec.x in body must be of type date-time: \"yesterday\""
    );
}

#[test]
fn a_set_has_each_item_once() {
    let schema = with(
        json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}),
    );
    assert_eq!(refusal(&schema, json!(["a", "b"])), "");
    assert_eq!(
        refusal(&schema, json!(["a", "b", "a"])),
        "spec.x[2]: Duplicate value: \"a\""
    );
}

#[test]
fn an_item_is_followed_by_its_key() {
    let schema = with(json!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {"type": "object", "required": ["name"], "properties": {
            "name": {"type": "string"},
            "fixed": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is fixed"}]},
            "size": {"type": "integer", "maximum": 4},
        }},
    }));
    let item =
        |name: &str, fixed: &str, size: u32| json!({"name": name, "fixed": fixed, "size": size});
    let old = object(json!([item("a", "1", 9), item("b", "2", 2)]));
    let turned = object(json!([item("b", "2", 3), item("a", "1", 9)]));
    assert_eq!(
        admit(&schema, &mut turned.clone(), Some(&old)),
        Ok(Vec::new())
    );
    let mut changed = object(json!([item("b", "1", 3), item("a", "1", 8)]));
    let causes = admit(&schema, &mut changed, Some(&old)).unwrap_err();
    assert_eq!(
        message(&causes),
        "[spec.x[1].size: Invalid value: 8: spec.x[1].size in body should be less than or equal to 4, \
         spec.x[0].fixed: Invalid value: \"1\": is fixed]"
    );
}

#[test]
fn what_is_unknown_is_named_wherever_it_is() {
    let schema = with(
        json!({"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}}),
    );
    let mut new = object(json!([{"a": "1"}, {"a": "1", "b": {"c": 1}}]));
    new["other"] = json!(1);
    let mut unknown = admit(&schema, &mut new, None).unwrap();
    unknown.sort();
    assert_eq!(unknown, ["other", "spec.x[1].b"]);
    assert_eq!(new, object(json!([{"a": "1"}, {"a": "1"}])));
}

#[test]
fn a_default_goes_where_its_object_is() {
    let inner = json!({"type": "object", "properties": {"a": {"type": "integer", "default": 1}}});
    let schema = with(json!({"type": "object", "additionalProperties": inner}));
    let mut new = object(json!({"one": {}, "two": {"a": null}, "three": {"a": 3}}));
    assert_eq!(admit(&schema, &mut new, None), Ok(Vec::new()));
    assert_eq!(
        new["spec"]["x"],
        json!({"one": {"a": 1}, "two": {"a": 1}, "three": {"a": 3}})
    );
}

/// The schema of a kind whose spec has one field.
fn with(field: Value) -> Value {
    json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"x": field}}}})
}

fn object(value: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"x": value}})
}

/// What is said against a value; empty if it is allowed.
fn refusal(schema: &Value, value: Value) -> String {
    match admit(schema, &mut object(value), None) {
        Ok(_) => String::new(),
        Err(causes) => message(&causes),
    }
}
