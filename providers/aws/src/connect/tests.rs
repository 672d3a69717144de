//! The SDK against small fakes on the loopback interface: what is asked, and what is made of it.

use std::future::ready;
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use aws_credential_types::credential_fn::provide_credentials_fn;
use aws_credential_types::provider::error::CredentialsError;
use ccm_conformance::leave;
use ccm_core::cloud::ConfigFile;
use rstest::rstest;

use super::*;
use crate::client::Client;
use crate::client::loopback::{Answer, Asked, Fake};

const PATIENCE: Duration = Duration::from_secs(30);

const DOCUMENT: &str =
    r#"{"accountId": "123456789012", "region": "eu-west-1", "instanceId": "i-0ab"}"#;

/// An instance with these tags.
fn described(tags: &[(&str, &str)]) -> String {
    let tags: Vec<_> = tags
        .iter()
        .map(|(key, value)| format!("<item><key>{key}</key><value>{value}</value></item>"))
        .collect();
    let tags = tags.concat();
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
  <requestId>1</requestId>
  <reservationSet><item><reservationId>r-1</reservationId><instancesSet><item>
    <instanceId>i-0ab</instanceId><privateDnsName>ip-10-0-0-1.eu-west-1.compute.internal</privateDnsName>
    <vpcId>vpc-1</vpcId><subnetId>subnet-1</subnetId><tagSet>{tags}</tagSet>
  </item></instancesSet></item></reservationSet>
</DescribeInstancesResponse>"#
    )
}

const ASSUMED: &str = r#"<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleResult>
    <AssumedRoleUser>
      <AssumedRoleId>AROA:x</AssumedRoleId><Arn>arn:aws:sts::210987654321:assumed-role/r/x</Arn>
    </AssumedRoleUser>
    <Credentials>
      <AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>sEcReT-role</SecretAccessKey>
      <SessionToken>sEcReT-token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>
    </Credentials>
  </AssumeRoleResult>
</AssumeRoleResponse>"#;

/// The metadata of an instance in eu-west-1.
fn metadata(asked: &Asked) -> Answer {
    match (asked.method.as_str(), asked.path.as_str()) {
        ("PUT", "/latest/api/token") => {
            Answer::ok("t0ken").with("x-aws-ec2-metadata-token-ttl-seconds", "21600")
        }
        ("GET", _) if asked.header("x-aws-ec2-metadata-token") != Some("t0ken") => {
            Answer::status(401)
        }
        ("GET", "/latest/dynamic/instance-identity/document") => Answer::ok(DOCUMENT),
        ("GET", "/latest/meta-data/instance-id") => Answer::ok("i-0ab"),
        ("GET", "/latest/meta-data/iam/security-credentials/") => Answer::ok("nodes"),
        ("GET", "/latest/meta-data/iam/security-credentials/nodes") => Answer::ok(
            r#"{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIAINSTANCE",
                "SecretAccessKey": "sEcReT-instance", "Token": "sEcReT-token",
                "LastUpdated": "2026-01-01T00:00:00Z", "Expiration": "2099-01-01T00:00:00Z"}"#,
        ),
        _ => Answer::status(404),
    }
}

/// A section of the configuration.
fn endpoint(service: &str, fake: &Fake) -> String {
    format!(
        "[ServiceOverride \"{service}\"]\nService = {service}\nRegion = eu-west-1\nURL = {}\n\
         SigningRegion = eu-central-1\nSigningName = my-{service}\n",
        fake.url()
    )
}

fn ground(config: &str) -> Ground {
    let file = ConfigFile { path: "aws.conf".into(), bytes: config.as_bytes().to_vec() };
    Ground {
        client: Client::default(),
        config: Config::read(Some(&file)).unwrap(),
        cluster_name: "kubernetes".into(),
        cluster_cidrs: Vec::new(),
        user_agent: "cloud-controller-manager/v0.1.0 (linux/x86_64) ccm-rs".to_owned(),
        home: OnceLock::new(),
    }
}

/// Credentials that nobody has to look for.
fn base() -> SharedCredentialsProvider {
    let keys = Credentials::new("AKIABASE", "sEcReT-base", None, None, "test");
    SharedCredentialsProvider::new(keys)
}

