//! The client against a peer that speaks bytes, so that everything can go wrong.

use std::net::SocketAddr;

use ccm_conformance::leave;
use ccm_core::cloud::ConfigFile;
use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

fn config(peer: SocketAddr) -> Config {
    let bytes = format!("endpoint: http://{peer}\ntoken: sEcReT-1").into_bytes();
    let file = ConfigFile { path: "sim.yaml".into(), bytes };
    Config::read(Some(&file)).unwrap()
}

fn client(peer: SocketAddr) -> Client {
    Client::new(&config(peer), "test/1").unwrap()
}

const PATIENCE: Duration = Duration::from_secs(30);

/// A peer that answers everything with these bytes and closes. Says what it was first sent.
async fn peer(answer: &'static str) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; 4096];
        let length = stream.read(&mut asked).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.ok();
        String::from_utf8_lossy(&asked[..length]).into_owned()
    });
    (address, task)
}

fn id() -> InstanceId {
    "i-1".into()
}

#[tokio::test]
async fn a_request_bears_the_token_and_names_us() {
    let (address, task) = peer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
    let client = client(address);
    let record = client.get_instance(&leave(PATIENCE), &id()).await.unwrap();
    assert!(record.id.is_none() && record.instance.is_err());
    let asked = task.await.unwrap();
    assert!(asked.starts_with("GET /v1/instances/i-1 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("authorization: Bearer sEcReT-1\r\n"), "{asked}");
    assert!(asked.contains("user-agent: test/1\r\n"), "{asked}");
    assert!(!format!("{client:?}").contains("sEcReT"), "{client:?}");
}

#[rstest]
#[case::nothing("", Kind::Unavailable, "GetInstance was not answered: the connection broke")]
#[case::not_http(
    "220 smtp.example ready\r\n",
    Kind::Unavailable,
    "GetInstance was not answered: the connection broke"
)]
#[case::half_a_body(
    "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"id\":",
    Kind::Unavailable,
    "GetInstance was not answered: the connection broke"
)]
#[case::a_web_page(
    "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>",
    Kind::Internal,
    "the answer to GetInstance makes no sense"
)]
#[case::somebody_elses_404(
    "HTTP/1.1 404 Not Found\r\ncontent-length: 6\r\n\r\n<html>",
    Kind::Internal,
    "GetInstance was answered with HTTP 404"
)]
#[case::a_redirect_is_not_followed(
    "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
    Kind::Internal,
    "GetInstance was answered with HTTP 302"
)]
#[case::a_wait_in_the_header(
    "HTTP/1.1 429 Too Many Requests\r\nretry-after: 3\r\ncontent-length: 0\r\n\r\n",
    Kind::RateLimited { retry_after: Some(Duration::from_secs(3)) },
    "GetInstance was answered with HTTP 429"
)]
#[case::a_date_in_the_header(
    "HTTP/1.1 429 Too Many Requests\r\nretry-after: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
     content-length: 0\r\n\r\n",
    Kind::RateLimited { retry_after: None },
    "GetInstance was answered with HTTP 429"
)]
#[tokio::test]
async fn odd_peers(#[case] answer: &'static str, #[case] kind: Kind, #[case] message: &str) {
    let (address, _task) = peer(answer).await;
    let err = client(address).get_instance(&leave(PATIENCE), &id()).await.unwrap_err();
    assert_eq!((err.kind(), err.message()), (kind, message));
    assert!(!format!("{err:?}").contains("sEcReT"), "{err:?}");
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let err = client(address).get_instance(&leave(PATIENCE), &id()).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Unavailable);
    assert_eq!(err.message(), "GetInstance was not answered: cannot connect");
}

#[rstest]
#[case::no_list("{}")]
#[case::something_else(r#"{"instances": {}}"#)]
#[tokio::test]
async fn an_answer_without_a_list_is_not_an_empty_one(#[case] body: &str) {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (address, _task) = peer(answer.leak()).await;
    let ask = DescribeInstances { ids: vec![id()], names: vec![] };
    let err = client(address).describe_instances(&leave(PATIENCE), &ask).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Internal);
    assert_eq!(err.message(), "the answer to DescribeInstances makes no sense");
}

#[tokio::test]
async fn a_cloud_that_does_not_know_the_call_says_nothing_about_instances() {
    let answer = "HTTP/1.1 404 Not Found\r\ncontent-length: 67\r\n\r\n\
                  {\"error\":{\"code\":\"not_found\",\"message\":\"there is nothing at this path\"}}";
    let (address, _task) = peer(answer).await;
    let ask = DescribeInstances { ids: vec![id()], names: vec![] };
    let err = client(address).describe_instances(&leave(PATIENCE), &ask).await.unwrap_err();
    assert_eq!(err.kind(), Kind::Internal);
}

#[test]
fn authorities_that_are_none_are_a_mistake_in_the_configuration() {
    let pem = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let authorities = Authorities::from_pem(pem);
    assert!(authorities.is_some());
    let config = Config { authorities, ..config(([127, 0, 0, 1], 1).into()) };
    let err = Client::new(&config, "test/1").unwrap_err();
    assert_eq!(
        err.to_string(),
        "--cloud-config, key \"caFile\": cannot set up TLS: builder error: invalid peer \
         certificate: BadEncoding"
    );
}
