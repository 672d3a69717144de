//! Pages of the book that follow from the provider's declarations. `CCM_BLESS=1` writes them.

#![allow(clippy::unwrap_used, reason = "this is a test")]

mod book;
mod policies;
mod takeover;

use ccm_core::cloud::annotations::reference;
use ccm_provider_aws::registration;

#[test]
fn annotations() {
    let page = format!(
        "# Annotations of AWS\n\
         \n\
         <!-- Generated from the provider's declaration. -->\n\
         \n\
         What `--cloud-provider=aws` reads of an object's annotations. The keys, values and defaults are \
         those of the Go AWS cloud-controller-manager; [From the Go AWS \
         CCM](../how-to/from-go-aws.md) says where a value means more or less here. A value that is not \
         accepted is told on the object, all of them at once, and what the object has stays as it is. \
         Kubernetes' own `service.beta.kubernetes.io/load-balancer-source-ranges` is read for every \
         provider.\n\
         \n\
         {}",
        reference("Services of type LoadBalancer", &registration().service_annotations)
    );
    book::holds("reference/annotations-aws.md", &page);
}
