//! A client of the HTTPS endpoints.

use std::time::Duration;

/// What an endpoint answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The text.
    pub body: String,
}

/// Asks the endpoint on this port of this machine, whatever its certificate says.
pub async fn get(port: u16, path: &str) -> reqwest::Result<Answer> {
    let client = reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .no_proxy()
        .timeout(Duration::from_secs(5))
        .build()?;
    let answer = client.get(format!("https://127.0.0.1:{port}{path}")).send().await?;
    Ok(Answer { status: answer.status().as_u16(), body: answer.text().await? })
}
