//! What `--cloud-config` says: the INI file of the AWS cloud-controller-manager.
//!
//! The keys are described in the book (`reference/aws-configuration.md`).

#[cfg(test)]
mod fuzz;
mod gcfg;
mod keys;
mod overrides;
mod region;

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use ccm_core::cloud::{ConfigError, ConfigFile, IpFamily};
use regex::Regex;
use tracing::warn;

use self::keys::{At, Keys, Warning};
pub(crate) use self::overrides::{Overrides, Service};
use crate::ground::Cluster;
use crate::id;

/// Instance types of machines whose place in the network matters to what runs on them: the node
/// is not initialised before it is known.
const NEEDS_TOPOLOGY: &str = r"^(hpc|trn|p)[0-9]+[a-z]*(-[a-z0-9]+)?\.[a-z0-9]+$";

/// kube-proxy's own.
const PROBE_PORT: NonZeroU16 = NonZeroU16::new(10256).expect("it is not 0");
const PROBE_PATH: &str = "/healthz";

/// What AWS takes for patterns in the conditions of questions.
const PATTERNS: [char; 3] = ['*', '?', '\\'];

const GLOBAL: &str = "Global";
const OVERRIDE: &str = "ServiceOverride";

const ZONE: &str = "Zone";
const REGION: &str = "Region";
const VPC: &str = "VPC";
const SUBNET: &str = "SubnetID";
const ROUTE_TABLE: &str = "RouteTableID";
const ROLE: &str = "RoleARN";
const SOURCE: &str = "SourceARN";
const CLUSTER_TAG: &str = "KubernetesClusterTag";
const CLUSTER_ID: &str = "KubernetesClusterID";
const NO_INGRESS: &str = "DisableSecurityGroupIngress";
const ELB_GROUP: &str = "ElbSecurityGroup";
const FAMILIES: &str = "NodeIPFamilies";
const PROBE_MODE: &str = "ClusterServiceLoadBalancerHealthProbeMode";
const SHARED_PORT: &str = "ClusterServiceSharedLoadBalancerHealthProbePort";
const SHARED_PATH: &str = "ClusterServiceSharedLoadBalancerHealthProbePath";
const TOPOLOGY: &str = "SupportedTopologyInstanceTypePattern";
const NLB_GROUPS: &str = "NLBSecurityGroupMode";

/// The keys of `[Global]`.
const GLOBAL_KEYS: &[&str] = &[
    ZONE,
    REGION,
    VPC,
    SUBNET,
    ROUTE_TABLE,
    ROLE,
    SOURCE,
    CLUSTER_TAG,
    CLUSTER_ID,
    NO_INGRESS,
    ELB_GROUP,
    FAMILIES,
    PROBE_MODE,
    SHARED_PORT,
    SHARED_PATH,
    TOPOLOGY,
    NLB_GROUPS,
];

/// The file, read and checked. No file: all defaults.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// `Region`, or that of `Zone`, which goes before it. `None`: asked from the instance metadata.
    pub(crate) region: Option<String>,
    /// `VPC`.
    pub(crate) vpc: Option<String>,
    /// `SubnetID`.
    pub(crate) subnet: Option<String>,
    /// `RouteTableID`. Empty: those that bear the cluster's tag.
    pub(crate) route_tables: Vec<String>,
    /// `RoleARN` with `SourceARN`. `None`: the credentials that are found are used as they are.
    pub(crate) role: Option<Role>,
    /// `KubernetesClusterID`, or `KubernetesClusterTag`. `None`: found on the own instance.
    pub(crate) cluster: Option<Cluster>,
    /// `DisableSecurityGroupIngress`.
    pub(crate) keeps_off_node_groups: bool,
    /// `ElbSecurityGroup`.
    pub(crate) elb_security_group: Option<String>,
    /// `NodeIPFamilies`, at least one.
    pub(crate) node_families: Vec<IpFamily>,
    /// `ClusterServiceLoadBalancerHealthProbeMode`, with its port and path.
    pub(crate) health_probe: HealthProbe,
    /// `SupportedTopologyInstanceTypePattern`.
    pub(crate) needs_topology: Regex,
    /// `NLBSecurityGroupMode=Managed`.
    pub(crate) manages_nlb_groups: bool,
    /// `[ServiceOverride]`.
    pub(crate) overrides: Overrides,
}

/// A role that is assumed for all calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Role {
    /// `arn:<partition>:iam::<account>:role/<name>`.
    pub(crate) arn: String,
    /// The account in it.
    pub(crate) account: String,
    /// `SourceARN`.
    pub(crate) source: Option<String>,
}

/// What asks a node whether it can take traffic that any node may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HealthProbe {
    /// `ServiceNodePort`: the Service's own port.
    ServiceNodePort,
    /// `Shared`: kube-proxy answers for all Services.
    Shared {
        /// Where.
        port: NonZeroU16,
        /// At which path.
        path: String,
    },
}

