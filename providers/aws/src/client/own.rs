//! The machine that this process runs on, as EC2 describes it.

use ccm_core::cloud::{CloudError, Kind, Read};

use super::{Client, read};
use crate::actions::DESCRIBE_INSTANCES;
use crate::marks::Tags;

/// What says where the cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnRecord {
    pub(crate) id: String,
    pub(crate) private_dns_name: String,
    pub(crate) vpc: Option<String>,
    pub(crate) subnet: Option<String>,
    pub(crate) tags: Tags,
}

impl Client {
    /// The machine with this ID. [`Kind::NotFound`] where EC2 does not know it, in this region and
    /// account.
    pub(crate) async fn own_instance(&self, cx: &Read, id: &str) -> Result<OwnRecord, CloudError> {
        let request = self.sdk()?.ec2.describe_instances().instance_ids(id);
        let answer = read(cx, &DESCRIBE_INSTANCES, request.send()).await?;
        let instance = answer
            .reservations
            .into_iter()
            .flatten()
            .flat_map(|reservation| reservation.instances.unwrap_or_default())
            .find(|instance| instance.instance_id.as_deref() == Some(id));
        let Some(instance) = instance else {
            let message = format!("DescribeInstances knows no instance {id}");
            return Err(CloudError::new(Kind::NotFound, message));
        };
        let tags = instance.tags.unwrap_or_default().into_iter();
        Ok(OwnRecord {
            id: id.to_owned(),
            private_dns_name: instance.private_dns_name.unwrap_or_default(),
            vpc: instance.vpc_id.filter(|vpc| !vpc.is_empty()),
            subnet: instance.subnet_id.filter(|subnet| !subnet.is_empty()),
            tags: tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect(),
        })
    }
}