async fn connected(ground: &Ground) -> Result<(), CloudError> {
    Box::pin(connect_as(ground, &leave(PATIENCE), Some(base()))).await
}

fn home_in_eu_west_1(cluster: Cluster) -> Home {
    Home {
        region: "eu-west-1".to_owned(),
        vpc: "vpc-1".to_owned(),
        subnet: Some("subnet-1".to_owned()),
        own: Some(OwnInstance {
            id: "i-0ab".to_owned(),
            private_dns_name: "ip-10-0-0-1.eu-west-1.compute.internal".to_owned(),
        }),
        cluster,
    }
}

#[tokio::test]
async fn the_machine_says_all() {
    let imds = Fake::new(metadata).await;
    let tags = described(&[("kubernetes.io/cluster/blue", "owned"), ("Name", "cp-1")]);
    let ec2 = Fake::new(move |_| Answer::ok(&tags)).await;
    let ground = ground(&(endpoint("ec2imds", &imds) + &endpoint("EC2", &ec2)));

    connected(&ground).await.unwrap();
    connected(&ground).await.unwrap();

    let cluster = Cluster { id: "blue".to_owned(), legacy: false };
    assert_eq!(ground.home().unwrap(), &home_in_eu_west_1(cluster));
    // One token for all, and nothing twice. Without a token nothing is asked: there is no IMDSv1.
    let asked: Vec<_> = imds.asked().into_iter().map(|asked| asked.path).collect();
    let wanted = [
        "/latest/api/token",
        "/latest/dynamic/instance-identity/document",
        "/latest/meta-data/instance-id",
    ];
    assert_eq!(asked, wanted);
    let [asked] = &ec2.asked()[..] else { panic!("{:?}", ec2.asked()) };
    assert!(asked.body.contains("Action=DescribeInstances"), "{}", asked.body);
    assert!(asked.body.contains("InstanceId.1=i-0ab"), "{}", asked.body);
    let signed = asked.header("authorization").unwrap();
    assert!(signed.contains("Credential=AKIABASE/"), "{signed}");
    assert!(signed.contains("/eu-central-1/my-EC2/aws4_request"), "{signed}");
    let agent = asked.header("user-agent").unwrap();
    assert!(agent.contains("lib/cloud-controller-manager/v0.1.0"), "{agent}");
    assert!(!format!("{ground:?}").contains("sEcReT"), "{ground:?}");
}

#[tokio::test]
async fn a_service_is_signed_for_by_its_own_name_where_no_other_is_given() {
    let ec2 = Fake::new(|_| Answer::ok(&described(&[]))).await;
    let imds = Fake::new(metadata).await;
    let config = endpoint("ec2imds", &imds)
        + &endpoint("EC2", &ec2).replace("SigningName = my-EC2", "")
        + "[Global]\nKubernetesClusterID = blue\n";
    let ground = ground(&config);
    connected(&ground).await.unwrap();
    let asked = ec2.asked();
    let signed = asked[0].header("authorization").unwrap();
    assert!(signed.contains("/eu-central-1/ec2/aws4_request"), "{signed}");
}

#[tokio::test]
async fn a_path_in_the_url_stays_in_front() {
    let ec2 = Fake::new(|_| Answer::ok(&described(&[]))).await;
    let imds = Fake::new(metadata).await;
    let url = ec2.url();
    let config = endpoint("ec2imds", &imds)
        + &endpoint("EC2", &ec2).replace(&url, &format!("{url}/aws/ec2/"))
        + "[Global]\nKubernetesClusterID = blue\n";
    connected(&ground(&config)).await.unwrap();
    assert_eq!(ec2.asked()[0].path, "/aws/ec2/");
}

#[tokio::test]
async fn without_a_document_the_placement_is_asked() {
    let imds = Fake::new(|asked| match asked.path.as_str() {
        "/latest/dynamic/instance-identity/document" => Answer::status(404),
        "/latest/meta-data/placement/region" => Answer::ok("eu-west-1"),
        _ => metadata(asked),
    })
    .await;
    let tags = described(&[("KubernetesCluster", "blue")]);
    let ec2 = Fake::new(move |_| Answer::ok(&tags)).await;
    let ground = ground(&(endpoint("ec2imds", &imds) + &endpoint("EC2", &ec2)));
    connected(&ground).await.unwrap();
    let cluster = Cluster { id: "blue".to_owned(), legacy: true };
    assert_eq!(ground.home().unwrap(), &home_in_eu_west_1(cluster));
}

