//! Provider IDs, in every shape that was ever issued.
//!
//! There is one: `sim://<instance ID>`, for example `sim://i-0000000000000001`. A later shape is
//! added to [`parse`] and never replaces it, because nodes keep theirs for life.

use ccm_core::cloud::{CloudError, Kind, ProviderId};
use simcloud::api::InstanceId;

/// What stands before `://`, and the provider's name.
pub(crate) const SCHEME: &str = "sim";

/// The provider ID of an instance.
pub(crate) fn provider_id(id: &InstanceId) -> Result<ProviderId, CloudError> {
    if !is_instance_id(id.as_str()) {
        let message = format!("the cloud gave an instance the ID {:?}", id.as_str());
        return Err(CloudError::new(Kind::Internal, message));
    }
    let text = format!("{SCHEME}://{id}");
    Ok(ProviderId::try_from(text.as_str()).expect("the scheme is not empty"))
}

/// The instance in a provider ID.
pub(crate) fn parse(id: &ProviderId) -> Result<InstanceId, CloudError> {
    instance_of(id).map(InstanceId::from).ok_or_else(|| {
        let message = format!("provider ID {id:?} is not {SCHEME}://<instance ID>");
        CloudError::new(Kind::InvalidConfiguration, message)
    })
}

/// The instance in a provider ID, as text. `None` where it is none of ours.
pub(crate) fn instance_of(id: &ProviderId) -> Option<&str> {
    id.path_of(SCHEME).filter(|path| is_instance_id(path))
}

/// Whether the text can be the cloud's ID of an instance, and so part of a URL's path.
fn is_instance_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn what_is_issued_can_be_read() {
        let instance = InstanceId::from("i-0000000000000001");
        let id = provider_id(&instance).unwrap();
        assert_eq!(id.as_str(), "sim://i-0000000000000001");
        assert_eq!(parse(&id).unwrap(), instance);
    }

    #[rstest]
    #[case::nothing_behind_the_scheme("sim://")]
    #[case::a_path("sim://zone/i-1")]
    #[case::an_empty_zone("sim:///i-1")]
    #[case::a_way_out_of_the_path("sim://..")]
    #[case::a_query("sim://i-1?x")]
    #[case::a_blank("sim://i-1 ")]
    #[case::no_scheme("i-1")]
    #[case::another_scheme("aws:///eu-west-1a/i-1")]
    #[case::a_longer_scheme("simx://i-1")]
    fn other_shapes_are_the_users_mistake(#[case] text: &str) {
        let err = parse(&ProviderId::try_from(text).unwrap()).unwrap_err();
        assert_eq!(err.kind(), Kind::InvalidConfiguration);
        assert_eq!(err.message(), format!("provider ID {text:?} is not sim://<instance ID>"));
    }

    #[rstest]
    #[case::empty("")]
    #[case::a_path("../tokens")]
    fn an_odd_id_from_the_cloud_is_not_issued(#[case] id: &str) {
        assert_eq!(provider_id(&id.into()).unwrap_err().kind(), Kind::Internal);
    }
}
