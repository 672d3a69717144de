//! Which health check a Service's target groups are to have. Pure.

use ccm_core::cloud::{ExternalTrafficPolicy, LoadBalancerSpec};

use super::super::annotations::{HealthCheckPort, HealthTimeout, PREFIX, ServiceAnnotations};
use crate::client::elbv2::{HealthCheck, HealthSettings, Protocol};
use crate::config::HealthProbe;

/// A health check as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HealthWish {
    pub(super) protocol: Protocol,
    port: String,
    /// By HTTP and HTTPS.
    path: Option<String>,
    /// Seconds.
    pub(super) interval: u32,
    /// Seconds. `None`: nobody says, and what is there stays.
    timeout: Option<u32>,
    healthy: u32,
    unhealthy: u32,
    /// What is said and has no effect.
    pub(super) ignored: Vec<String>,
}

/// What differs in a health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    None,
    /// Only what the Go program would leave.
    Small(HealthSettings),
    /// All of it.
    Large(HealthSettings),
}

impl HealthWish {
    /// Reads it. In the order of the Go program: the traffic policy's defaults, what is asked and where
    /// by annotation, the probe that all Services share in their stead, and the numbers.
    pub(super) fn read(
        spec: &LoadBalancerSpec,
        said: &ServiceAnnotations,
        probe: &HealthProbe,
        wrong: &mut Vec<String>,
    ) -> Self {
        let is_local = spec.external_traffic_policy == ExternalTrafficPolicy::Local;
        let mut wish = if is_local { local(spec, said, wrong) } else { cluster() };
        match said.health_protocol.as_deref().filter(|text| !text.is_empty()) {
            None => {}
            Some(text) => match Protocol::from(&*text.to_ascii_uppercase()) {
                protocol @ (Protocol::Tcp | Protocol::Http | Protocol::Https) => {
                    wish.protocol = protocol;
                }
                _ => wrong.push(format!(
                    "annotation {PREFIX}healthcheck-protocol={text:?}: must be TCP, HTTP or HTTPS for a \
                     Network Load Balancer"
                )),
            },
        }
        if wish.protocol == Protocol::Tcp {
            wish.path = None;
        } else {
            let asked = said.health_path.clone().filter(|path| !path.is_empty());
            wish.path = asked.or(wish.path.take()).or_else(|| Some("/".to_owned()));
        }
        match said.health_port {
            None | Some(HealthCheckPort::Nonsense) => {}
            Some(HealthCheckPort::Traffic) => "traffic-port".clone_into(&mut wish.port),
            Some(HealthCheckPort::Number(port)) => wish.port = port.to_string(),
        }
        if let (HealthProbe::Shared { port, path }, false) = (probe, is_local) {
            wish.protocol = Protocol::Http;
            wish.port = port.to_string();
            wish.path = Some(path.clone());
        } else {
            // What has no effect may be anything.
            if let Some(path) = wish.path.as_ref().filter(|path| !path.starts_with('/')) {
                wrong.push(format!(
                    "annotation {PREFIX}healthcheck-path={path:?}: must begin with /"
                ));
            }
            wrong.extend(said.wrong_health_port(&spec.identity.annotations));
        }
        wish.numbers(said);
        wish
    }

    /// Where nodes are asked. `None`: where their traffic goes.
    pub(super) fn port(&self) -> Option<u16> {
        self.port.parse().ok()
    }

    fn numbers(&mut self, said: &ServiceAnnotations) {
        if let Some(seconds) = said.health_interval {
            self.interval = seconds.0;
        }
        if let Some(HealthTimeout(said)) = said.health_timeout {
            let most = self.interval.min(LONGEST_TIMEOUT);
            self.timeout = u32::try_from(said).ok().filter(|it| (2..=most).contains(it));
            if self.timeout.is_none() {
                // The Go program never sends it, so it may have stood there for years.
                self.ignored.push(format!(
                    "annotation {PREFIX}healthcheck-timeout=\"{said}\": must be from 2 to {most} seconds for \
                     a Network Load Balancer that asks every {} seconds; it is ignored",
                    self.interval
                ));
            }
        }
        if let Some(answers) = said.healthy_threshold {
            self.healthy = answers.0;
        }
        if let Some(said) = said.unhealthy_threshold {
            match said.accepted() {
                Ok(answers) => self.unhealthy = answers,
                // By itself the Go program never sends it to a target group that is there.
                Err(why) => self.ignored.push(format!("{why}; it is ignored")),
            }
        }
    }