#[tokio::test]
async fn where_all_is_configured_nobody_is_asked() {
    let nobody = Fake::new(|_| Answer::status(500)).await;
    let config = endpoint("ec2imds", &nobody)
        + &endpoint("EC2", &nobody)
        + "[Global]\nZone = eu-west-1a\nVPC = vpc-9\nSubnetID = subnet-9\nKubernetesClusterTag = blue\n";
    let ground = ground(&config);
    connected(&ground).await.unwrap();
    let wanted = Home {
        region: "eu-west-1".to_owned(),
        vpc: "vpc-9".to_owned(),
        subnet: Some("subnet-9".to_owned()),
        own: None,
        cluster: Cluster { id: "blue".to_owned(), legacy: true },
    };
    assert_eq!(ground.home().unwrap(), &wanted);
    assert_eq!(nobody.asked(), []);
    ground.client.sdk().unwrap();
}

#[tokio::test]
async fn the_vpc_alone_does_not_replace_the_machine() {
    let imds = Fake::new(metadata).await;
    let ec2 = Fake::new(|_| Answer::ok(&described(&[]))).await;
    let config = endpoint("ec2imds", &imds)
        + &endpoint("EC2", &ec2)
        + "[Global]\nRegion = eu-west-1\nVPC = vpc-9\nKubernetesClusterID = blue\n";
    let ground = ground(&config);
    connected(&ground).await.unwrap();
    assert_eq!(ground.home().unwrap().vpc, "vpc-1");
    let asked = imds.asked();
    assert!(asked.iter().all(|asked| !asked.path.contains("document")), "{asked:?}");
}

/// What comes of an instance metadata service that answers so.
async fn failure(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> (Fake, CloudError) {
    let imds = Fake::new(answer).await;
    let err = connected(&ground(&endpoint("ec2imds", &imds))).await.unwrap_err();
    (imds, err)
}

#[tokio::test]
async fn metadata_that_hang_are_not_waited_for() {
    let begun = Instant::now();
    let (_, err) = failure(|_| Answer::never()).await;
    // Two attempts, of two seconds each; nobody else's patience.
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    assert_eq!(err.kind(), Kind::Unavailable);
    let said = err.to_string();
    assert!(said.contains("the region is not known"), "{said}");
    assert!(said.contains("give Region or Zone in [Global] of --cloud-config"), "{said}");
}

#[tokio::test]
async fn where_there_are_no_metadata() {
    let imds = Fake::new(metadata).await;
    let config = endpoint("ec2imds", &imds) + "[Global]\nRegion = eu-west-1\n";
    drop(imds);
    let err = connected(&ground(&config)).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Unavailable);
    let said = err.to_string();
    assert!(said.contains("the own instance is not known"), "{said}");
    assert!(
        said.contains("give VPC, KubernetesClusterID and one of SubnetID and RoleARN"),
        "{said}"
    );
    assert!(said.contains("the instance's hop limit must be 2 or more; or where"), "{said}");
}

#[tokio::test]
async fn metadata_of_something_that_is_no_instance() {
    let (_, err) = failure(|asked| match asked.path.as_str() {
        "/latest/meta-data/instance-id" => Answer::status(404),
        _ => metadata(asked),
    })
    .await;
    assert_eq!(err.kind(), Kind::InvalidConfiguration);
    let said = err.to_string();
    assert!(said.contains("imds:instance-id was answered with HTTP 404"), "{said}");
    assert!(said.contains("give VPC, KubernetesClusterID and one of"), "{said}");
    assert!(!said.contains("hop limit"), "{said}");
}

/// Neither with an older service nor when it is switched off is anything asked without a token.
#[rstest]
#[case::switched_off(403)]
#[case::version_1(405)]
#[case::not_there(404)]
#[tokio::test]
async fn without_a_token_nothing_is_asked(#[case] status: u16) {
    let (imds, err) = failure(move |asked| match asked.method.as_str() {
        "PUT" => Answer::status(status),
        _ => Answer::ok(DOCUMENT),
    })
    .await;
    assert!(err.to_string().contains("no token of IMDSv2 could be had"), "{err}");
    assert!(imds.asked().iter().all(|asked| asked.method == "PUT"), "{:?}", imds.asked());
}

