//! The process's long-running tasks: they live and die together.
//!
//! A task whose handle is dropped hides its panic, and one that ends early leaves a process that
//! looks alive. Here either ends the process, with an error that names the task.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::future::pending;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info, info_span, warn};

/// How long tasks may take to end once the process stops.
///
/// Kubernetes kills a pod 30 s after it asked it to stop; the rest is for the last events and the
/// release of the lease.
pub const GRACE: Duration = Duration::from_secs(20);

/// Tasks that run for as long as the process does.
///
/// On the way out there are two steps. When [`stop`](Self::stop) is cancelled, the tasks of
/// [`spawn`](Self::spawn) end. When they have, [`close`](Self::close) is cancelled, and what had to
/// outlast them ends too: the endpoints, on which one can watch them end. What waits for signals
/// waits to the last ([`spawn_unending`](Self::spawn_unending)).
#[derive(Debug, Default)]
pub struct Tasks {
    running: JoinSet<Result<(), BoxError>>,
    known: BTreeMap<Id, Task>,
    stop: CancellationToken,
    close: CancellationToken,
}

type BoxError = Box<dyn Error + Send + Sync>;

#[derive(Clone, Copy, Debug)]
struct Task {
    name: &'static str,
    ends: Ends,
}

/// When a task shall end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// When the process is to stop.
    AtOnce,
    /// When those have that end at once.
    Last,
    /// Never: it is aborted when all others have ended.
    Never,
}

/// What a task may return: nothing, or what it failed on.
pub trait Outcome: Send + 'static {
    /// The failure, if any.
    fn into_result(self) -> Result<(), Box<dyn Error + Send + Sync>>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError> + Send + 'static> Outcome for Result<(), E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

impl<E: Into<BoxError> + Send + 'static> Outcome for Result<Infallible, E> {
    fn into_result(self) -> Result<(), BoxError> {
        match self {
            Err(err) => Err(err.into()),
        }
    }
}

/// A task has ended that should not have, or has not that should.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// Nobody had asked it to.
    #[error("task {task} ended early")]
    Early {
        /// The task's name.
        task: &'static str,
    },
    /// It gave up.
    #[error("task {task} failed")]
    Failed {
        /// The task's name.
        task: &'static str,
        /// What it failed on.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A bug.
    #[error("task {task} panicked: {message}")]
    Panicked {
        /// The task's name.
        task: &'static str,
        /// What the panic said.
        message: String,
    },
    /// The grace was over before they had ended.
    #[error("still running {grace:?} after the process was to stop: {tasks}")]
    Stuck {
        /// The tasks' names.
        tasks: String,
        /// The grace.
        grace: Duration,
    },
}

impl Tasks {
    /// Tasks that shall also stop when `stop` is cancelled.
    pub fn within(stop: &CancellationToken) -> Self {
        Self { stop: stop.child_token(), ..Self::default() }
    }

    /// Cancelled when the process shall stop. Every task looks at it, and whoever wants the process
    /// to stop cancels it.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Cancelled when every task has ended but those of [`spawn_last`](Self::spawn_last).
    pub fn close(&self) -> CancellationToken {
        self.close.clone()
    }

    /// Runs a task that ends soon after [`stop`](Self::stop).
    pub fn spawn<F>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output: Outcome> + Send + 'static,
    {
        self.start(Task { name, ends: Ends::AtOnce }, task);
    }

    /// Runs a task that outlasts those of [`spawn`](Self::spawn) and ends soon after
    /// [`close`](Self::close).
    pub fn spawn_last<F>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output: Outcome> + Send + 'static,
    {
        self.start(Task { name, ends: Ends::Last }, task);
    }

    /// Runs a task that never ends by itself, whatever is cancelled.
    pub fn spawn_unending<F>(&mut self, name: &'static str, task: F)
    where
        F: Future<Output: Outcome> + Send + 'static,
    {
        self.start(Task { name, ends: Ends::Never }, task);
    }

    fn start<F>(&mut self, task: Task, future: F)
    where
        F: Future<Output: Outcome> + Send + 'static,
    {
        let span = info_span!("task", name = task.name);
        let run = async move { future.await.into_result() }.instrument(span);
        let handle = self.running.spawn(run);
        self.known.insert(handle.id(), task);
    }

    /// Waits for the first task to end that should not have; for ever if there is none.
    ///
    /// For the time before [`join`](Self::join), beside something else in a `select!`. May be
    /// dropped and called again.
    pub async fn first_end(&mut self) -> Ended {
        loop {
            match self.next_end().await {
                Some((_, Err(ended))) => return ended,
                Some((task, Ok(()))) if !self.stop.is_cancelled() => {
                    return Ended::Early { task: task.name };
                }
                // It was asked to.
                Some((_, Ok(()))) => {}
                None => pending().await,
            }
        }
    }

    /// Waits for [`stop`](Self::stop) or for the first task to end, then stops the rest and gives
    /// them `grace` to finish. What is left then is aborted.
    ///
    /// The first thing that went wrong is the error.
    pub async fn join(mut self, grace: Duration) -> Result<(), Ended> {
        let stop = self.stop();
        let asked = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            ended = self.first_end() => Err(ended),
        };
        stop.cancel();
        let drained = timeout(grace, self.drain()).await.unwrap_or_else(|_| {
            let late = self.known.values().filter(|task| task.ends != Ends::Never);
            let tasks: Vec<&str> = late.map(|task| task.name).collect();
            Err(Ended::Stuck { tasks: tasks.join(", "), grace })
        });
        asked.and(drained)
    }

