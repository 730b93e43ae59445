//! What outlives the process while no API server can be asked: the objects in force, as text.
//!
//! One line says what the text is, one line each holds an object as a manifest, so that what reads manifests reads this
//! too. Secrets cannot be in it, since nothing of them is in a [`World`]; a password that stands in a BGPPeer is, so that the text is closed to others.
//! A text of another form or of another node is refused as a
//! whole: half a world would withdraw the other half.

use crate::manifest;
use crate::object::Object;
use crate::world::World;
use serde::{Deserialize, Serialize};
use speaker_proto::NodeName;

/// What a text begins with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Head {
    format: String,
    version: u32,
    node: String,
    objects: usize,
}

/// The objects in force as text; `None` if it would have more than [`BYTES_MAX`].
pub fn text(world: &World, node: &NodeName) -> Option<String> {
    let mut lines = String::new();
    let mut objects = 0;
    for object in manifest::write(world) {
        lines.push_str(&object.to_string());
        lines.push('\n');
        objects += 1;
        if lines.len() > BYTES_MAX {
            return None;
        }
    }
    let head = serde_json::to_string(&Head {
        format: FORMAT.to_owned(),
        version: VERSION,
        node: node.to_string(),
        objects,
    });
    Some(head.expect("texts and numbers are JSON") + "\n" + &lines)
}

/// The objects of a text.
///
/// # Errors
/// When it is not whole, of another version, or another node's; with the reason.
pub fn parse(text: &str, node: &NodeName, config_namespace: &str) -> Result<Vec<Object>, String> {
    let (head, lines) = text.split_once('\n').ok_or("has no first line")?;
    let head: Head =
        serde_json::from_str(head).map_err(|error| format!("does not say what it is: {error}"))?;
    if (head.format.as_str(), head.version) != (FORMAT, VERSION) {
        return Err(format!(
            "is {} {}, not {FORMAT} {VERSION}",
            head.format, head.version
        ));
    }
    if head.node != node.as_str() {
        return Err(format!("belongs to node {}", head.node));
    }
    let mut objects = Vec::with_capacity(head.objects.min(OBJECTS_RESERVED_MAX));
    for (i, line) in lines.lines().enumerate() {
        let value = serde_json::from_str(line).map_err(|error| format!("object {i}: {error}"))?;
        // A problem beside its object was told when the object came, and will be again.
        let read = manifest::of_value("state", value, config_namespace).objects;
        let object = read.into_iter().find_map(Result::ok);
        objects.push(object.ok_or_else(|| format!("object {i} is not sound"))?);
    }
    if objects.len() != head.objects {
        let (is, was) = (objects.len(), head.objects);
        return Err(format!("holds {is} objects of {was}"));
    }
    Ok(objects)
}

const FORMAT: &str = "heliograph-state";
const VERSION: u32 = 1;
/// More than 10,000 services with their endpoints on 1,000 nodes, and no more than a node can spare.
pub const BYTES_MAX: usize = 64 << 20;
const OBJECTS_RESERVED_MAX: usize = 100_000; // what a damaged number may cost

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::DEFAULT_NAMESPACE;

    fn node(name: &str) -> NodeName {
        name.parse().unwrap()
    }

    fn world() -> World {
        let text = include_str!("manifest/write_tests.yaml");
        let mut world = World::default();
        for object in manifest::read("f.yaml", text, DEFAULT_NAMESPACE).objects {
            world.put(object);
        }
        world
    }

    fn read(text: &str) -> Result<Vec<Object>, String> {
        parse(text, &node("n1"), DEFAULT_NAMESPACE)
    }

    #[test]
    fn a_world_comes_back_as_it_was() {
        let before = world();
        let mut after = World::default();
        for object in read(&text(&before, &node("n1")).unwrap()).unwrap() {
            after.put(Ok(object));
        }
        assert_eq!(after, before);
    }

    #[test]
    fn what_is_not_whole_is_refused_as_a_whole() {
        let text = text(&world(), &node("n1")).unwrap();
        let refused = |text: &str| read(text).unwrap_err();
        assert_eq!(refused(""), "has no first line");
        assert!(refused("nonsense\n").starts_with("does not say what it is: "));
        assert!(refused(&text[..text.len() / 2]).starts_with("object "));
        let line = text.trim_end().rfind('\n').unwrap();
        assert!(refused(&text[..=line]).starts_with("holds "));
        let unsound = text.replace(r#""kind":"Node""#, r#""kind":"Pod""#);
        assert!(refused(&unsound).ends_with("is not sound"));
    }

    #[test]
    fn another_version_and_another_node_are_refused() {
        let text = text(&world(), &node("n1")).unwrap();
        let newer = text.replacen(r#""version":1"#, r#""version":2"#, 1);
        assert_eq!(
            read(&newer).unwrap_err(),
            "is heliograph-state 2, not heliograph-state 1"
        );
        let error = parse(&text, &node("n2"), DEFAULT_NAMESPACE).unwrap_err();
        assert_eq!(error, "belongs to node n1");
    }

    #[test]
    fn an_object_whose_annotation_is_faulty_is_kept() {
        let mut world = world();
        let mut service = world.services.values().next().unwrap().as_ref().clone();
        service
            .annotations
            .insert("heliograph.io/nonsense".to_owned(), "x".to_owned());
        world.services.insert(service.id.clone(), service.into());
        let objects = read(&text(&world, &node("n1")).unwrap()).unwrap();
        assert_eq!(objects.len(), manifest::write(&world).count());
    }
}