const NOT_FOUND: &str = "<Response><Errors><Error><Code>InvalidInstanceID.NotFound</Code>\
                         <Message>The instance ID 'i-0ab' does not exist</Message></Error></Errors>\
                         <RequestID>1</RequestID></Response>";

#[tokio::test]
async fn a_machine_of_another_account() {
    let imds = Fake::new(metadata).await;
    let ec2 = Fake::new(|_| Answer::refused(400, NOT_FOUND)).await;
    let ground = ground(&(endpoint("ec2imds", &imds) + &endpoint("EC2", &ec2)));
    let err = connected(&ground).await.unwrap_err();
    assert_eq!(err.kind(), Kind::InvalidConfiguration);
    let said = err.to_string();
    assert!(
        said.contains("the instance i-0ab that this process runs on is not in region eu-west-1"),
        "{said}"
    );
    assert!(ground.home().is_err());
    assert_eq!(ec2.asked().len(), 1, "it is not tried again here");
}

const ROLE: &str = "[Global]\nKubernetesClusterID = blue\n\
                    RoleARN = arn:aws:iam::210987654321:role/ccm\n";

#[rstest]
#[case::without_source("", None)]
#[case::with_source(
    "SourceARN = arn:aws:eks:eu-west-1:1:cluster/blue\n",
    Some("arn:aws:eks:eu-west-1:1:cluster/blue")
)]
#[tokio::test]
async fn a_role_is_assumed_once_for_all(#[case] more: &str, #[case] source: Option<&str>) {
    let imds = Fake::new(metadata).await;
    let sts = Fake::new(|_| Answer::ok(ASSUMED)).await;
    let aws = Fake::new(|_| Answer::ok(&described(&[]))).await;
    let config = endpoint("ec2imds", &imds)
        + &endpoint("STS", &sts)
        + &endpoint("EC2", &aws)
        + &endpoint("elasticloadbalancing", &aws)
        + ROLE
        + more;
    let ground = ground(&config);
    connected(&ground).await.unwrap();
    // What they answer does not matter here.
    let sdk = ground.client.sdk().unwrap();
    let _ = sdk.elb.describe_load_balancers().send().await;
    let _ = sdk.elbv2.describe_load_balancers().send().await;

    let [asked] = &sts.asked()[..] else { panic!("{:?}", sts.asked()) };
    assert!(asked.body.contains("Action=AssumeRole"), "{}", asked.body);
    assert!(
        asked.body.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A210987654321%3Arole%2Fccm"),
        "{}",
        asked.body
    );
    assert_eq!(asked.header("x-amz-source-account"), Some("210987654321"));
    assert_eq!(asked.header("x-amz-source-arn"), source);
    let signed = asked.header("authorization").unwrap();
    assert!(signed.contains("Credential=AKIABASE/"), "{signed}");
    assert!(signed.contains("x-amz-source-account"), "the header is signed too: {signed}");

    let asked = aws.asked();
    let names: Vec<_> = asked
        .iter()
        .map(|asked| asked.header("authorization").unwrap())
        .map(|signed| {
            assert!(signed.contains("Credential=ASIAROLE/"), "{signed}");
            signed.split('/').nth(3).unwrap()
        })
        .collect();
    assert_eq!(names, ["my-EC2", "my-elasticloadbalancing", "my-elasticloadbalancing"]);
    assert!(!format!("{ground:?}").contains("sEcReT"), "{ground:?}");
}

#[tokio::test]
async fn a_role_that_is_refused() {
    let imds = Fake::new(metadata).await;
    let refusal = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
                   <Message>not you</Message></Error></ErrorResponse>";
    let sts = Fake::new(|_| Answer::refused(403, refusal)).await;
    let config = endpoint("ec2imds", &imds) + &endpoint("STS", &sts) + ROLE;
    let err = connected(&ground(&config)).await.unwrap_err();
    assert_eq!(err.kind(), Kind::PermissionDenied);
    let wanted = "DescribeInstances was not sent: AssumeRole was refused: AccessDenied: not you";
    assert_eq!(err.to_string(), wanted);
}