    async fn drain(&mut self) -> Result<(), Ended> {
        let mut outcome = Ok(());
        loop {
            if self.known.values().all(|task| task.ends != Ends::AtOnce) {
                self.close.cancel();
            }
            if self.known.values().all(|task| task.ends == Ends::Never) {
                return outcome;
            }
            let Some((task, end)) = self.next_end().await else {
                return outcome;
            };
            debug!(task = task.name, "task ended");
            // One that is to outlast the others has ended early as long as they run, but the
            // process is on its way out: only failures matter now.
            outcome = outcome.and(end);
        }
    }

    async fn next_end(&mut self) -> Option<(Task, Result<(), Ended>)> {
        let (id, end) = match self.running.join_next_with_id().await? {
            Ok((id, end)) => (id, Ok(end)),
            Err(err) => (err.id(), Err(err)),
        };
        let task = self.known.remove(&id).expect("every task is entered when it is spawned");
        let name = task.name;
        let end = match end {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(Ended::Failed { task: name, source }),
            Err(err) => Err(Ended::Panicked { task: name, message: panic_message(err) }),
        };
        Some((task, end))
    }
}

fn panic_message(err: JoinError) -> String {
    match err.try_into_panic() {
        Ok(panic) => match panic.downcast::<String>() {
            Ok(message) => *message,
            Err(panic) => panic.downcast_ref::<&str>().copied().unwrap_or("no message").to_owned(),
        },
        Err(cancelled) => cancelled.to_string(),
    }
}

