//! Health checks, and how they are told.
//!
//! Questions and answers are those of upstream's servers to the letter:
//! <https://github.com/kubernetes/apiserver/blob/master/pkg/server/healthz/healthz.go>

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use axum::http::StatusCode;
use tracing::{debug, warn};

/// The process's health checks. A clone is another handle on the same ones.
#[derive(Clone, Debug, Default)]
pub struct Checks(Arc<RwLock<Vec<Check>>>);

/// Where a check counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In `/healthz` and `/livez`: while it fails, the process is broken and better restarted.
    Live,
    /// In `/readyz`: while it fails, others had better not count on the process. A replica that
    /// waits for leadership is ready.
    Ready,
    /// In all three.
    Everywhere,
}

#[derive(Clone)]
struct Check {
    name: &'static str,
    scope: Scope,
    run: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.name, self.scope)
    }
}

impl Checks {
    /// Adds a check, in place of one with the same name.
    ///
    /// It runs inside the request, so it looks at something and waits for nothing. Why it fails is
    /// logged, and shown to whoever asks for this one check; who asks for all of an endpoint learns
    /// its name.
    pub fn add(
        &self,
        name: &'static str,
        scope: Scope,
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        let check = Check { name, scope, run: Arc::new(check) };
        let mut checks = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match checks.iter_mut().find(|known| known.name == name) {
            Some(known) => *known = check,
            None => checks.push(check),
        }
    }

    /// Removes a check, if it is there.
    pub fn remove(&self, name: &str) {
        let mut checks = self.0.write().unwrap_or_else(PoisonError::into_inner);
        checks.retain(|check| check.name != name);
    }

    /// An endpoint's checks, in the order in which they were added. There always is one.
    ///
    /// They are copies, so that a check may take its time, or add another.
    fn of(&self, endpoint: Endpoint) -> Vec<Check> {
        let checks = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<Check> =
            checks.iter().filter(|check| endpoint.has(check.scope)).cloned().collect();
        if found.is_empty() {
            found.push(Check { name: "ping", scope: Scope::Everywhere, run: Arc::new(|| Ok(())) });
        }
        found
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Healthz,
    Livez,
    Readyz,
}

impl Endpoint {
    pub(super) const ALL: [Self; 3] = [Self::Healthz, Self::Livez, Self::Readyz];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Healthz => "healthz",
            Self::Livez => "livez",
            Self::Readyz => "readyz",
        }
    }

    fn has(self, scope: Scope) -> bool {
        match self {
            Self::Healthz | Self::Livez => matches!(scope, Scope::Live | Scope::Everywhere),
            Self::Readyz => matches!(scope, Scope::Ready | Scope::Everywhere),
        }
    }
}