/// The commonest mistakes with roles for service accounts.
#[rstest]
#[case::not_trusted("AccessDenied", "PermissionDenied")]
#[case::another_issuer("InvalidIdentityToken", "PermissionDenied")]
#[case::away("IDPCommunicationError", "CloudUnavailable")]
#[tokio::test]
async fn a_web_identity_that_is_refused(#[case] code: &'static str, #[case] reason: &str) {
    let sts = Fake::new(move |asked| {
        assert!(asked.body.contains("Action=AssumeRoleWithWebIdentity"), "{}", asked.body);
        let said = format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>not \
             you</Message></Error></ErrorResponse>"
        );
        Answer::refused(400, &said)
    })
    .await;
    let imds = Fake::new(metadata).await;
    let url = sts.url();
    let token = std::env::temp_dir().join(format!("ccm-rs-token-{}-{code}", std::process::id()));
    std::fs::write(&token, "t0ken").unwrap();
    let wanted = format!(
        "{reason}: DescribeInstances was not sent: AssumeRoleWithWebIdentity was refused: {code}: \
         not you"
    );
    let environment = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::210987654321:role/ccm"),
        ("AWS_ENDPOINT_URL_STS", &url),
        (REFUSED, &wanted),
    ];
    connect_in(&environment, &(endpoint("ec2imds", &imds) + CLUSTER)).await;
    std::fs::remove_file(token).unwrap();
}

#[rstest]
#[case::nobody_has_any(
    CredentialsError::not_loaded("no"),
    Kind::PermissionDenied,
    "DescribeInstances was not sent: there are no credentials, neither in the environment nor in \
     files nor of the container or the instance (whose metadata a pod without the host's network \
     only reaches with a hop limit of 2)"
)]
#[case::a_profile_that_makes_no_sense(
    CredentialsError::invalid_configuration("no"),
    Kind::PermissionDenied,
    "DescribeInstances was not sent: the configured credentials cannot be used"
)]
#[case::nobody_answers(
    CredentialsError::provider_timed_out(Duration::from_secs(1)),
    Kind::Unavailable,
    "DescribeInstances was not sent: no credentials could be had"
)]
#[tokio::test]
async fn without_credentials(
    #[case] why: CredentialsError,
    #[case] kind: Kind,
    #[case] message: &str,
) {
    let imds = Fake::new(metadata).await;
    let ec2 = Fake::new(|_| Answer::status(500)).await;
    let ground = ground(&(endpoint("ec2imds", &imds) + &endpoint("EC2", &ec2)));
    let why = Mutex::new(Some(why));
    let base = provide_credentials_fn(move || ready(Err(why.lock().unwrap().take().unwrap())));
    let base = Some(SharedCredentialsProvider::new(base));
    let err = connect_as(&ground, &leave(PATIENCE), base).await.unwrap_err();
    assert_eq!((err.kind(), err.message()), (kind, message));
    assert_eq!(ec2.asked(), []);
}

/// Where a process of its own finds its configuration.
const CONFIG: &str = "CCM_TEST_CONFIG";

/// Where it finds what it is to fail with, if it is to fail.
const REFUSED: &str = "CCM_TEST_REFUSED";

/// Connects in a process that has this environment and no other.
async fn connect_in(environment: &[(&str, &str)], config: &str) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "connect::tests::in_a_process_of_its_own", "--ignored"])
        .env_clear()
        .envs([("HOME", "/nonexistent"), (CONFIG, config)])
        .envs(environment.iter().copied());
    let ended = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "run by other tests, in an environment"]
async fn in_a_process_of_its_own() {
    let Ok(config) = std::env::var(CONFIG) else { return };
    let connected = connect(&ground(&config), &leave(PATIENCE)).await;
    match std::env::var(REFUSED) {
        Ok(wanted) => {
            let err = connected.unwrap_err();
            assert_eq!(format!("{}: {err}", err.kind().reason()), wanted);
        }
        Err(_) => connected.unwrap(),
    }
}

