//! One resource of MetalLB's configuration as JSON, into its parsed form.

use super::conversion::{self, Version};
use super::schema::{self, v1beta1};
use super::{BfdProfile, BgpAdvertisement, BgpPeer, Community, L2Advertisement, Pool};
use crate::key::{Kind, ObjectKey};
use crate::object::Object;
use crate::problem::{Fault, Faults};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Why a resource could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Unread {
    /// It does not have the form of its kind.
    Undecodable(Fault),
    /// It says what its kind may not say.
    Faulty(Faults),
}

impl From<Unread> for Faults {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Undecodable(fault) => fault.into(),
            Unread::Faulty(faults) => faults,
        }
    }
}

/// Reads the object of `key`; fields that its kind does not have go to `unknown`. `spec` may be left out, as MetalLB's
/// schemas have it: the fields that are required are missed one by one. `status` is what others say of it and is not read.
pub(crate) fn read(
    key: &ObjectKey,
    mut map: Map<String, Value>,
    unknown: &mut Vec<String>,
) -> Result<Object, Unread> {
    map.remove("status");
    map.entry("spec")
        .or_insert_with(|| Value::Object(Map::new()));
    match key.kind {
        Kind::Pool => {
            let raw: schema::IPAddressPool = typed(map, unknown)?;
            parsed::<_, Pool>(key, raw).map(Object::Pool)
        }
        Kind::L2Advertisement => {
            let raw: schema::L2Advertisement = typed(map, unknown)?;
            parsed::<_, L2Advertisement>(key, raw).map(Object::L2Advertisement)
        }
        Kind::Community => {
            let raw: schema::Community = typed(map, unknown)?;
            parsed::<_, Community>(key, raw).map(Object::Community)
        }
        Kind::BgpAdvertisement => {
            let raw: schema::BGPAdvertisement = typed(map, unknown)?;
            parsed::<_, BgpAdvertisement>(key, raw).map(Object::BgpAdvertisement)
        }
        Kind::BgpPeer => parsed::<_, BgpPeer>(key, peer(map, unknown)?).map(Object::BgpPeer),
        Kind::BfdProfile => {
            let raw: schema::BFDProfile = typed(map, unknown)?;
            parsed::<_, BfdProfile>(key, raw).map(Object::BfdProfile)
        }
        Kind::Namespace | Kind::Node | Kind::Service | Kind::EndpointSlice | Kind::Document => {
            let why = "is none of MetalLB's configuration";
            Err(Unread::Undecodable(Fault::new("kind", why)))
        }
    }
}

/// A BGPPeer of either version, as the stored one.
fn peer(map: Map<String, Value>, unknown: &mut Vec<String>) -> Result<schema::BGPPeer, Unread> {
    let version = map.get("apiVersion").and_then(Value::as_str);
    if version != Some(Version::V1Beta1.api_version()) {
        return typed(map, unknown);
    }
    typed::<v1beta1::BGPPeer>(map.clone(), unknown)?;
    let map = conversion::convert(map, Version::V1Beta2);
    typed(map, &mut Vec::new())
}

fn typed<T: DeserializeOwned>(
    map: Map<String, Value>,
    unknown: &mut Vec<String>,
) -> Result<T, Unread> {
    let (value, more) = crate::typed::typed(Value::Object(map)).map_err(Unread::Undecodable)?;
    unknown.extend(more);
    Ok(value)
}

fn parsed<'k, Raw, T>(key: &'k ObjectKey, raw: Raw) -> Result<T, Unread>
where
    T: TryFrom<(&'k ObjectKey, Raw), Error = Faults>,
{
    (key, raw).try_into().map_err(Unread::Faulty)
}
