//! JSON into a type of its schema, without losing sight of what the schema does not know.

use crate::problem::Fault;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A value as a type, and the fields that the type does not have; or the first field that does not fit.
pub(crate) fn typed<T: DeserializeOwned>(value: Value) -> Result<(T, Vec<String>), Fault> {
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let reader = serde_path_to_error::Deserializer::new(value, &mut track);
    let read = serde_ignored::deserialize(reader, |path| unknown.push(field_path(&path)));
    match read {
        Ok(value) => Ok((value, unknown)),
        Err(error) => {
            let path = track.path().to_string();
            let field = if path == "." { String::new() } else { path };
            Err(Fault::new(field, error.to_string()))
        }
    }
}

/// As `spec.ports[0].name`.
fn field_path(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", field_path(parent)),
        Path::Map { parent, key } => match field_path(parent) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => field_path(parent),
    }
}
