//! A Service that goes over to another controller.

use ccm_core::cloud::{Holds, ObjectId, Uid, Verdict, Want};
use rstest::rstest;

use crate::stage::{Stage, Wanted, spec};

#[rstest]
#[case::classic(&[])]
#[case::network(&[("type", "nlb")])]
#[tokio::test]
async fn what_was_made_goes_and_comes_back(#[case] kind: &[(&str, &str)]) {
    let stage = Stage::start("").await;
    let nodes = stage.launch(1, 2).await;
    let name = stage.place.cluster.as_str();
    let id = ObjectId {
        namespace: "shop".into(),
        name: name.into(),
        uid: Uid::from(format!("uid-of-{name}")),
    };
    let wants = |annotations: &[(&str, &str)]| -> [Wanted; 1] {
        [Want::Present(spec(id.clone(), &[80], annotations).into())]
    };
    let before = stage.snapshot().await;
    stage.passes.settle(&wants(kind), &nodes).await;
    let made = stage.snapshot().await;
    assert_ne!(made, before);
    stage.passes.settle(&wants(&[("type", "external")]), &nodes).await;
    assert_eq!(stage.snapshot().await, before, "the nodes' rules too");
    stage.with_report(&id, |report| {
        assert!(matches!(report.verdict, Verdict::Elsewhere(_)), "{report:?}");
        assert_eq!(report.holds, Holds::Nothing);
    });
    stage.passes.settle(&wants(kind), &nodes).await;
    assert_eq!(stage.snapshot().await, made);
    stage.passes.settle(&[crate::stage::absent(id.clone())], &nodes).await;
    assert_eq!(stage.snapshot().await, before);
    assert_eq!(stage.passes.take_failures(), [""; 0]);
}
