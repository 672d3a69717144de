//! What a Service says that stops nothing, and has no effect.

use super::super::super::annotations::{CLASSIC_ALONE, PREFIX};
use super::super::super::draft::Draft;
use super::super::wish::NetworkWish;

/// Names the annotations that have no effect.
pub(super) fn ignored(wish: &NetworkWish<'_>, manages_groups: bool, draft: &mut Draft) {
    let said = &wish.base.spec.identity.annotations;
    let is_said = |key: &&str| said.contains_key(&format!("{PREFIX}{key}"));
    let classic: Vec<_> = CLASSIC_ALONE.iter().filter(|key| is_said(key)).collect();
    if !classic.is_empty() {
        let keys: Vec<_> = classic.into_iter().map(|key| format!("{PREFIX}{key}")).collect();
        let message = format!(
            "annotations for Classic Load Balancers have no effect here: {}",
            keys.join(", ")
        );
        draft.note("AnnotationIgnored", message);
    }
    for why in &wish.health.ignored {
        draft.note("AnnotationIgnored", why.clone());
    }
    if !manages_groups && wish.base.said.security_groups.as_ref().is_some_and(|it| !it.is_empty()) {
        let message = format!(
            "annotation {PREFIX}security-groups has no effect on a Network Load Balancer unless the cloud \
             configuration has NLBSecurityGroupMode=Managed"
        );
        draft.note("AnnotationIgnored", message);
    }
}