/// Cancels `stop` at the first SIGTERM or SIGINT; ends the process at the second.
///
/// Signals are caught from this call on; the future must run to act on them.
pub fn on_signal(stop: CancellationToken) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let mut next_signal = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let first = next_signal().await;
        info!(signal = first, "stopping");
        stop.cancel();
        let second = next_signal().await;
        warn!(signal = second, "exiting at once");
        // As upstream's.
        std::process::exit(1);
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    use std::sync::{Arc, Mutex};

    use rstest::rstest;
    use tokio::time::{Instant, sleep};

    use super::*;

    async fn until(token: CancellationToken) {
        token.cancelled().await;
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_that_stop_when_asked_end_well() {
        let mut tasks = Tasks::default();
        let stop = tasks.stop();
        tasks.spawn("a", until(tasks.stop()));
        tasks.spawn("b", until(tasks.stop()));
        tasks.spawn_last("serve", until(tasks.close()));
        tokio::spawn(async move {
            sleep(Duration::from_hours(1)).await;
            stop.cancel();
        });
        tasks.join(GRACE).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_early_stops_the_others_and_is_named() {
        let mut tasks = Tasks::default();
        let stop = tasks.stop();
        tasks.spawn("steady", until(tasks.stop()));
        tasks.spawn("hasty", async {});
        let err = tasks.join(GRACE).await.unwrap_err();
        assert_eq!(err.to_string(), "task hasty ended early");
        assert!(stop.is_cancelled());
    }

    #[rstest]
    #[case::formatted(|| panic!("no {}", "luck"), "no luck")]
    #[case::plain(|| panic!("plain"), "plain")]
    #[case::without_words(|| std::panic::panic_any(7), "no message")]
    #[tokio::test(start_paused = true)]
    async fn a_panic_names_the_task_and_says_what_it_said(
        #[case] panic: fn(),
        #[case] message: &str,
    ) {
        let mut tasks = Tasks::default();
        tasks.spawn("clumsy", async move { panic() });
        let err = tasks.join(GRACE).await.unwrap_err();
        assert_eq!(err.to_string(), format!("task clumsy panicked: {message}"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_the_source_of_the_error() {
        let mut tasks = Tasks::default();
        tasks.spawn("serve", async { Err::<(), _>(io::Error::other("address taken")) });
        let err = tasks.join(GRACE).await.unwrap_err();
        assert_eq!(crate::report::Chain(&err).to_string(), "task serve failed: address taken");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_thing_that_went_wrong_is_the_error() {
        let mut tasks = Tasks::default();
        let stop = tasks.stop();
        tasks.spawn("first", async { Err::<(), _>("cause") });
        tasks.spawn("second", async move {
            stop.cancelled().await;
            Err::<(), _>("consequence")
        });
        let err = tasks.join(GRACE).await.unwrap_err();
        assert_eq!(err.to_string(), "task first failed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_while_stopping_is_an_error() {
        let mut tasks = Tasks::default();
        let stop = tasks.stop();
        tasks.spawn("steady", until(tasks.stop()));
        tasks.spawn("late", async move {
            stop.cancelled().await;
            Err::<(), _>("not flushed")
        });
        tasks.stop().cancel();
        let err = tasks.join(GRACE).await.unwrap_err();
        assert_eq!(err.to_string(), "task late failed");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_end_within_the_grace_is_named_and_aborted() {
        let mut tasks = Tasks::default();
        let witness = Arc::new(());
        let held = Arc::clone(&witness);
        tasks.spawn("quick", until(tasks.stop()));
        tasks.spawn("deaf", async move {
            pending::<()>().await;
            drop(held);
        });
        tasks.spawn_last("serve", until(tasks.close()));
        tasks.stop().cancel();

        let begun = Instant::now();
        let err = tasks.join(GRACE).await.unwrap_err();
        assert_eq!(begun.elapsed(), GRACE);
        assert_eq!(err.to_string(), "still running 20s after the process was to stop: deaf, serve");
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&witness), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_to_be_last_outlasts_the_others() {
        let ends = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Tasks::default();
        let stop = tasks.stop();
        let close = tasks.close();
        tasks.spawn_last("serve", {
            let ends = Arc::clone(&ends);
            async move {
                close.cancelled().await;
                ends.lock().unwrap().push("serve");
            }
        });
        tasks.spawn("controller", {
            let ends = Arc::clone(&ends);
            async move {
                stop.cancelled().await;
                sleep(GRACE / 2).await;
                ends.lock().unwrap().push("controller");
            }
        });
        tasks.stop().cancel();
        tasks.join(GRACE).await.unwrap();
        assert_eq!(*ends.lock().unwrap(), ["controller", "serve"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_was_asked_for_is_not_early() {
        let mut tasks = Tasks::default();
        tasks.spawn("quick", until(tasks.stop()));
        tasks.stop().cancel();
        assert!(timeout(GRACE, tasks.first_end()).await.is_err());
        tasks.join(GRACE).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_early_end_is_seen_before_join() {
        let mut tasks = Tasks::default();
        assert!(timeout(GRACE, tasks.first_end()).await.is_err(), "no task, no end");

        tasks.spawn("short", sleep(GRACE * 2));
        assert!(timeout(GRACE, tasks.first_end()).await.is_err(), "still running");
        let err = timeout(GRACE + Duration::from_secs(1), tasks.first_end()).await.unwrap();
        assert_eq!(err.to_string(), "task short ended early");
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_ends_is_not_waited_for_and_its_panic_is_told() {
        let mut tasks = Tasks::default();
        tasks.spawn("steady", until(tasks.stop()));
        tasks.spawn_last("serve", until(tasks.close()));
        tasks.spawn_unending("signals", pending::<()>());
        tasks.stop().cancel();
        let begun = Instant::now();
        tasks.join(GRACE).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);

        let mut tasks = Tasks::default();
        tasks.spawn("steady", until(tasks.stop()));
        let deaf: fn() = || panic!("deaf");
        tasks.spawn_unending("signals", async move { deaf() });
        let err = tasks.join(GRACE).await.unwrap_err();
        assert_eq!(err.to_string(), "task signals panicked: deaf");
    }

    /// The process of the next test. Says when signals are caught and when it stops.
    #[tokio::test]
    #[ignore = "runs for ever, in a process of its own"]
    async fn signalled() {
        let stop = CancellationToken::new();
        tokio::spawn(on_signal(stop.clone()).unwrap());
        println!("\nready");
        stop.cancelled().await;
        println!("stopping");
        pending::<()>().await;
    }

    #[test]
    fn the_first_signal_stops_and_the_second_exits_at_once() {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "app::tasks::tests::signalled"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = process.id().to_string();
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        for (word, signal) in [("ready", "-TERM"), ("stopping", "-INT")] {
            assert!(said.any(|line| line == word), "never {word}");
            assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        }
        assert_eq!(process.wait().unwrap().code(), Some(1));
    }
}
