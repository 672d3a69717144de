//! What the benchmark brings about: Services, nodes that need nothing more, and the wait for targets.

use std::time::Duration;

use ccm_envtest::kubelet::Kubelet;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use simcloud::api::{Instance, ListPieces, TargetGroup};
use simcloud::console::Console;
use tokio::time::{Instant, sleep};

use crate::Error;

/// Services made at once; more gain nothing, because the API server gives out their addresses and
/// node ports one by one.
const CREATIONS: usize = 16;

/// Makes so many Services of type `LoadBalancer`. Seconds until the last is made.
pub(super) async fn create_services(client: &Client, count: u32) -> Result<f64, Error> {
    let begun = Instant::now();
    let services = Api::<Service>::namespaced(client.clone(), "default");
    stream::iter(0..count)
        .map(|number| {
            let services = services.clone();
            async move { services.create(&PostParams::default(), &service(number)).await.map(drop) }
        })
        .buffer_unordered(CREATIONS)
        .try_collect::<()>()
        .await?;
    Ok(begun.elapsed().as_secs_f64())
}

fn service(number: u32) -> Service {
    let port = ServicePort { port: 80, protocol: Some("TCP".to_owned()), ..ServicePort::default() };
    Service {
        metadata: ObjectMeta { name: Some(format!("web-{number:04}")), ..ObjectMeta::default() },
        spec: Some(ServiceSpec {
            type_: Some("LoadBalancer".to_owned()),
            selector: Some([("app".to_owned(), format!("web-{number:04}"))].into()),
            ports: Some(vec![port]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// A node on which nothing is left to do.
pub(super) fn initialised_kubelet(machine: &Instance) -> Kubelet {
    Kubelet::new(&machine.name).initialized().provider_id(format!("sim://{}", machine.id))
}

/// Waits until every target group has so many targets.
pub(super) async fn targets(console: &Console, count: u64) -> Result<(), Error> {
    loop {
        let groups = console.all_pieces::<TargetGroup>(ListPieces::default()).await?;
        if groups.iter().all(|group| group.target_count == count) {
            return Ok(());
        }
        sleep(Duration::from_millis(200)).await;
    }
}
