//! Takes all rows of a table through their steps at once, each with a Service of its own.

use std::time::Duration;

use ccm_e2e::{Aws, LONG, SeenService, Setup, Wanted, World, wait_until};

use super::row::{Row, Step};

/// Between two looks at all load balancers, which take the fake seconds.
const PAUSE: Duration = Duration::from_millis(500);

/// A row, and its Service.
struct Run<'a> {
    row: &'a Row,
    service: SeenService,
    /// Its lines before the first step.
    before: Vec<String>,
}

impl Run<'_> {
    /// What is this Service's alone in these lines, without what tells it from another one.
    fn own(&self, name: &str, lines: &[String]) -> Vec<String> {
        let balancer = self.service.balancer();
        let is_own = |line: &&String| line.contains(&balancer) || line.contains(&pieces(name));
        self.service.anonymous(&lines.iter().filter(is_own).cloned().collect::<Vec<_>>())
    }
}

/// The name of the Service of the row at this place: what it is about, with the place first, as other
/// names have the beginning of it in them.
fn name(place: usize, row: &Row) -> String {
    let about: String = row.about.rsplit('/').next().unwrap_or_default().chars().take(40).collect();
    format!("n{place:02}-{about}")
}

/// What names of target groups and security groups of this Service begin with.
fn pieces(name: &str) -> String {
    let short: String = name.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    format!("k8s-default-{short}-")
}

/// Makes a Service for each row, takes it through its steps, and takes all away, after which all is as
/// before but for these lines.
pub(super) async fn drive(world: &World<Aws>, is_network: bool, rows: &[Row], leaves: &[String]) {
    world.join_instances(2).await;
    for (label, node) in ["front", "back"].iter().zip(world.uids().await.keys()) {
        let labels = serde_json::json!({"metadata": {"labels": {"pool": label}}});
        world.patch(node, &labels).await;
    }
    let _ccm = world.ccm(&Setup::new());
    world.all_initialized(LONG).await;
    let untouched = world.cloud.lines().await;

    let runs = made(world, is_network, rows).await;
    let most = rows.iter().map(|row| row.steps.len()).max().unwrap_or_default();
    for number in 0..most {
        step(world, &runs, number).await;
    }
    for (place, run) in runs.iter().enumerate() {
        let last = run.row.steps.last();
        annotate(world, &name(place, run.row), last, None).await;
    }
    settled(world, &runs, "all is taken away", |run, lines| run.row.judge_end(&run.before, lines))
        .await;

    for (place, run) in runs.iter().enumerate() {
        world.end_service(&name(place, run.row)).await;
    }
    for (place, run) in runs.iter().enumerate() {
        world.service_gone(&name(place, run.row), &run.service.uid, LONG).await;
    }
    world
        .cloud
        .lines_until("all is as before", LONG, |lines| {
            let is_left = |line: &&String| !leaves.contains(line);
            lines.iter().filter(is_left).eq(&untouched)
                && leaves.iter().all(|line| lines.contains(line))
        })
        .await;
}

/// The Services are made, and what they were made with shows.
async fn made<'a>(world: &World<Aws>, is_network: bool, rows: &'a [Row]) -> Vec<Run<'a>> {
    let wanted = rows.iter().enumerate().map(|(place, row)| {
        let wanted = Wanted::named(&name(place, row)).ports(&row.ports);
        let wanted = if is_network { wanted.nlb() } else { wanted };
        let made = row.made.iter().flat_map(|made| &made.says);
        row.beside.iter().chain(made).fold(wanted, |it, (key, value)| it.asks(key, value))
    });
    let wanted: Vec<_> = wanted.collect();
    world.serve_all(&wanted).await;
    world.all_ready(LONG).await;
    let mut runs = Vec::new();
    for (wanted, row) in wanted.iter().zip(rows) {
        let service = world.service(wanted.name()).await;
        runs.push(Run { row, service, before: Vec::new() });
    }
    settled(world, &runs, "all is made", |run, lines| {
        let shows = run.row.made.iter().flat_map(|made| &made.shows);
        let missing: Vec<_> =
            shows.filter(|text| !lines.iter().any(|line| line.contains(*text))).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} in {lines:#?}")) }
    })
    .await;
    let lines = world.cloud.lines().await;
    for (place, run) in runs.iter_mut().enumerate() {
        run.before = run.own(&name(place, run.row), &lines);
    }
    runs
}

/// All Services that have a step of this number take it, and it shows.
async fn step(world: &World<Aws>, runs: &[Run<'_>], number: usize) {
    let lines = world.cloud.lines().await;
    let steps = |run: &Run<'_>| run.row.steps.get(number).cloned();
    for (place, run) in runs.iter().enumerate() {
        let Some(step) = steps(run) else { continue };
        let name = name(place, run.row);
        let before = step.judge(&run.before, &run.own(&name, &lines));
        assert!(step.event.is_some() || before.is_err(), "{name} shows it before: {step:?}");
        let last = number.checked_sub(1).map_or(run.row.made.as_ref(), |it| run.row.steps.get(it));
        annotate(world, &name, last, Some(&step)).await;
    }
    settled(world, runs, &format!("step {number}"), |run, lines| {
        steps(run).map_or(Ok(()), |step| step.judge(&run.before, lines))
    })
    .await;
    for (place, run) in runs.iter().enumerate() {
        if let Some(event) = steps(run).and_then(|step| step.event) {
            world.service_event(&name(place, run.row), event).await;
        }
    }
}

/// The Service says what this step says, and nothing any more of what the last one said beside.
async fn annotate(world: &World<Aws>, name: &str, last: Option<&Step>, step: Option<&Step>) {
    let old = last.iter().flat_map(|it| &it.says).map(|(key, _)| (*key, None));
    let new = step.iter().flat_map(|it| &it.says).map(|(key, value)| (*key, Some(value.as_str())));
    world.annotate(name, &old.chain(new).collect::<Vec<_>>()).await;
}

/// Waits until nothing is under way, and each Service's lines are as they should be.
async fn settled(
    world: &World<Aws>,
    runs: &[Run<'_>],
    what: &str,
    is_right: impl Fn(&Run<'_>, &[String]) -> Result<(), String>,
) {
    world.cloud.quiet().await;
    world.all_ready(LONG).await;
    wait_until(what, LONG, async || {
        let lines = world.cloud.lines().await;
        let wrong = runs.iter().enumerate().filter_map(|(place, run)| {
            let name = name(place, run.row);
            let said = is_right(run, &run.own(&name, &lines)).err()?;
            Some(format!("{name}: {said}"))
        });
        let wrong: Vec<_> = wrong.collect();
        if wrong.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
        Err(Wrong(wrong))
    })
    .await;
}

/// What is wrong, on lines of its own.
struct Wrong(Vec<String>);

impl std::fmt::Debug for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}
