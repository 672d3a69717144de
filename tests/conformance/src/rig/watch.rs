//! Looks over every change that the engine makes, and cuts it off where it is told to.

use std::future::pending;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use ccm_core::cloud::{AnyChange, Effect};
use ccm_core::converge::Watcher;
use tokio::sync::{Notify, watch};

/// Where a change is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It is not sent any more.
    Before,
    /// It has taken effect, and nobody hears the answer.
    After,
}

/// Every change since the process began, and what is to happen at one of them.
#[derive(Debug)]
pub(super) struct Watch {
    seen: Mutex<Seen>,
    pub(super) reached: Notify,
    /// Whether changes wait.
    held: watch::Sender<bool>,
}

impl Default for Watch {
    fn default() -> Self {
        Self { seen: Mutex::default(), reached: Notify::new(), held: watch::Sender::new(false) }
    }
}

#[derive(Debug, Default)]
struct Seen {
    changes: Vec<AnyChange>,
    order: Option<Order>,
    is_reached: bool,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    /// From this change on, nothing goes on.
    Cut { at: usize, when: Cut },
    /// This change and those behind it wait until they are released.
    Hold { at: usize },
}

impl Watch {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts everything off at this change, counted from 1 and from now.
    pub(super) fn cut(&self, at: usize, when: Cut) {
        let mut seen = self.seen();
        let at = seen.changes.len() + at;
        seen.order = Some(Order::Cut { at, when });
    }

    /// Holds this change and those behind it up before they are sent, counted from 1 and from now.
    pub(super) fn hold(&self, at: usize) {
        let mut seen = self.seen();
        let at = seen.changes.len() + at;
        (seen.order, seen.is_reached) = (Some(Order::Hold { at }), false);
        self.held.send_replace(true);
    }

    /// Lets them go.
    pub(super) fn release(&self) {
        self.seen().order = None;
        self.held.send_replace(false);
    }

    pub(super) fn is_reached(&self) -> bool {
        self.seen().is_reached
    }

    /// How many changes there were.
    pub(super) fn count(&self) -> usize {
        self.seen().changes.len()
    }

    /// The lines of the changes after the first so many.
    pub(super) fn lines(&self, after: usize) -> Vec<String> {
        self.seen().changes[after..].iter().map(ToString::to_string).collect()
    }

    /// The lines of those among them that stop traffic.
    pub(super) fn interruptions(&self, after: usize) -> Vec<String> {
        let seen = self.seen();
        let stops = seen.changes[after..].iter().filter(|it| it.effect() == Effect::Interrupt);
        stops.map(ToString::to_string).collect()
    }
}

/// What becomes of a change.
enum Fate {
    GoesOn,
    Waits,
    Ends,
}

#[async_trait]
impl Watcher for Watch {
    async fn before(&self, change: &AnyChange) {
        let fate = {
            let mut seen = self.seen();
            seen.changes.push(change.clone());
            let number = seen.changes.len();
            match seen.order {
                Some(Order::Cut { .. }) if seen.is_reached => Fate::Ends,
                Some(Order::Cut { at, when: Cut::Before }) if at == number => {
                    seen.is_reached = true;
                    Fate::Ends
                }
                Some(Order::Hold { at }) if at <= number => {
                    seen.is_reached = true;
                    Fate::Waits
                }
                Some(Order::Cut { .. } | Order::Hold { .. }) | None => Fate::GoesOn,
            }
        };
        match fate {
            Fate::GoesOn => {}
            Fate::Waits => {
                self.reached.notify_one();
                // The sender is ours: it does not go away.
                let _ = self.held.subscribe().wait_for(|is_held| !is_held).await;
            }
            Fate::Ends => {
                self.reached.notify_one();
                pending::<()>().await;
            }
        }
    }

    async fn after(&self, change: &AnyChange) {
        let is_over = {
            let mut seen = self.seen();
            let number = seen.changes.iter().rposition(|it| it == change).map(|at| at + 1);
            if let Some(Order::Cut { at, when: Cut::After }) = seen.order {
                seen.is_reached |= number == Some(at);
            }
            seen.is_reached && matches!(seen.order, Some(Order::Cut { .. }))
        };
        if is_over {
            self.reached.notify_one();
            pending::<()>().await;
        }
    }
}