impl Config {
    /// Reads and checks the file. What is not known is warned about in the log.
    pub(crate) fn read(file: Option<&ConfigFile>) -> Result<Self, ConfigError> {
        let bytes = file.map_or(&[][..], |file| &file.bytes);
        let (config, warnings) = parse(bytes)?;
        for warning in warnings {
            warn!("--cloud-config, {warning}");
        }
        Ok(config)
    }

    /// Whether the process runs on a machine that is not the cluster's, so that everything is
    /// configured and no machine is asked.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.vpc.is_some()
            && (self.subnet.is_some() || self.role.is_some())
            && self.cluster.is_some()
    }
}

fn parse(bytes: &[u8]) -> Result<(Config, Vec<Warning>), ConfigError> {
    let mut warnings = Vec::new();
    let mut global = Keys::new(format!("[{GLOBAL}]"), 1);
    // By the text in quotes, and in the file's order.
    let mut by_id: BTreeMap<String, usize> = BTreeMap::new();
    let mut overrides: Vec<Keys> = Vec::new();
    for section in gcfg::parse(bytes)? {
        let is = |name: &str| section.name.eq_ignore_ascii_case(name);
        if is(GLOBAL) && section.id.is_none() {
            global.add(section, GLOBAL_KEYS, &mut warnings);
        } else if is(OVERRIDE) {
            let id = section.id.clone().unwrap_or_default();
            let index = *by_id.entry(id).or_insert_with_key(|id| {
                overrides.push(Keys::new(format!("[{OVERRIDE} {id:?}]"), section.line));
                overrides.len() - 1
            });
            overrides[index].add(section, overrides::KEYS, &mut warnings);
        } else {
            let (name, known) = (&section.name, [GLOBAL, OVERRIDE]);
            let what = match &section.id {
                None => format!("there is no section [{name}]"),
                Some(id) => format!("there is no section [{name} {id:?}]"),
            };
            keys::warn_once(&mut warnings, section.line, &what, keys::nearest(name, &known));
        }
    }
    let config = Config {
        region: region_of(&global)?,
        vpc: resource(&global, VPC, "vpc-")?,
        subnet: resource(&global, SUBNET, "subnet-")?,
        route_tables: route_tables(&global)?,
        role: role(&global, &mut warnings)?,
        cluster: cluster(&global)?,
        keeps_off_node_groups: global.flag(NO_INGRESS)?,
        elb_security_group: resource(&global, ELB_GROUP, "sg-")?,
        node_families: node_families(&global)?,
        health_probe: health_probe(&global, &mut warnings)?,
        needs_topology: needs_topology(&global)?,
        manages_nlb_groups: manages_nlb_groups(&global)?,
        overrides: Overrides::read(&overrides, &mut warnings)?,
    };
    Ok((config, warnings))
}

fn text(global: &Keys, key: &'static str) -> Result<Option<String>, ConfigError> {
    Ok(global.text(key)?.map(|text| text.value))
}

fn region_of(global: &Keys) -> Result<Option<String>, ConfigError> {
    let Some(At { value: zone, line }) = global.text(ZONE)? else { return text(global, REGION) };
    let Some(region) = region::of_zone(&zone) else {
        let why = format!("is {zone:?}: a zone's name begins with its region, as in us-west-2a");
        return Err(global.wrong(ZONE, line, why));
    };
    Ok(Some(region.to_owned()))
}

/// The ID of something, as AWS writes it. In the conditions of questions other texts can be
/// patterns, which fit what nobody meant.
fn resource(global: &Keys, key: &'static str, prefix: &str) -> Result<Option<String>, ConfigError> {
    let Some(At { value, line }) = global.text(key)? else { return Ok(None) };
    check_id(global, key, prefix, &value, line)?;
    Ok(Some(value))
}

fn check_id(
    global: &Keys,
    key: &str,
    prefix: &str,
    value: &str,
    line: u64,
) -> Result<(), ConfigError> {
    if id::is_id(value, prefix) {
        return Ok(());
    }
    let why = format!("is {value:?}: an ID such as {prefix}0123456789abcdef0 is accepted");
    Err(global.wrong(key, line, why))
}

/// Several may be given: one to a line, or separated by commas.
fn route_tables(global: &Keys) -> Result<Vec<String>, ConfigError> {
    let mut tables = Vec::new();
    for At { value, line } in global.texts(ROUTE_TABLE) {
        for table in value.split(',').map(str::trim).filter(|table| !table.is_empty()) {
            check_id(global, ROUTE_TABLE, "rtb-", table, line)?;
            if !tables.iter().any(|known| known == table) {
                tables.push(table.to_owned());
            }
        }
    }
    Ok(tables)
}