/// The ID of the key with which the first request was signed.
fn signer(fake: &Fake) -> String {
    let asked = fake.asked();
    let signed = asked[0].header("authorization").unwrap();
    let (_, from) = signed.split_once("Credential=").unwrap();
    from.split('/').next().unwrap().to_owned()
}

const CLUSTER: &str = "[Global]\nKubernetesClusterID = blue\n";
const KEYS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "AKIAENV"), ("AWS_SECRET_ACCESS_KEY", "sEcReT-env")];

#[tokio::test]
async fn the_credentials_of_the_instance_come_from_the_configured_endpoint() {
    let imds = Fake::new(metadata).await;
    let ec2 = Fake::new(|_| Answer::ok(&described(&[]))).await;
    let config = endpoint("ec2imds", &imds) + &endpoint("EC2", &ec2) + CLUSTER;
    connect_in(&[], &config).await;
    let asked = ec2.asked();
    let signed = asked[0].header("authorization").unwrap();
    assert!(signed.contains("Credential=ASIAINSTANCE/"), "{signed}");
}

/// A role for a service account: the token file is handed to STS, whose answer signs what is asked.
#[tokio::test]
async fn a_web_identity_that_is_accepted() {
    let assumed = ASSUMED
        .replace("AssumeRoleRe", "AssumeRoleWithWebIdentityRe")
        .replace("ASIAROLE", "ASIAWEB");
    let sts = Fake::new(move |_| Answer::ok(&assumed)).await;
    let imds = Fake::new(metadata).await;
    let ec2 = Fake::new(|_| Answer::ok(&described(&[]))).await;
    let url = sts.url();
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&token, "t0ken").unwrap();
    let environment = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.path().to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::210987654321:role/ccm"),
        ("AWS_ENDPOINT_URL_STS", &url),
    ];
    let config = endpoint("ec2imds", &imds) + &endpoint("EC2", &ec2) + CLUSTER;
    connect_in(&environment, &config).await;

    let [asked] = &sts.asked()[..] else { panic!("{:?}", sts.asked()) };
    for part in [
        "Action=AssumeRoleWithWebIdentity",
        "WebIdentityToken=t0ken",
        "RoleArn=arn%3Aaws%3Aiam%3A%3A210987654321%3Arole%2Fccm",
    ] {
        assert!(asked.body.contains(part), "{}", asked.body);
    }
    assert_eq!(asked.header("authorization"), None, "the token is what it is known by");
    assert_eq!(signer(&ec2), "ASIAWEB");
    let asked: Vec<_> = imds.asked().into_iter().map(|asked| asked.path).collect();
    assert!(!asked.iter().any(|path| path.contains("security-credentials")), "{asked:?}");
}

/// Of the agent of EKS Pod Identity, whose token is in a file, and of ECS, which takes it from the environment.
#[rstest]
#[case::in_a_file(true)]
#[case::in_the_environment(false)]
#[tokio::test]
async fn the_credentials_of_the_container(#[case] in_a_file: bool) {
    let agent = Fake::new(|asked| match (asked.path.as_str(), asked.header("authorization")) {
        ("/v1/credentials", Some("t0ken")) => Answer::ok(
            r#"{"AccessKeyId": "ASIAPOD", "SecretAccessKey": "sEcReT-pod", "Token": "sEcReT-token",
                    "AccountId": "123456789012", "Expiration": "2099-01-01T00:00:00Z"}"#,
        ),
        _ => Answer::status(400),
    })
    .await;
    let imds = Fake::new(metadata).await;
    let ec2 = Fake::new(|_| Answer::ok(&described(&[]))).await;
    let url = format!("{}/v1/credentials", agent.url());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "t0ken").unwrap();
    let token = if in_a_file {
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.path().to_str().unwrap())
    } else {
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "t0ken")
    };
    let config = endpoint("ec2imds", &imds) + &endpoint("EC2", &ec2) + CLUSTER;
    connect_in(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url), token], &config).await;
    assert_eq!(signer(&ec2), "ASIAPOD");
}

