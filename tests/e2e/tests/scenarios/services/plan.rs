//! `plan` says what would be done, with rights to read and nothing more, and does nothing.

use ccm_e2e::{Account, SOON, SeenService, Setup, Signal, Wanted, World, in_the_cloud, run};
use serde_json::Value;
use simcloud::api::{FaultKind, FaultSpec, Operation, OperationClass, OperationFilter};

#[test]
fn a_plan_needs_no_right_to_write_and_says_what_is_then_done() {
    run(async {
        let world = World::start().await;
        world.join("n1").await;
        world.serve(&Wanted::named("web").ports(&[80])).await;
        let writes = OperationFilter::Class(OperationClass::Write);
        let denied = FaultSpec::always(writes, FaultKind::PermissionDenied);
        let denied = world.cloud.add_fault(&denied).await.unwrap();

        let (code, plan) = world.plan(&Setup::new().account(Account::Reading)).await;
        assert_eq!(code, 2, "{plan:#}");
        let planned = in_the_cloud(&plan);
        for what in ["address", "load balancer", "target group", "listener", "tcp/80"] {
            assert!(planned.iter().any(|line| line.contains(what)), "no {what}: {planned:#?}");
        }
        let of =
            |name: &str| plan["cluster"].as_array().unwrap().iter().find(|it| it["name"] == name);
        let service = of("Service default/web").unwrap();
        assert!(service["changes"][0]["text"].as_str().unwrap().starts_with("finalizer "));
        assert!(of("Node n1").is_some(), "{plan:#}");

        let seen = world.service("web").await;
        assert!(seen.is_untouched(), "{seen:?}");
        let tried = world.traffic_of(Account::Reading).await.mutations();
        assert!(tried.is_empty(), "{tried}");
        assert_eq!(world.cloud.lines().await, Vec::<String>::new());
        assert_eq!(world.cloud.struck(&denied.id).await, 0, "nothing was even tried");
        world.cloud.clear_faults().await.unwrap();
        let before = world.cloud.mutations().await;

        // What it said is what is done.
        let _ccm = world.ccm(&Setup::new());
        world.ready("web").await;
        let done = world.cloud.mutations().await - before;
        assert_eq!(done, u64::try_from(planned.len()).unwrap(), "{planned:#?}");
    });
}

#[test]
fn a_plan_is_empty_where_nothing_differs_and_tells_a_change_and_a_deletion() {
    run(async {
        let world = World::start().await;
        world.join("n1").await;
        let mut ccm = world.ccm(&Setup::new());
        world.initialized("n1").await;
        let before = world.served(&Wanted::named("web").ports(&[80])).await;
        let reader = Setup::new().account(Account::Reading);
        let (code, plan) = world.plan(&reader).await;
        assert_eq!((code, &plan["changes"]), (0, &Value::Bool(false)), "{plan:#}");

        ccm.signal(Signal::KILL);
        ccm.end(SOON).await;
        world.change_ports("web", &[8080]).await;
        let (code, plan) = world.plan(&reader).await;
        let planned = in_the_cloud(&plan).join("\n");
        assert_eq!(code, 2, "{planned}");
        assert!(planned.contains("tcp/8080") && planned.contains("delete listener"), "{planned}");
        let after: SeenService = world.service("web").await;
        assert_eq!(after.ingress, before.ingress);

        world.end_service("web").await;
        let (code, plan) = world.plan(&reader).await;
        let planned = in_the_cloud(&plan);
        assert_eq!(code, 2, "{planned:#?}");
        let deletes = |what: &str| planned.iter().any(|line| line.starts_with(what));
        assert!(deletes("delete") && deletes("close"), "{planned:#?}");
    });
}

#[test]
fn what_cannot_be_looked_at_is_named_and_no_plan_is_made_of_it() {
    run(async {
        let world = World::start().await;
        world.serve(&Wanted::named("web")).await;
        let reads = OperationFilter::One(Operation::ListFirewalls);
        let denied = FaultSpec::always(reads, FaultKind::PermissionDenied);
        world.cloud.add_fault(&denied).await.unwrap();
        let (code, plan) = world.plan(&Setup::new().account(Account::Reading)).await;
        assert_eq!(code, 1, "{plan:#}");
        let failures = plan["failures"].as_array().unwrap();
        assert!(failures.iter().any(|failure| failure["name"] == "firewall"), "{plan:#}");
    });
}
