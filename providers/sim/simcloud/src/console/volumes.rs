//! Volumes. What all pieces have in common is with the load balancers.

use reqwest::Method;

use super::{Console, Result, answer};
use crate::api::{DescribeVolumes, Items, Volume, path};

impl Console {
    /// Looks volumes up by ID; unknown ones are missing.
    pub async fn describe_volumes(&self, ask: &DescribeVolumes) -> Result<Vec<Volume>> {
        let found: Items<Volume> =
            answer(self.cloud(Method::POST, path::DESCRIBE_VOLUMES).json(ask)).await?;
        Ok(found.items)
    }
}