#[rstest]
#[case::for_all("AWS_ENDPOINT_URL")]
#[case::for_one("AWS_ENDPOINT_URL_EC2")]
#[tokio::test]
async fn endpoints_of_the_environment(#[case] variable: &str) {
    let imds = Fake::new(metadata).await;
    let ec2 = Fake::new(|_| Answer::ok(&described(&[]))).await;
    let (imds_url, ec2_url) = (imds.url(), ec2.url());
    let [id, key] = KEYS;
    let metadata = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds_url.as_str());
    connect_in(&[id, key, metadata, (variable, &ec2_url)], CLUSTER).await;
    let asked = ec2.asked();
    let signed = asked[0].header("authorization").unwrap();
    assert!(signed.contains("Credential=AKIAENV/"), "{signed}");
    assert!(signed.contains("/eu-west-1/ec2/aws4_request"), "{signed}");
    assert_eq!(imds.asked().len(), 3, "{:?}", imds.asked());
}

/// The metadata are asked directly, and AWS through the proxy.
#[tokio::test]
async fn a_proxy_of_the_environment() {
    let imds = Fake::new(metadata).await;
    let proxy = Fake::new(|_| Answer::ok(&described(&[]))).await;
    let url = proxy.url();
    let ec2 = endpoint("EC2", &proxy).replace(&url, "http://ec2.example");
    let config = endpoint("ec2imds", &imds) + &ec2 + CLUSTER;
    connect_in(&[("HTTP_PROXY", &url)], &config).await;
    let asked = proxy.asked();
    let [asked] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "http://ec2.example/"));
    let signed = asked.header("authorization").unwrap();
    assert!(signed.contains("Credential=ASIAINSTANCE/"), "{signed}");
}

/// Whom the machine trusts does not count beside it.
#[rstest]
#[case::that_of_the_endpoint(true)]
#[case::another(false)]
#[tokio::test]
async fn a_bundle_of_certificates_of_the_environment(#[case] is_trusted: bool) {
    let imds = Fake::new(metadata).await;
    let (ec2, own) = Fake::with_tls(|_| Answer::ok(&described(&[]))).await;
    let (_, others) = Fake::with_tls(|_| Answer::status(500)).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    // Several are one behind the other.
    let bundle = if is_trusted { format!("{others}{own}") } else { others };
    std::fs::write(file.path(), bundle).unwrap();
    let config = endpoint("ec2imds", &imds) + &endpoint("EC2", &ec2) + CLUSTER;
    let mut environment = vec![("AWS_CA_BUNDLE", file.path().to_str().unwrap())];
    if !is_trusted {
        environment.push((
            REFUSED,
            "CloudUnavailable: DescribeInstances was not answered: cannot connect, or the connection \
             broke: invalid peer certificate: BadSignature",
        ));
    }
    connect_in(&environment, &config).await;
    assert_eq!(ec2.asked().len(), usize::from(is_trusted));
}

#[tokio::test]
async fn a_bundle_of_certificates_that_is_not_there() {
    let imds = Fake::new(metadata).await;
    let wanted = "InvalidConfiguration: AWS_CA_BUNDLE=/nonexistent/ca.pem: a file with certificates \
                  in PEM is accepted: No such file or directory (os error 2)";
    let environment = [("AWS_CA_BUNDLE", "/nonexistent/ca.pem"), (REFUSED, wanted)];
    connect_in(&environment, &(endpoint("ec2imds", &imds) + CLUSTER)).await;
}

#[rstest]
#[case::newer(&[("kubernetes.io/cluster/a", "owned")], Ok(("a", false)))]
#[case::shared(&[("kubernetes.io/cluster/a", "shared")], Ok(("a", false)))]
#[case::older(&[("KubernetesCluster", "a")], Ok(("a", true)))]
#[case::both(&[("kubernetes.io/cluster/a", "owned"), ("KubernetesCluster", "a")], Ok(("a", true)))]
#[case::none(&[("Name", "a"), ("kubernetes.io/cluster/", "owned"), ("KubernetesCluster", "")], Err("the instance i-0ab has no tag kubernetes.io/cluster/<id>"))]
#[case::two(&[("kubernetes.io/cluster/a", ""), ("kubernetes.io/cluster/b", "")], Err("has the tags kubernetes.io/cluster/a, kubernetes.io/cluster/b"))]
#[case::differ(&[("kubernetes.io/cluster/a", ""), ("KubernetesCluster", "b")], Err("has the tags kubernetes.io/cluster/a and KubernetesCluster=b"))]
fn the_cluster_by_tags(#[case] tags: &[(&str, &str)], #[case] wanted: Result<(&str, bool), &str>) {
    let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let own = Machine { id: "i-0ab".to_owned(), tags, ..Machine::default() };
    match (cluster(&own), wanted) {
        (Ok(cluster), Ok((id, legacy))) => {
            assert_eq!(cluster, Cluster { id: id.to_owned(), legacy });
        }
        (Err(err), Err(why)) => {
            assert_eq!(err.kind(), Kind::InvalidConfiguration);
            assert!(err.to_string().contains(why), "{err}");
            assert!(err.to_string().contains("KubernetesClusterID"), "{err}");
        }
        (found, _) => panic!("{found:?}"),
    }
}

