//! `DescribeInstanceTopology`: where in the network an instance is.

use std::collections::BTreeMap;

use aws_sdk_ec2::operation::describe_instance_topology::DescribeInstanceTopologyError;
use ccm_core::cloud::{CloudError, Read};

use super::some;
use crate::actions::DESCRIBE_INSTANCE_TOPOLOGY;
use crate::client::pages::pages;
use crate::client::{Client, read};
use crate::error::code;

/// Instances in one question:
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceTopology.html>.
pub(crate) const MOST_INSTANCES: usize = 100;

/// What there is to know of instances' places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Places {
    /// The network nodes above each, the outermost first. An instance of a type without such an
    /// answer is left out.
    Known(BTreeMap<String, Vec<String>>),
    /// The region does not offer it.
    NotOffered,
    /// The credentials lack this very right.
    NotAllowed,
}

impl Client {
    /// Where these instances are in the network.
    pub(crate) async fn topology(&self, cx: &Read, ids: &[String]) -> Result<Places, CloudError> {
        let ec2 = &self.sdk()?.ec2;
        let known = pages(|page| async {
            // A page size is refused beside IDs.
            let ask = ec2
                .describe_instance_topology()
                .set_instance_ids(Some(ids.to_vec()))
                .set_next_token(page);
            let answer = read(cx, &DESCRIBE_INSTANCE_TOPOLOGY, ask.send()).await?;
            let known = answer.instances().iter();
            let known =
                known.filter_map(|it| Some((some(it.instance_id())?, it.network_nodes().to_vec())));
            Ok((known.collect(), answer.next_token))
        });
        match known.await {
            Ok(known) => Ok(Places::Known(known.into_iter().collect())),
            // By their codes: credentials that have expired are denied too, and say nothing.
            Err(err) => match code::<DescribeInstanceTopologyError>(&err) {
                Some("UnsupportedOperation") => Ok(Places::NotOffered),
                Some("UnauthorizedOperation") => Ok(Places::NotAllowed),
                _ => Err(err),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_credential_types::Credentials;
    use aws_credential_types::provider::SharedCredentialsProvider;
    use ccm_conformance::leave;
    use ccm_core::cloud::{ConfigFile, Kind};
    use rstest::rstest;

    use super::*;
    use crate::client::Sdk;
    use crate::client::imds::Imds;
    use crate::client::loopback::{Answer, Fake};
    use crate::config::Config;

    /// What is made of a refusal with this code.
    async fn refused(code: &'static str) -> Result<Places, CloudError> {
        let ec2 = Fake::new(move |_| {
            let said = format!(
                "<Response><Errors><Error><Code>{code}</Code><Message>no</Message></Error>\
                 </Errors><RequestID>1</RequestID></Response>"
            );
            Answer::refused(400, &said)
        })
        .await;
        let config = format!(
            "[ServiceOverride \"1\"]\nService = EC2\nRegion = eu-west-1\nURL = {}\n\
             SigningRegion = eu-west-1\n",
            ec2.url()
        );
        let file = ConfigFile { path: "aws.conf".into(), bytes: config.into_bytes() };
        let config = Config::read(Some(&file)).unwrap();
        let keys = Credentials::new("AKIA", "sEcReT", None, None, "test");
        let base = Some(SharedCredentialsProvider::new(keys));
        let imds = Imds::new(&config).unwrap();
        let client = Client::default();
        client.connect(Box::pin(Sdk::new(&config, "eu-west-1", "ccm", &imds, base)).await.unwrap());
        client.topology(&leave(Duration::from_secs(30)), &["i-1".to_owned()]).await
    }

    /// Only two codes say that there will be no answer to anybody; others are denied as well.
    #[rstest]
    #[case::not_offered("UnsupportedOperation", Ok(Places::NotOffered))]
    #[case::no_right("UnauthorizedOperation", Ok(Places::NotAllowed))]
    #[case::credentials_that_have_expired("RequestExpired", Err(Kind::PermissionDenied))]
    #[case::a_clock_that_is_wrong("SignatureDoesNotMatch", Err(Kind::PermissionDenied))]
    #[case::away("Unavailable", Err(Kind::Unavailable))]
    #[tokio::test]
    async fn refusals(#[case] code: &'static str, #[case] want: Result<Places, Kind>) {
        assert_eq!(refused(code).await.map_err(|err| err.kind()), want);
    }
}
