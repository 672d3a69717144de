//! Volumes: disks that instances may use.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::pieces::piece;
use super::{PieceState, Timestamp, VolumeId};

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The cloud's ID.
    pub id: VolumeId,
    /// The name it was given; not unique; fixed.
    pub name: String,
    /// The user's tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Where it is in its life.
    pub state: PieceState,
    /// Its size; fixed.
    pub size_gb: u64,
    /// The region that it is in; fixed.
    pub region: String,
    /// The zones from which it is reached; from anywhere in the region when there are none. Fixed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A volume to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateVolume {
    /// The name; another volume may have it.
    pub name: String,
    /// Its size, at least 1.
    pub size_gb: u64,
    /// Region; `sim-1` when absent, as with instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The zones from which it is reached; none bind it to no zone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<String>,
    /// The user's tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Makes a repetition harmless, see [`NewPiece`](super::NewPiece).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

impl CreateVolume {
    /// A small volume that is reached from these zones.
    pub fn named<Z: Into<String>>(
        name: impl Into<String>,
        zones: impl IntoIterator<Item = Z>,
    ) -> Self {
        let zones = zones.into_iter().map(Into::into).collect();
        Self { name: name.into(), size_gb: 1, zones, ..Self::default() }
    }
}

/// What to change of a volume; a field that is given replaces what was there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpdateVolume {
    /// All tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
}

piece!(Volume, VolumeId, CreateVolume, UpdateVolume);

/// Volumes asked for by ID: in the order asked, each once. What the cloud does not know is simply
/// missing.
///
/// At most [`Settings::batch_limit`](super::Settings::batch_limit).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DescribeVolumes {
    /// IDs to look up.
    pub ids: Vec<VolumeId>,
}