const TOKEN: (&str, &str) = ("AWS_WEB_IDENTITY_TOKEN_FILE", "token");
const ROLE_ARN: (&str, &str) = ("AWS_ROLE_ARN", "arn:aws:iam::210987654321:role/ccm");
const FILE: (&str, &str) = ("AWS_SHARED_CREDENTIALS_FILE", "credentials");

/// Whom a process asks first: seen by a proxy, which lets nothing through.
#[rstest]
#[case::ec2("eu-west-1", &KEYS, "ec2.eu-west-1.amazonaws.com")]
#[case::another_partition("cn-north-1", &KEYS, "ec2.cn-north-1.amazonaws.com.cn")]
#[case::files("eu-west-1", &[FILE], "ec2.eu-west-1.amazonaws.com")]
#[case::web_identity("eu-west-1", &[TOKEN, ROLE_ARN], "sts.eu-west-1.amazonaws.com")]
#[case::web_identity_before_files(
    "eu-west-1",
    &[FILE, TOKEN, ROLE_ARN],
    "sts.eu-west-1.amazonaws.com"
)]
#[case::keys_before_web_identity(
    "eu-west-1",
    &[TOKEN, ROLE_ARN, KEYS[0], KEYS[1]],
    "ec2.eu-west-1.amazonaws.com"
)]
#[case::fips(
    "us-east-1",
    &[TOKEN, ROLE_ARN, ("AWS_USE_FIPS_ENDPOINT", "true")],
    "sts-fips.us-east-1.amazonaws.com"
)]
#[case::dual_stack(
    "us-east-1",
    &[TOKEN, ROLE_ARN, ("AWS_USE_DUALSTACK_ENDPOINT", "true")],
    "sts.us-east-1.api.aws"
)]
#[tokio::test]
async fn endpoints_of_aws(
    #[case] region: &str,
    #[case] environment: &[(&str, &str)],
    #[case] host: &str,
) {
    let imds = Fake::new(metadata).await;
    let proxy = Fake::new(|_| Answer::status(403)).await;
    let directory = std::env::temp_dir().join(format!("ccm-rs-{}-{host}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("token"), "t0ken").unwrap();
    let file = "[default]\naws_access_key_id = AKIAFILE\naws_secret_access_key = sEcReT-file\n";
    std::fs::write(directory.join("credentials"), file).unwrap();
    let url = proxy.url();
    let wanted = if host.starts_with("sts") {
        "CloudUnavailable: DescribeInstances was not sent: no credentials could be had"
    } else {
        "CloudUnavailable: DescribeInstances was not answered: cannot connect, or the connection \
         broke"
    };
    let full = |(variable, value): &(&str, &str)| {
        let path = directory.join(value);
        let is_file = path.exists();
        let value = if is_file { path.to_str().unwrap() } else { value };
        ((*variable).to_owned(), value.to_owned())
    };
    let mut given: Vec<_> = environment.iter().map(full).collect();
    given.extend([("HTTPS_PROXY", url.as_str()), (REFUSED, wanted)].iter().map(full));
    let given: Vec<_> = given.iter().map(|(variable, value)| (&**variable, &**value)).collect();
    let config = format!("{}{CLUSTER}Region = {region}\n", endpoint("ec2imds", &imds));
    connect_in(&given, &config).await;
    let asked = proxy.asked();
    let first = (asked[0].method.as_str(), asked[0].path.as_str());
    assert_eq!(first, ("CONNECT", &*format!("{host}:443")));
}