fn role(global: &Keys, warnings: &mut Vec<Warning>) -> Result<Option<Role>, ConfigError> {
    let source = global.text(SOURCE)?;
    let Some(At { value: arn, line }) = global.text(ROLE)? else {
        warnings.extend(source.map(|source| {
            let why = "is ignored: it is sent when a role is assumed, and RoleARN is not given";
            global.warning(SOURCE, source.line, why)
        }));
        return Ok(None);
    };
    // It is sent as a header, which not every text can be.
    if let Some(At { value, line }) = &source
        && !(value.starts_with("arn:") && value.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        let why = format!("is {value:?}: an ARN is accepted, which begins with arn:");
        return Err(global.wrong(SOURCE, *line, why));
    }
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    let account = match parts[..] {
        ["arn", _, "iam", "", account, resource]
            if !account.is_empty()
                && account.bytes().all(|byte| byte.is_ascii_digit())
                && resource.starts_with("role/") =>
        {
            account.to_owned()
        }
        _ => {
            let why = format!("is {arn:?}: it must be like arn:aws:iam::123456789012:role/name");
            return Err(global.wrong(ROLE, line, why));
        }
    };
    Ok(Some(Role { arn, account, source: source.map(|source| source.value) }))
}

fn cluster(global: &Keys) -> Result<Option<Cluster>, ConfigError> {
    let (tag, id) = (global.text(CLUSTER_TAG)?, global.text(CLUSTER_ID)?);
    if let (Some(tag), Some(id)) = (&tag, &id)
        && tag.value != id.value
    {
        let why = format!(
            "is {:?}, and {CLUSTER_TAG} is {:?}: they must be the same, or one of them left out",
            id.value, tag.value
        );
        return Err(global.wrong(CLUSTER_ID, id.line, why));
    }
    for (key, given) in [(CLUSTER_TAG, &tag), (CLUSTER_ID, &id)] {
        if let Some(At { value, line }) = given
            && value.contains(|char: char| char.is_control() || PATTERNS.contains(&char))
        {
            let why = format!("is {value:?}: it is part of a tag, without *, ? and \\");
            return Err(global.wrong(key, *line, why));
        }
    }
    let legacy = tag.is_some();
    Ok(tag.or(id).map(|id| Cluster { id: id.value, legacy }))
}

fn node_families(global: &Keys) -> Result<Vec<IpFamily>, ConfigError> {
    let mut families = Vec::new();
    for At { value, line } in global.texts(FAMILIES) {
        let family = match value {
            "ipv4" => IpFamily::V4,
            "ipv6" => IpFamily::V6,
            _ => {
                let why = format!(
                    "is {value:?}: ipv4 and ipv6 are accepted, in small letters and a line for each"
                );
                return Err(global.wrong(FAMILIES, line, why));
            }
        };
        if !families.contains(&family) {
            families.push(family);
        }
    }
    if families.is_empty() {
        families.push(IpFamily::V4);
    }
    Ok(families)
}

fn health_probe(global: &Keys, warnings: &mut Vec<Warning>) -> Result<HealthProbe, ConfigError> {
    let is_shared = match global.text(PROBE_MODE)? {
        None => false,
        Some(At { value, line }) => match value.as_str() {
            "ServiceNodePort" => false,
            "Shared" => true,
            _ => {
                let why = format!("is {value:?}: ServiceNodePort and Shared are accepted");
                return Err(global.wrong(PROBE_MODE, line, why));
            }
        },
    };
    if !is_shared {
        for key in [SHARED_PORT, SHARED_PATH] {
            let why = format!("is ignored: it counts with {PROBE_MODE}=Shared");
            let given = global.text(key)?;
            warnings.extend(given.map(|given| global.warning(key, given.line, &why)));
        }
        return Ok(HealthProbe::ServiceNodePort);
    }
    let port = match global.text(SHARED_PORT)? {
        None => PROBE_PORT,
        Some(At { value, line }) => {
            let Some(port) = number(&value) else {
                let why = format!("is {value:?}: a port from 1 to 65535 is accepted");
                return Err(global.wrong(SHARED_PORT, line, why));
            };
            // 0 stands for the default, as in the Go program.
            NonZeroU16::new(port).unwrap_or(PROBE_PORT)
        }
    };
    let path = match global.text(SHARED_PATH)? {
        None => PROBE_PATH.to_owned(),
        Some(At { value, .. }) if value.starts_with('/') => value,
        Some(At { value, line }) => {
            let why = format!("is {value:?}: a path begins with \"/\"");
            return Err(global.wrong(SHARED_PATH, line, why));
        }
    };
    Ok(HealthProbe::Shared { port, path })
}

/// Decimal, or hexadecimal after `0x`, as gcfg reads numbers.
fn number(text: &str) -> Option<u16> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u16::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn needs_topology(global: &Keys) -> Result<Regex, ConfigError> {
    let given = global.text(TOPOLOGY)?;
    let (pattern, line) = match &given {
        Some(At { value, line }) => (value.as_str(), *line),
        None => (NEEDS_TOPOLOGY, global.line),
    };
    Regex::new(pattern).map_err(|err| {
        let why = format!("is {pattern:?}, which is no regular expression: {err}");
        global.wrong(TOPOLOGY, line, why)
    })
}

fn manages_nlb_groups(global: &Keys) -> Result<bool, ConfigError> {
    match global.text(NLB_GROUPS)? {
        None => Ok(false),
        Some(At { value, .. }) if value == "Managed" => Ok(true),
        Some(At { value, line }) => {
            let why = format!("is {value:?}: Managed is accepted, or nothing");
            Err(global.wrong(NLB_GROUPS, line, why))
        }
    }
}

#[cfg(test)]
mod tests;