    /// All that is said of a new group.
    pub(super) fn whole(&self) -> HealthSettings {
        HealthSettings {
            protocol: Some(self.protocol.clone()),
            port: Some(self.port.clone()),
            path: self.path.clone(),
            interval: Some(self.interval),
            timeout: self.timeout.or_else(|| {
                let default = default_timeout(&self.protocol);
                (self.interval < LONGEST_DEFAULT).then(|| default.min(self.interval))
            }),
            healthy: Some(self.healthy),
            unhealthy: Some(self.unhealthy),
        }
    }

    /// AWS refuses a check that may take longer than the time until the next one.
    fn short_enough(&self, timeout: u32) -> Option<u32> {
        (timeout > self.interval).then_some(self.interval)
    }

    /// What has to be said that this check is as wished for.
    pub(super) fn difference(&self, have: &HealthCheck) -> Difference {
        fn other<T: PartialEq + Clone>(want: &T, have: &T) -> Option<T> {
            (want != have).then(|| want.clone())
        }
        let path = self.path.clone().filter(|path| have.path.as_ref() != Some(path));
        let asked = self.timeout.filter(|timeout| *timeout != have.timeout);
        let differs = HealthSettings {
            protocol: other(&self.protocol, &have.protocol),
            port: other(&self.port, &have.port),
            path,
            interval: other(&self.interval, &have.interval),
            timeout: match self.timeout {
                Some(_) => asked,
                // As it would be, had it been made like this: AWS' own differ.
                None if self.protocol != have.protocol => {
                    let own = default_timeout(&self.protocol).min(self.interval);
                    (own != have.timeout).then_some(own)
                }
                None => self.short_enough(have.timeout),
            },
            healthy: other(&self.healthy, &have.healthy),
            unhealthy: other(&self.unhealthy, &have.unhealthy),
        };
        let small = HealthSettings {
            timeout: differs.timeout,
            unhealthy: differs.unhealthy,
            ..HealthSettings::default()
        };
        if differs == HealthSettings::default() {
            Difference::None
        } else if differs == small {
            Difference::Small(small)
        } else {
            Difference::Large(differs)
        }
    }
}

fn cluster() -> HealthWish {
    HealthWish {
        protocol: Protocol::Tcp,
        port: "traffic-port".to_owned(),
        path: None,
        interval: 30,
        timeout: None,
        healthy: 3,
        unhealthy: 3,
        ignored: Vec::new(),
    }
}

fn local(
    spec: &LoadBalancerSpec,
    said: &ServiceAnnotations,
    wrong: &mut Vec<String>,
) -> HealthWish {
    if spec.health_check_node_port.is_none() && said.health_port.is_none() {
        wrong.push(format!(
            "spec.healthCheckNodePort is not set, though externalTrafficPolicy is Local: AWS has nothing \
             to ask nodes at (annotation {PREFIX}healthcheck-port names another port)"
        ));
    }
    let port = spec.health_check_node_port.map_or_else(String::new, |port| port.to_string());
    HealthWish {
        protocol: Protocol::Http,
        port,
        path: Some("/healthz".to_owned()),
        interval: 10,
        timeout: None,
        healthy: 2,
        unhealthy: 2,
        ignored: Vec::new(),
    }
}

/// The longest timeout that AWS accepts, in seconds.
const LONGEST_TIMEOUT: u32 = 120;

/// The longest of AWS' own timeouts, in seconds. A shorter interval needs one that is said.
const LONGEST_DEFAULT: u32 = 10;

/// What AWS takes where nothing is said, in seconds.
fn default_timeout(protocol: &Protocol) -> u32 {
    match protocol {
        Protocol::Http => 6,
        _ => LONGEST_DEFAULT,
    }
}
