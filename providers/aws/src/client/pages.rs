//! Answers in several pages.

use std::future::Future;

use ccm_core::cloud::{CloudError, Kind};

/// A page, and the token of the next one.
pub(super) type Page<T> = Result<(Vec<T>, Option<String>), CloudError>;

/// What is on all pages. `ask` takes the token of one: none for the first. An empty token means that
/// there are no more.
///
/// # Errors
///
/// The first failure: a part of an answer is none. So is a page that comes again and again.
pub(super) async fn pages<T, F>(ask: impl Fn(Option<String>) -> F) -> Result<Vec<T>, CloudError>
where
    F: Future<Output = Page<T>>,
{
    let (mut all, mut page) = (Vec::new(), None);
    loop {
        let (found, next) = ask(page.clone()).await?;
        all.extend(found);
        let next = next.filter(|token| !token.is_empty());
        if next.is_none() {
            return Ok(all);
        }
        if next == page {
            let message = "AWS answers with the same page again and again";
            return Err(CloudError::new(Kind::Internal, message));
        }
        page = next;
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// What comes of pages by their tokens, each with the token of the next.
    async fn read(there: &[(&str, Option<&str>)]) -> Result<Vec<String>, CloudError> {
        pages(|token: Option<String>| async move {
            let token = token.unwrap_or_default();
            let (_, next) = there.iter().find(|(page, _)| *page == token).unwrap();
            if *next == Some("broken") {
                return Err(CloudError::new(Kind::Unavailable, "no"));
            }
            Ok((vec![token], next.map(str::to_owned)))
        })
        .await
    }

    #[rstest]
    #[case::one(&[("", None)], Ok(&[""] as &[_]))]
    #[case::an_empty_token_ends_it(&[("", Some(""))], Ok(&[""] as &[_]))]
    #[case::several(&[("", Some("b")), ("b", Some("c")), ("c", None)], Ok(&["", "b", "c"] as &[_]))]
    #[case::a_part_is_none(&[("", Some("b")), ("b", Some("broken"))], Err(Kind::Unavailable))]
    #[case::without_an_end(&[("", Some("b")), ("b", Some("b"))], Err(Kind::Internal))]
    #[tokio::test]
    async fn answers(#[case] there: &[(&str, Option<&str>)], #[case] want: Result<&[&str], Kind>) {
        let got = read(there).await.map_err(|err| err.kind());
        let want = want.map(|all| all.iter().map(|&token| token.to_owned()).collect());
        assert_eq!(got, want);
    }
}
