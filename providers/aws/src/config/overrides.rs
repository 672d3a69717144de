//! `[ServiceOverride "…"]`: other endpoints than those that the region has.

use ccm_core::cloud::ConfigError;
use url::Url;

use super::keys::{At, Keys, Warning};

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

/// As the Go program has them, letter for letter.
const NAMES: &[(&str, &[Service])] = &[
    ("EC2", &[Service::Ec2]),
    ("Elastic Load Balancing", &[Service::Elb]),
    ("Elastic Load Balancing v2", &[Service::ElbV2]),
    ("KMS", &[Service::Kms]),
    ("ec2imds", &[Service::Imds]),
];

/// Those that it takes no notice of, in any spelling: STS, and the older SDK's.
const OTHER_NAMES: &[(&str, &[Service])] = &[
    ("STS", &[Service::Sts]),
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
    /// The Go program obeys it too.
    is_obeyed_by_go: bool,
    /// In which region it applies. Of no meaning for [`Service::Imds`].
    pub(crate) region: String,
    pub(crate) url: Url,
    pub(crate) signing_region: String,
    /// `None`: the service's own.
    pub(crate) signing_name: Option<String>,
}

impl Override {
    /// Reads and checks one section. `None`: it is for a service that is not called, which the Go
    /// program takes without a word.
    fn read(keys: &Keys, warnings: &mut Vec<Warning>) -> Result<Option<Self>, ConfigError> {
        let service = keys.needed("Service")?;
        let region = keys.needed("Region")?;
        let url = keys.needed("URL")?;
        let signing_region = keys.needed(SIGNING_REGION)?;
        let signing_name = keys.text("SigningName")?;

        let name = service.value;
        let mut known = NAMES.iter().chain(OTHER_NAMES);
        let Some((_, services)) = known.find(|(known, _)| known.eq_ignore_ascii_case(&name)) else {
            let why = format!("is {name:?}, and the section is ignored: {ACCEPTED}");
            warnings.push(keys.warning("Service", service.line, &why));
            return Ok(None);
        };
        let endpoint = endpoint(&url);
        if *services == [Service::Kms] && endpoint.is_err() {
            let why = "cannot be used, and the section is ignored: KMS is never called";
            warnings.push(keys.warning("URL", url.line, why));
            return Ok(None);
        }
        let is_obeyed_by_go = NAMES.iter().any(|(known, _)| *known == name);
        if !is_obeyed_by_go && *services != [Service::Kms] {
            let why = format!("is {name:?}, which the Go program ignores: here it is obeyed");
            warnings.push(keys.warning("Service", service.line, &why));
        }
        Ok(Some(Self {
            line: keys.line,
            name,
            services,
            is_obeyed_by_go,
            region: region.value,
            url: endpoint.map_err(|why| keys.wrong("URL", url.line, why))?,
            signing_region: signing_region.value,
            signing_name: signing_name.map(|name| name.value),
        }))
    }

    /// Whether it is for this service, called in this region.
    fn applies_to(&self, service: Service, region: &str) -> bool {
        self.services.contains(&service) && (service == Service::Imds || self.region == region)
    }

    /// Whether it is for a service and a region that another is for too.
    fn overlaps(&self, other: &Self) -> bool {
        self.region == other.region
            && self.services.iter().any(|service| other.services.contains(service))
    }
}

/// All of them, in the file's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Overrides(pub(super) Vec<Override>);

impl Overrides {
    /// Reads and checks the sections.
    pub(super) fn read(
        sections: &[Keys],
        warnings: &mut Vec<Warning>,
    ) -> Result<Self, ConfigError> {
        let mut overrides: Vec<Override> = Vec::new();
        for keys in sections {
            let Some(one) = Override::read(keys, warnings)? else { continue };
            for before in overrides.iter().filter(|before| one.overlaps(before)) {
                let of = format!("is {:?} in region {:?}, for which line", one.name, one.region);
                let why = format!("{of} {} gives an endpoint already", before.line);
                // The Go program sees no other likeness than this, and ends.
                if before.name == one.name {
                    return Err(keys.wrong("Service", keys.line, why));
                }
                let first =
                    if one.is_obeyed_by_go && !before.is_obeyed_by_go { &one } else { before };
                let why = format!("{why}: that of line {} goes before", first.line);
                warnings.push(keys.warning("Service", keys.line, &why));
            }
            overrides.push(one);
        }
        Ok(Self(overrides))
    }

    /// The endpoint for a service in a region: the first that applies and that the Go program
    /// obeys too, or else the first that applies.
    pub(crate) fn find(&self, service: Service, region: &str) -> Option<&Override> {
        let apply = self.0.iter().filter(|one| one.applies_to(service, region));
        apply.min_by_key(|one| !one.is_obeyed_by_go)
    }

    /// Those that are not used in this region, each with why.
    pub(crate) fn unused(&self, region: &str, has_role: bool) -> Vec<(&Override, String)> {
        let why = |one: &Override| {
            let is_found = |service| self.find(service, region) == Some(one);
            match one.services {
                [Service::Kms] => Some("KMS is never called".to_owned()),
                [Service::Sts] if !has_role && is_found(Service::Sts) => {
                    let why = "STS is asked there for a RoleARN, and there is none; for a web \
                               identity (IRSA) it is asked where AWS_ENDPOINT_URL_STS says";
                    Some(why.to_owned())
                }
                services if services.iter().any(|service| is_found(*service)) => None,
                services => {
                    let mut here = services.iter().filter(|it| one.applies_to(**it, region));
                    let other = here.find_map(|service| self.find(*service, region));
                    let theirs = &one.region;
                    let elsewhere =
                        || format!("it is for region {theirs:?}, and the cluster is in {region:?}");
                    let why = |other: &Override| format!("that of line {} goes before", other.line);
                    Some(other.map_or_else(elsewhere, why))
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
