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
    fn read(keys: &Keys) -> Result<Self, ConfigError> {
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
    fn applies_to(&self, service: Service, region: &str) -> bool {
        self.services.contains(&service) && (service == Service::Imds || self.region == region)
    }

    /// Whether it is for a service and a region that another is for too.
    fn is_twice(&self, other: &Self) -> bool {
        self.region == other.region
            && self.services.iter().any(|service| other.services.contains(service))
    }
}

/// All of them, in the file's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Overrides(pub(super) Vec<Override>);

impl Overrides {
    /// Reads and checks the sections.
    pub(super) fn read(sections: &[Keys]) -> Result<Self, ConfigError> {
        let mut overrides: Vec<Override> = Vec::new();
        for keys in sections {
            let one = Override::read(keys)?;
            if let Some(before) = overrides.iter().find(|before| one.is_twice(before)) {
                let why = format!(
                    "is {:?} in region {:?}, for which line {} gives an endpoint already",
                    one.name, one.region, before.line
                );
                return Err(keys.wrong("Service", keys.line, why));
            }
            overrides.push(one);
        }
        Ok(Self(overrides))
    }

    /// The endpoint for a service in a region: the first that applies.
    pub(crate) fn find(&self, service: Service, region: &str) -> Option<&Override> {
        self.0.iter().find(|one| one.applies_to(service, region))
    }

    /// Those that are not used in this region, each with why.
    pub(crate) fn unused(&self, region: &str) -> Vec<(&Override, String)> {
        let why = |one: &Override| {
            let is_found = |service| self.find(service, region) == Some(one);
            match one.services {
                [Service::Kms] => Some("KMS is never called".to_owned()),
                services if services.iter().any(|service| is_found(*service)) => None,
                [Service::Imds] => Some("another one for it stands before".to_owned()),
                _ => {
                    let theirs = &one.region;
                    Some(format!("it is for region {theirs:?}, and the cluster is in {region:?}"))
                }
            }
        };
        self.0.iter().filter_map(|one| Some((one, why(one)?))).collect()
    }
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
