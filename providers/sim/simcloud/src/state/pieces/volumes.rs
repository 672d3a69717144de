//! Volumes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::table::{Asked, Body, New, Piece, Table, id_of};
use super::{
    Cx, ListAsk, Listed, Made, Pieces, Refusal, check_name, check_new, check_new_tags, checked,
};
use crate::api::{
    CreateVolume, DescribeVolumes, PieceKind, Timestamp, UpdateVolume, Volume, VolumeId,
};
use crate::state::instances::DEFAULT_REGION;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VolumeBody {
    pub(super) size_gb: u64,
    pub(super) region: String,
    pub(super) zones: Vec<String>,
}

impl Body for VolumeBody {
    const KIND: PieceKind = PieceKind::Volume;
    type Shown = Volume;

    fn show(piece: &Piece<Self>, number: u64, time: Timestamp) -> Volume {
        Volume {
            id: VolumeId::new(id_of(Self::KIND, number)),
            name: piece.name.clone(),
            tags: piece.tags.clone(),
            state: piece.state(time),
            size_gb: piece.body.size_gb,
            region: piece.body.region.clone(),
            zones: piece.body.zones.clone(),
            created_at: piece.created_at,
        }
    }
}

impl Pieces {
    pub(crate) fn volume(&self, cx: &Cx<'_>, id: &str) -> Result<Volume, Refusal> {
        self.volumes.get(cx, id)
    }

    pub(crate) fn list_volumes(&self, cx: &Cx<'_>, ask: &ListAsk<'_>) -> Listed<Volume> {
        self.volumes.list(cx, ask, |_| true)
    }

    /// Those that are known, in the order asked, each once.
    pub(crate) fn describe_volumes(
        &self,
        cx: &Cx<'_>,
        ask: &DescribeVolumes,
    ) -> Result<Vec<Volume>, Refusal> {
        let (asked, limit) = (ask.ids.len(), cx.settings.batch_limit);
        if asked > limit {
            return Err(Refusal::BatchTooLarge { asked, limit });
        }
        let seen = cx.moment.seen();
        let mut answered = BTreeSet::new();
        let known = ask.ids.iter().filter_map(|id| Table::<VolumeBody>::number_of(id.as_str()));
        Ok(known
            .filter(|number| answered.insert(*number))
            .filter_map(|number| Some((number, self.volumes.by_number(seen, number)?)))
            .map(|(number, piece)| VolumeBody::show(piece, number, seen))
            .collect())
    }

    pub(crate) fn create_volume(
        &mut self,
        cx: &Cx<'_>,
        wanted: CreateVolume,
    ) -> Result<Made<Volume>, Refusal> {
        check_new(&wanted.name, &wanted.tags, wanted.client_token.as_ref())?;
        if wanted.size_gb == 0 {
            return Err(Refusal::invalid("size_gb", "must be at least 1"));
        }
        for zone in &wanted.zones {
            checked(check_name("zones", zone))?;
        }
        let asked = Asked::new(wanted.client_token.as_ref(), &wanted);
        let region = wanted.region.unwrap_or_else(|| DEFAULT_REGION.to_owned());
        checked(check_name("region", &region))?;
        if let Some(number) = self.volumes.repeated(cx, asked.as_ref())? {
            return Ok(Made { piece: self.volumes.shown(cx, number), is_new: false });
        }
        let body = VolumeBody { size_gb: wanted.size_gb, region, zones: wanted.zones };
        let new = New { name: wanted.name, tags: wanted.tags, asked, body };
        let number = self.volumes.insert(cx, new)?;
        self.changes += 1;
        Ok(Made { piece: self.volumes.shown(cx, number), is_new: true })
    }

    pub(crate) fn update_volume(
        &mut self,
        cx: &Cx<'_>,
        id: &str,
        update: UpdateVolume,
    ) -> Result<Volume, Refusal> {
        check_new_tags(update.tags.as_ref())?;
        let (number, _) = self.volumes.changeable(cx, id)?;
        let differs = self.volumes.change(cx, number, |piece| {
            if let Some(tags) = update.tags {
                piece.tags = tags;
            }
        });
        self.changes += u64::from(differs);
        Ok(self.volumes.shown(cx, number))
    }

    pub(crate) fn delete_volume(&mut self, cx: &Cx<'_>, id: &str) -> Result<Volume, Refusal> {
        let (number, _) = self.volumes.existing(cx, id)?;
        let begins = self.volumes.delete(cx, number);
        self.changes += u64::from(begins);
        Ok(self.volumes.shown(cx, number))
    }
}
