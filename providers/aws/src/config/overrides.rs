//! `[ServiceOverride "…"]`: other endpoints than those that the region has.

use ccm_core::cloud::ConfigError;
use url::Url;

use super::keys::{At, Keys};

/// The keys of the section.
pub(super) const KEYS: &[&str] =
    &["Service", "Region", "URL", SIGNING_REGION, "SigningName", "SigningMethod"];
const SIGNING_REGION: &str = "SigningRegion";

/// What may have another endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Ec2,
    /// Classic Load Balancers.
    Elb,
    /// Network Load Balancers.
    ElbV2,
    /// Known from the Go program, and never called.
    Kms,
    Sts,
    /// The instance metadata service.
    Imds,
}

/// Names in lower case: first the IDs that the newer Go SDK gives, then the older Go SDK's.
const NAMES: &[(&str, &[Service])] = &[
    ("ec2", &[Service::Ec2]),
    ("elastic load balancing", &[Service::Elb]),
    ("elastic load balancing v2", &[Service::ElbV2]),
    ("kms", &[Service::Kms]),
    ("ec2imds", &[Service::Imds]),
    ("sts", &[Service::Sts]),
    // Both APIs had one name and one endpoint.
    ("elasticloadbalancing", &[Service::Elb, Service::ElbV2]),
    ("elb", &[Service::Elb]),
    ("elbv2", &[Service::ElbV2]),
    ("ec2metadata", &[Service::Imds]),
];

const ACCEPTED: &str = "\"EC2\", \"Elastic Load Balancing\", \"Elastic Load Balancing v2\", \
                        \"STS\", \"KMS\" and \"ec2imds\" are accepted, and the older \"ec2\", \
                        \"elasticloadbalancing\" (both kinds), \"elb\", \"elbv2\", \"sts\", \
                        \"kms\" and \"ec2metadata\"";

/// Another endpoint for a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Override {
    /// Where it stands in the file.
    pub(crate) line: u64,
    /// As it stands in the file.
    pub(crate) name: String,
    pub(crate) services: &'static [Service],
    /// In which region it applies. Of no meaning for [`Service::Imds`].
    pub(crate) region: String,
    pub(crate) url: Url,
    pub(crate) signing_region: String,
    /// `None`: the service's own.
    pub(crate) signing_name: Option<String>,
}

impl Override {
    /// Reads and checks one section.
    pub(super) fn read(keys: &Keys) -> Result<Self, ConfigError> {
        let service = keys.needed("Service")?;
        let region = keys.needed("Region")?;
        let url = keys.needed("URL")?;
        let signing_region = keys.needed(SIGNING_REGION)?;
        let signing_name = keys.text("SigningName")?;

        let name = service.value.to_lowercase();
        let Some((_, services)) = NAMES.iter().find(|(known, _)| *known == name) else {
            let why = format!("is {:?}: {ACCEPTED}", service.value);
            return Err(keys.wrong("Service", service.line, why));
        };
        Ok(Self {
            line: keys.line,
            name: service.value,
            services,
            region: region.value,
            url: endpoint(&url).map_err(|why| keys.wrong("URL", url.line, why))?,
            signing_region: signing_region.value,
            signing_name: signing_name.map(|name| name.value),
        })
    }

    /// Whether it is for this service, called in this region.
    pub(crate) fn applies_to(&self, service: Service, region: &str) -> bool {
        self.services.contains(&service) && (service == Service::Imds || self.region == region)
    }

    /// Whether it is for a service and a region that another is for too.
    pub(super) fn is_twice(&self, other: &Self) -> bool {
        self.region == other.region
            && self.services.iter().any(|service| other.services.contains(service))
    }
}

/// The endpoint for a service in a region: the first that applies.
pub(crate) fn find<'a>(
    overrides: &'a [Override],
    service: Service,
    region: &str,
) -> Option<&'a Override> {
    overrides.iter().find(|one| one.applies_to(service, region))
}

/// Those that are not used in this region, each with why.
pub(crate) fn unused<'a>(
    overrides: &'a [Override],
    region: &str,
) -> impl Iterator<Item = (&'a Override, String)> {
    overrides.iter().filter_map(move |one| {
        let is_used = one.services.iter().any(|&service| {
            service != Service::Kms
                && find(overrides, service, region).is_some_and(|found| found == one)
        });
        let why = match one.services {
            _ if is_used => return None,
            [Service::Kms] => "KMS is never called".to_owned(),
            [Service::Imds] => "another one for it stands before".to_owned(),
            _ => format!("it is for region {:?}, and the cluster is in {region:?}", one.region),
        };
        Some((one, why))
    })
}

/// What is wrong with a URL is said without it: it may hold a password.
fn endpoint(url: &At<String>) -> Result<Url, String> {
    let wanted = "must be http://<host> or https://<host>, with a port and a path where needed";
    let url = Url::parse(&url.value).map_err(|err| format!("{wanted}: {err}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(format!("{wanted}, not {}:", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("{wanted}, without a user"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{wanted}, without \"?\" and \"#\""));
    }
    Ok(url)
}