/// The answer for all checks of an endpoint. `query` is `verbose` and any number of `exclude`;
/// `seen` is told what each check that ran has said.
pub(super) fn all(
    checks: &Checks,
    endpoint: Endpoint,
    query: Vec<(String, String)>,
    seen: impl Fn(&'static str, bool),
) -> (StatusCode, String) {
    let verbose = query.iter().any(|(key, _)| key == "verbose");
    let mut excluded: BTreeSet<String> =
        query.into_iter().filter(|(key, _)| key == "exclude").map(|(_, name)| name).collect();

    let name = endpoint.name();
    let mut lines = String::new();
    let mut failures = Vec::new();
    for check in checks.of(endpoint) {
        let line = if excluded.remove(check.name) {
            format!("[+]{} excluded: ok\n", check.name)
        } else {
            let said = (check.run)();
            seen(check.name, said.is_ok());
            match said {
                Ok(()) => format!("[+]{} ok\n", check.name),
                Err(why) => {
                    failures.push(format!("{}: {why}", check.name));
                    format!("[-]{} failed: reason withheld\n", check.name)
                }
            }
        };
        lines.push_str(&line);
    }
    if !excluded.is_empty() {
        let names: Vec<String> = excluded.iter().map(|name| format!("{name:?}")).collect();
        let names = names.join(",");
        debug!(endpoint = name, names, "no such checks to exclude");
        lines.push_str("warn: some health checks cannot be excluded: no matches for ");
        lines.push_str(&names);
        lines.push('\n');
    }

    if !failures.is_empty() {
        warn!(endpoint = name, failed = failures.join("; "), "health check failed");
        return (StatusCode::INTERNAL_SERVER_ERROR, format!("{lines}{name} check failed\n"));
    }
    let text = if verbose { format!("{lines}{name} check passed\n") } else { "ok".to_owned() };
    (StatusCode::OK, text)
}

/// The answer for one check of an endpoint, unless there is no such check.
pub(super) fn one(checks: &Checks, endpoint: Endpoint, name: &str) -> Option<(StatusCode, String)> {
    let check = checks.of(endpoint).into_iter().find(|check| check.name == name)?;
    Some(match (check.run)() {
        Ok(()) => (StatusCode::OK, "ok".to_owned()),
        Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {why}\n")),
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn checks() -> Checks {
        let checks = Checks::default();
        checks.add("leaderElection", Scope::Live, || Ok(()));
        checks.add("cloud-node-controller", Scope::Live, || Err("10.0.0.1 said no".to_owned()));
        checks.add("shutdown", Scope::Ready, || Ok(()));
        checks.add("log", Scope::Everywhere, || Ok(()));
        checks
    }

    fn query(text: &str) -> Vec<(String, String)> {
        text.split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    #[rstest]
    #[case::failing(
        Endpoint::Healthz,
        "",
        500,
        "[+]leaderElection ok\n[-]cloud-node-controller failed: reason withheld\n[+]log ok\n\
         healthz check failed\n"
    )]
    #[case::failing_by_another_name(
        Endpoint::Livez,
        "",
        500,
        "[+]leaderElection ok\n[-]cloud-node-controller failed: reason withheld\n[+]log ok\n\
         livez check failed\n"
    )]
    #[case::failing_check_excluded(Endpoint::Healthz, "exclude=cloud-node-controller", 200, "ok")]
    #[case::excluded_in_detail(
        Endpoint::Healthz,
        "verbose&exclude=log&exclude=cloud-node-controller",
        200,
        "[+]leaderElection ok\n[+]cloud-node-controller excluded: ok\n[+]log excluded: ok\n\
         healthz check passed\n"
    )]
    #[case::standby_is_ready(Endpoint::Readyz, "", 200, "ok")]
    #[case::verbose_with_a_value(
        Endpoint::Readyz,
        "verbose=false",
        200,
        "[+]shutdown ok\n[+]log ok\nreadyz check passed\n"
    )]
    #[case::excluding_what_is_not_there(
        Endpoint::Readyz,
        "verbose&exclude=etcd&exclude=a\"b",
        200,
        "[+]shutdown ok\n[+]log ok\n\
         warn: some health checks cannot be excluded: no matches for \"a\\\"b\",\"etcd\"\n\
         readyz check passed\n"
    )]
    fn answers_as_upstream(
        #[case] endpoint: Endpoint,
        #[case] asked: &str,
        #[case] status: u16,
        #[case] text: &str,
    ) {
        let (got_status, got_text) = all(&checks(), endpoint, query(asked), |_, _| {});
        assert_eq!((got_status.as_u16(), got_text.as_str()), (status, text));
    }

    #[test]
    fn without_checks_there_is_ping() {
        let (status, text) =
            all(&Checks::default(), Endpoint::Healthz, query("verbose"), |_, _| {});
        assert_eq!((status.as_u16(), text.as_str()), (200, "[+]ping ok\nhealthz check passed\n"));
    }

    #[test]
    fn one_check_says_why_it_fails() {
        let answer = one(&checks(), Endpoint::Healthz, "cloud-node-controller").unwrap();
        assert_eq!(
            (answer.0.as_u16(), answer.1.as_str()),
            (500, "internal server error: 10.0.0.1 said no\n")
        );
        assert_eq!(one(&checks(), Endpoint::Healthz, "log").unwrap().1, "ok");
        assert_eq!(one(&checks(), Endpoint::Readyz, "leaderElection"), None);
    }

    #[test]
    fn a_check_is_replaced_by_one_of_its_name_and_can_be_removed() {
        let checks = checks();
        checks.add("cloud-node-controller", Scope::Live, || Ok(()));
        assert_eq!(all(&checks, Endpoint::Healthz, Vec::new(), |_, _| {}).1, "ok");
        checks.remove("leaderElection");
        checks.remove("never added");
        assert_eq!(
            all(&checks, Endpoint::Livez, query("verbose"), |_, _| {}).1,
            "[+]cloud-node-controller ok\n[+]log ok\nlivez check passed\n"
        );
    }
}
