//! Questions about many of which one may spoil the answer for all.

use std::future::Future;

use ccm_core::cloud::{CloudError, Kind};
use futures::future::join_all;

/// An answer, with what it is about.
pub(super) type Part<T> = (Vec<String>, Result<T, CloudError>);

/// Asks about all of them at once. Where the cloud finds fault with what was asked about, about both
/// halves, and so on, so that in the end one fault is one node's: no more than twice as many
/// questions as there are IDs, for one fault among a hundred no more than fifteen.
pub(super) async fn halving<T, F>(ids: Vec<String>, ask: impl Fn(Vec<String>) -> F) -> Vec<Part<T>>
where
    F: Future<Output = Result<T, CloudError>>,
{
    let mut open = vec![ids];
    let mut done = Vec::new();
    open.retain(|part| !part.is_empty());
    while !open.is_empty() {
        let answers = join_all(open.iter().map(|part| ask(part.clone()))).await;
        let asked = std::mem::take(&mut open);
        for (mut part, answer) in asked.into_iter().zip(answers) {
            match answer {
                Err(err) if part.len() > 1 && is_about_one(err.kind()) => {
                    let rest = part.split_off(part.len() / 2);
                    open.extend([part, rest]);
                }
                answer => done.push((part, answer)),
            }
        }
    }
    done
}

/// Whether it may be one of many that the failure is about: an ID that does not exist, or that can
/// be none.
fn is_about_one(kind: Kind) -> bool {
    matches!(kind, Kind::NotFound | Kind::InvalidConfiguration)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Asks a cloud in which these IDs do not exist. Says which parts were answered, and how many
    /// questions that took.
    async fn ask(many: usize, bad: &[&str], kind: Kind) -> (Vec<String>, usize) {
        let ids = (0..many).map(|number| format!("i-{number}")).collect();
        let asked = RefCell::new(0);
        let answers = halving(ids, |part: Vec<String>| {
            *asked.borrow_mut() += 1;
            let is_bad = part.iter().any(|id| bad.contains(&id.as_str()));
            async move { if is_bad { Err(CloudError::new(kind, "no")) } else { Ok(()) } }
        });
        let mut failed = Vec::new();
        for (part, answer) in answers.await {
            if answer.is_err() {
                failed.push(part.join(" "));
            }
        }
        failed.sort();
        let asked = *asked.borrow();
        (failed, asked)
    }

    #[tokio::test]
    async fn nothing_is_asked_about_nothing() {
        assert_eq!(ask(0, &[], Kind::NotFound).await, (vec![], 0));
    }

    #[tokio::test]
    async fn one_question_will_do_where_nothing_is_wrong() {
        assert_eq!(ask(100, &[], Kind::NotFound).await, (vec![], 1));
    }

    #[tokio::test]
    async fn a_fault_is_found() {
        let (failed, asked) = ask(100, &["i-37"], Kind::NotFound).await;
        assert_eq!(failed, ["i-37"]);
        assert!(asked <= 15, "{asked}");
        assert_eq!(ask(1, &["i-0"], Kind::NotFound).await, (vec!["i-0".to_owned()], 1));
    }

    #[tokio::test]
    async fn faults_beside_each_other_are_told_apart() {
        let (failed, _) = ask(9, &["i-0", "i-8", "i-7"], Kind::InvalidConfiguration).await;
        assert_eq!(failed, ["i-0", "i-7", "i-8"]);
    }

    #[tokio::test]
    async fn nobody_is_to_blame_for_an_outage() {
        let (failed, asked) = ask(3, &["i-1"], Kind::Unavailable).await;
        assert_eq!((failed, asked), (vec!["i-0 i-1 i-2".to_owned()], 1));
    }
}
