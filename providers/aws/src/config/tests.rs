//! Each key, and each mistake with its line.

use rstest::rstest;

use super::*;

fn config(text: &str) -> Config {
    let (config, warnings) = parse(text.as_bytes()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    config
}

/// The overrides, whatever is warned about.
fn overrides(text: &str) -> Overrides {
    parse(text.as_bytes()).unwrap().0.overrides
}

/// The config of `[Global]` with these lines.
fn global(lines: &str) -> Config {
    config(&format!("[Global]\n{lines}\n"))
}

fn refused(text: &str) -> String {
    parse(text.as_bytes()).map(|(config, _)| config).unwrap_err().to_string()
}

fn warnings(text: &str) -> Vec<String> {
    parse(text.as_bytes()).unwrap().1.iter().map(ToString::to_string).collect()
}

fn cluster_of(id: &str, legacy: bool) -> Cluster {
    Cluster { id: id.to_owned(), legacy }
}

#[rstest]
#[case::no_file(Config::read(None).unwrap())]
#[case::empty(config(""))]
#[case::only_the_section(config("[Global]"))]
#[case::keys_without_text(global(
    "Zone=\nRegion = \"\"\nVPC = ; later\nRouteTableID=\nNodeIPFamilies=\nDisableSecurityGroupIngress="
))]
fn what_is_not_said_has_a_default(#[case] config: Config) {
    assert_eq!(config.region, None);
    assert_eq!(config.vpc, None);
    assert_eq!(config.subnet, None);
    assert!(config.route_tables.is_empty());
    assert_eq!(config.role, None);
    assert_eq!(config.cluster, None);
    assert!(!config.keeps_off_node_groups);
    assert_eq!(config.elb_security_group, None);
    assert_eq!(config.node_families, [IpFamily::V4]);
    assert_eq!(config.health_probe, HealthProbe::ServiceNodePort);
    assert_eq!(config.needs_topology.as_str(), NEEDS_TOPOLOGY);
    assert!(!config.manages_nlb_groups);
    assert_eq!(config.overrides, Overrides::default());
    assert!(!config.is_elsewhere());
}

/// As kops writes it.
#[test]
fn a_file_of_kops() {
    let config = config(
        "[global]\nDisableSecurityGroupIngress=true\nElbSecurityGroup=sg-1\n\
         NLBSecurityGroupMode=Managed\nNodeIPFamilies=ipv6\nNodeIPFamilies=ipv4\n",
    );
    assert!(config.keeps_off_node_groups);
    assert_eq!(config.elb_security_group.as_deref(), Some("sg-1"));
    assert!(config.manages_nlb_groups);
    assert_eq!(config.node_families, [IpFamily::V6, IpFamily::V4]);
}

#[rstest]
#[case::region("Region = eu-west-1", Some("eu-west-1"))]
#[case::quoted("Region = \" eu-west-1 \" ; ours", Some("eu-west-1"))]
#[case::the_last("Region = eu-west-1\nREGION=eu-west-2", Some("eu-west-2"))]
#[case::the_zone_goes_before("Region = eu-west-1\nZone = us-west-2a", Some("us-west-2"))]
#[case::gov("Zone = us-gov-west-1b", Some("us-gov-west-1"))]
#[case::a_local_zone("Zone = us-west-2-lax-1a", Some("us-west-2"))]
#[case::a_wavelength_zone("Zone = us-east-1-wl1-bos-wlz-1", Some("us-east-1"))]
fn regions(#[case] lines: &str, #[case] region: Option<&str>) {
    assert_eq!(global(lines).region.as_deref(), region);
}

#[rstest]
#[case("RouteTableID = rtb-1", &["rtb-1"])]
#[case::lines("RouteTableID = rtb-1\nRouteTableID = rtb-2", &["rtb-1", "rtb-2"])]
#[case::commas("RouteTableID = rtb-1, rtb-2 ,,rtb-1", &["rtb-1", "rtb-2"])]
#[case::taken_back("RouteTableID = rtb-1\nRouteTableID\nRouteTableID = rtb-2", &["rtb-2"])]
fn route_tables(#[case] lines: &str, #[case] tables: &[&str]) {
    assert_eq!(global(lines).route_tables, tables);
}

#[rstest]
#[case::id("KubernetesClusterID = blue", cluster_of("blue", false))]
#[case::tag("KubernetesClusterTag = blue", cluster_of("blue", true))]
#[case::both("KubernetesClusterTag = blue\nKubernetesClusterID = blue", cluster_of("blue", true))]
fn clusters(#[case] lines: &str, #[case] cluster: Cluster) {
    assert_eq!(global(lines).cluster, Some(cluster));
}

#[rstest]
#[case("true", true)]
#[case("YES", true)]
#[case("on", true)]
#[case("1", true)]
#[case("False", false)]
#[case("no", false)]
#[case("off", false)]
#[case("0", false)]
fn yes_and_no(#[case] value: &str, #[case] said: bool) {
    let config = global(&format!("DisableSecurityGroupIngress = {value}"));
    assert_eq!(config.keeps_off_node_groups, said);
}

#[test]
fn a_key_alone_says_yes() {
    assert!(global("DisableSecurityGroupIngress ; as gcfg has it").keeps_off_node_groups);
}

#[rstest]
#[case("ipv4", &[IpFamily::V4])]
#[case("ipv6", &[IpFamily::V6])]
fn families_of_nodes(#[case] value: &str, #[case] families: &[IpFamily]) {
    let lines = format!("NodeIPFamilies = {value}\nNodeIPFamilies = {value}");
    assert_eq!(global(&lines).node_families, families);
}

#[rstest]
#[case::said("ServiceNodePort", "", HealthProbe::ServiceNodePort)]
#[case::shared("Shared", "", shared(10256, "/healthz"))]
#[case::port(
    "Shared",
    "ClusterServiceSharedLoadBalancerHealthProbePort = 8080",
    shared(8080, "/healthz")
)]
#[case::the_default_port(
    "Shared",
    "ClusterServiceSharedLoadBalancerHealthProbePort = 0",
    shared(10256, "/healthz")
)]
#[case::hexadecimal(
    "Shared",
    "ClusterServiceSharedLoadBalancerHealthProbePort = 0x10",
    shared(16, "/healthz")
)]
#[case::path(
    "Shared",
    "ClusterServiceSharedLoadBalancerHealthProbePath = /livez",
    shared(10256, "/livez")
)]
fn health_probes(#[case] mode: &str, #[case] lines: &str, #[case] probe: HealthProbe) {
    let lines = format!("ClusterServiceLoadBalancerHealthProbeMode = {mode}\n{lines}");
    assert_eq!(global(&lines).health_probe, probe);
}

fn shared(port: u16, path: &str) -> HealthProbe {
    HealthProbe::Shared { port: NonZeroU16::new(port).unwrap(), path: path.to_owned() }
}

#[rstest]
#[case("p4d.24xlarge", true)]
#[case("p5en.48xlarge", true)]
#[case("p6e-gb200.36xlarge", true)]
#[case("trn1n.32xlarge", true)]
#[case("hpc7g.4xlarge", true)]
#[case("m5.large", false)]
#[case("g5.xlarge", false)]
#[case("inf2.xlarge", false)]
#[case("", false)]
fn types_that_need_topology(#[case] instance_type: &str, #[case] does: bool) {
    assert_eq!(global("").needs_topology.is_match(instance_type), does);
}

#[test]
fn a_pattern_of_ones_own() {
    let config = global(r#"SupportedTopologyInstanceTypePattern = "^m5\\.(large|xlarge)$""#);
    assert!(config.needs_topology.is_match("m5.large"));
    assert!(!config.needs_topology.is_match("p4d.24xlarge"));
}

#[test]
fn a_role_has_an_account() {
    let lines = "RoleARN = arn:aws-cn:iam::123456789012:role/path/name\nSourceARN = arn:x";
    let role = Role {
        arn: "arn:aws-cn:iam::123456789012:role/path/name".to_owned(),
        account: "123456789012".to_owned(),
        source: Some("arn:x".to_owned()),
    };
    assert_eq!(global(lines).role, Some(role));
}

#[test]
fn a_source_without_a_role_is_sent_to_nobody() {
    let text = "[Global]\nSourceARN = arn:x";
    let (config, _) = parse(text.as_bytes()).unwrap();
    assert_eq!(config.role, None);
    let wanted = "line 2: [Global] SourceARN is ignored: it is sent when a role is assumed, and \
                  RoleARN is not given";
    assert_eq!(warnings(text), [wanted]);
}

#[rstest]
#[case::nothing("", false)]
#[case::no_subnet_and_no_role("VPC=vpc-1\nKubernetesClusterID=c", false)]
#[case::no_cluster("VPC=vpc-1\nSubnetID=subnet-1", false)]
#[case::no_vpc("SubnetID=subnet-1\nKubernetesClusterID=c", false)]
#[case::subnet("VPC=vpc-1\nSubnetID=subnet-1\nKubernetesClusterID=c", true)]
#[case::role("VPC=vpc-1\nRoleARN=arn:aws:iam::1:role/r\nKubernetesClusterTag=c", true)]
fn when_no_machine_is_asked(#[case] lines: &str, #[case] is_elsewhere: bool) {
    assert_eq!(global(lines).is_elsewhere(), is_elsewhere);
}

#[rstest]
#[case::zone(
    "Zone = nowhere",
    "key \"[Global] Zone\": is \"nowhere\": a zone's name begins with its region, as in us-west-2a"
)]
#[case::zone_of_digits("Zone = -2a", "key \"[Global] Zone\": is \"-2a\"")]
#[case::no_value("VPC", "key \"[Global] VPC\": has no value: write VPC = …, or leave it out")]
#[case::role(
    "RoleARN = admin",
    "key \"[Global] RoleARN\": is \"admin\": it must be like arn:aws:iam::123456789012:role/name"
)]
#[case::user("RoleARN = arn:aws:iam::1:user/r", "key \"[Global] RoleARN\"")]
#[case::source(
    "SourceARN = cluster\nRoleARN = arn:aws:iam::1:role/r",
    "key \"[Global] SourceARN\": is \"cluster\": an ARN is accepted, which begins with arn:"
)]
#[case::source_with_a_break(
    "SourceARN = arn:a\\nb: c\nRoleARN = arn:aws:iam::1:role/r",
    "is \"arn:a\\nb: c\": an ARN is accepted"
)]
#[case::tables(
    "RouteTableID = rtb-*",
    "key \"[Global] RouteTableID\": is \"rtb-*\": an ID such as rtb-0123456789abcdef0 is accepted"
)]
#[case::one_of_the_tables("RouteTableID = rtb-1, rtb-?", "[Global] RouteTableID\": is \"rtb-?\"")]
#[case::vpc("VPC = *", "key \"[Global] VPC\": is \"*\": an ID such as vpc-0123456789abcdef0")]
#[case::subnet("SubnetID = vpc-1", "is \"vpc-1\": an ID such as subnet-0123456789abcdef0")]
#[case::group("ElbSecurityGroup = web", "is \"web\": an ID such as sg-0123456789abcdef0")]
#[case::cluster(
    "KubernetesClusterID = blue*",
    "key \"[Global] KubernetesClusterID\": is \"blue*\": it is part of a tag"
)]
#[case::legacy_cluster("KubernetesClusterTag = b?", "[Global] KubernetesClusterTag\": is \"b?\"")]
#[case::flag(
    "DisableSecurityGroupIngress = maybe",
    "key \"[Global] DisableSecurityGroupIngress\": is \"maybe\": true (yes, on, 1) and false (no, off, 0) are accepted"
)]
#[case::family(
    "NodeIPFamilies = ipv5",
    "key \"[Global] NodeIPFamilies\": is \"ipv5\": ipv4 and ipv6 are accepted, in small letters and a line for each"
)]
#[case::family_in_capitals(
    "NodeIPFamilies = IPv6",
    "is \"IPv6\": ipv4 and ipv6 are accepted, in small"
)]
#[case::families("NodeIPFamilies = ipv4,ipv6", "key \"[Global] NodeIPFamilies\": is \"ipv4,ipv6\"")]
#[case::mode(
    "ClusterServiceLoadBalancerHealthProbeMode = shared",
    "is \"shared\": ServiceNodePort and Shared are accepted"
)]
#[case::port(
    "ClusterServiceSharedLoadBalancerHealthProbePort = 65536\nClusterServiceLoadBalancerHealthProbeMode = Shared",
    "is \"65536\": a port from 1 to 65535 is accepted"
)]
#[case::no_port(
    "ClusterServiceSharedLoadBalancerHealthProbePort = -1\nClusterServiceLoadBalancerHealthProbeMode = Shared",
    "is \"-1\": a port"
)]
#[case::path(
    "ClusterServiceSharedLoadBalancerHealthProbePath = healthz\nClusterServiceLoadBalancerHealthProbeMode = Shared",
    "is \"healthz\": a path begins with \"/\""
)]
#[case::pattern(
    "SupportedTopologyInstanceTypePattern = ^(p",
    "key \"[Global] SupportedTopologyInstanceTypePattern\": is \"^(p\", which is no regular expression"
)]
#[case::groups(
    "NLBSecurityGroupMode = managed",
    "key \"[Global] NLBSecurityGroupMode\": is \"managed\": Managed is accepted, or nothing"
)]
fn wrong_values(#[case] line: &str, #[case] wanted: &str) {
    let said = refused(&format!("; ours\n[Global]\n\n{line}\n"));
    assert!(said.starts_with("--cloud-config, line 4, key"), "{said}");
    assert!(said.contains(wanted), "{said}");
}

#[test]
fn two_ids_of_the_cluster_must_be_one() {
    let said = refused("[Global]\nKubernetesClusterTag = a\nKubernetesClusterID = b\n");
    assert_eq!(
        said,
        "--cloud-config, line 3, key \"[Global] KubernetesClusterID\": is \"b\", and \
         KubernetesClusterTag is \"a\": they must be the same, or one of them left out"
    );
}

#[rstest]
#[case::no_section(
    "Zone = us-west-2a",
    "line 1, key \"Zone\": stands before the first section: expected [Global] above it"
)]
#[case::no_bracket("[Global\nZone=a", "line 1: expected \"]\"")]
#[case::no_name("[]", "line 1: expected the name of a section after \"[\"")]
#[case::behind_the_bracket(
    "[Global] Zone = us-west-2a",
    "line 1: expected nothing but a comment behind \"]\""
)]
#[case::open_quote(
    "[Global]\nVPC = \"vpc-1\nSubnetID=subnet-1",
    "line 2: expected a closing quote in the same line"
)]
#[case::odd_escape(
    "[Global]\n\nSupportedTopologyInstanceTypePattern = p4\\.x",
    "line 3: expected \\\\, \\\", \\n or \\t: a backslash is written twice"
)]
#[case::yaml("[Global]\nVPC: vpc-1", "line 2: expected \"=\" and a value behind the key")]
#[case::no_key("[Global]\n= vpc-1", "line 2: expected a section such as [Global]")]
#[case::json("{\"zone\": \"a\"}", "line 1: expected a section such as [Global]")]
#[case::empty_id("[ServiceOverride \"\"]", "line 1: expected a name in quotes")]
#[case::odd_id("[ServiceOverride \"a\\n\"]", "line 1: expected a name in quotes")]
fn what_is_no_gcfg(#[case] text: &str, #[case] wanted: &str) {
    let said = refused(text);
    assert!(said.contains(wanted), "{said}");
}

#[test]
fn what_is_no_text() {
    let said = parse(b"[Global]\nVPC=v\nZone = \xff").unwrap_err().to_string();
    assert_eq!(said, "--cloud-config, line 3: the file is not UTF-8");
}

/// What gcfg's own tests say it accepts.
#[rstest]
#[case::plain("[section]\nname=value", "value")]
#[case::blanks(" \t[ section ] \r\n\t name \t=  va lue \t\r\n\r\n", "va lue")]
#[case::quoted("[section]\nname=\" va ; lue \" # not this", " va ; lue ")]
#[case::quoted_parts("[section]\nname=\"val\" \"ue\"", "val ue")]
#[case::escapes("[section]\nname=\"a\\\\b\\\"c\\nd\\te\"", "a\\b\"c\nd\te")]
#[case::escapes_outside_of_quotes("[section]\nname=\\\"value\\\"", "\"value\"")]
#[case::joined("[section]\nname=value \\\n value", "value  value")]
#[case::comments("; a\n# b\n[section]; c\nname=value; \"d", "value")]
#[case::nothing("[section]\nname=", "")]
#[case::only_a_comment("[section]\nname=; c", "")]
#[case::empty_quotes("[section]\nname=\"\"", "")]
#[case::mark_of_windows("\u{feff}[section]\nname=value", "value")]
#[case::hyphens("[section-x]\nname-y=value", "value")]
fn what_gcfg_accepts(#[case] text: &str, #[case] value: &str) {
    let sections = gcfg::parse(text.as_bytes()).unwrap();
    let variables: Vec<_> = sections.iter().flat_map(|section| &section.variables).collect();
    let values: Vec<_> = variables.iter().map(|variable| variable.value.as_deref()).collect();
    assert_eq!(values, [Some(value)]);
}

#[test]
fn lines_count_on_behind_a_joined_one() {
    let sections = gcfg::parse(b"[a]\nb = 1 \\\n  2\nc\n[d \"e \\\"f\\\\\"]\n").unwrap();
    assert_eq!((sections[0].line, sections[1].line), (1, 5));
    let [b, c] = &sections[0].variables[..] else { panic!("{sections:?}") };
    assert_eq!((b.line, b.value.as_deref()), (2, Some("1   2")));
    assert_eq!((c.line, c.value.as_deref()), (4, None));
    assert_eq!(sections[1].id.as_deref(), Some("e \"f\\"));
}

#[rstest]
#[case::key(
    "[Global]\nVPCID = vpc-1\nvpcid = vpc-2",
    &["line 2: [Global] has no key \"VPCID\": it is ignored", "line 3: [Global] has no key \"vpcid\": it is ignored"]
)]
#[case::key_with_a_slip(
    "[Global]\nRegoin = eu-west-1\nRegoin = eu-west-2",
    &["line 2: [Global] has no key \"Regoin\": it is ignored; did you mean Region?"]
)]
#[case::section(
    "[LoadBalancer]\na=b\n[Globl]\n",
    &["line 1: there is no section [LoadBalancer]: it is ignored", "line 3: there is no section [Globl]: it is ignored; did you mean Global?"]
)]
#[case::named_section("[Global \"a\"]\nZone=b", &["line 1: there is no section [Global \"a\"]: it is ignored; did you mean Global?"])]
fn what_is_not_known_is_warned_about(#[case] text: &str, #[case] wanted: &[&str]) {
    assert_eq!(warnings(text), wanted);
}

/// Files that have worked for years may have them.
#[test]
fn what_the_probe_of_each_service_does_not_ask_is_warned_about() {
    let text = "[Global]\nClusterServiceSharedLoadBalancerHealthProbePort = 70000\n\
                ClusterServiceSharedLoadBalancerHealthProbePath = healthz\n";
    let said = |line: u64, key: &str| {
        format!(
            "line {line}: [Global] ClusterServiceSharedLoadBalancerHealthProbe{key} is ignored: it counts \
             with ClusterServiceLoadBalancerHealthProbeMode=Shared"
        )
    };
    assert_eq!(warnings(text), [said(2, "Port"), said(3, "Path")]);
    let (config, _) = parse(text.as_bytes()).unwrap();
    assert_eq!(config.health_probe, HealthProbe::ServiceNodePort);
}

#[test]
fn what_is_never_called_may_be_anywhere() {
    let text = FULL.replace("EC2", "KMS").replace("https://ec2.example:8443/api", "kms.local");
    assert_eq!(overrides(&text), Overrides::default());
    let said = "line 4: [ServiceOverride \"1\"] URL cannot be used, and the section is ignored: KMS is \
                never called";
    assert_eq!(warnings(&text), [said]);
}

const FULL: &str = "[ServiceOverride \"1\"]\nService = EC2\nRegion = eu-west-1\n\
                    URL = https://ec2.example:8443/api\nSigningRegion = eu-central-1\n\
                    SigningName = my-ec2\nSigningMethod = v4\n";

#[test]
fn an_override_in_pieces() {
    let pieces = "[serviceoverride \"a\"]\nservice = ec2\nREGION = eu-west-1\n\
                  [ServiceOverride \"b\"]\nService = sts\nRegion = r\nURL = http://x\nSigningRegion = r\n\
                  [ServiceOverride \"a\"]\nurl = http://127.0.0.1:5000\nSigningRegion = eu-west-1\n";
    let overrides = overrides(pieces);
    let [a, b] = &overrides.0[..] else { panic!("{overrides:?}") };
    assert_eq!((a.line, a.name.as_str(), a.services), (1, "ec2", &[Service::Ec2][..]));
    assert_eq!((a.region.as_str(), a.url.as_str()), ("eu-west-1", "http://127.0.0.1:5000/"));
    assert_eq!((a.signing_region.as_str(), a.signing_name.as_deref()), ("eu-west-1", None));
    assert_eq!((b.line, b.services), (4, &[Service::Sts][..]));
}

#[rstest]
#[case("EC2", &[Service::Ec2])]
#[case("ec2", &[Service::Ec2])]
#[case("Elastic Load Balancing", &[Service::Elb])]
#[case("elastic load balancing v2", &[Service::ElbV2])]
#[case("elasticloadbalancing", &[Service::Elb, Service::ElbV2])]
#[case("elbv2", &[Service::ElbV2])]
#[case("elb", &[Service::Elb])]
#[case("KMS", &[Service::Kms])]
#[case("STS", &[Service::Sts])]
#[case(" ec2imds ", &[Service::Imds])]
#[case("ec2metadata", &[Service::Imds])]
fn names_of_services(#[case] name: &str, #[case] services: &[Service]) {
    assert_eq!(
        overrides(&FULL.replace("Service = EC2", &format!("Service = \"{name}\""))).0[0].services,
        services
    );
}

/// Files that have worked for years have them.
#[test]
fn a_service_that_is_not_called_is_warned_about() {
    let text = FULL.replace("EC2", "s3");
    assert_eq!(overrides(&text), Overrides::default());
    let [said] = &warnings(&text)[..] else { panic!("{:?}", warnings(&text)) };
    let wanted = "line 2: [ServiceOverride \"1\"] Service is \"s3\", and the section is ignored: \
                  \"EC2\", \"Elastic Load Balancing\"";
    assert!(said.starts_with(wanted), "{said}");
}

#[rstest]
#[case::as_the_go_program_has_it("EC2", false)]
#[case::another_spelling("ec2", true)]
#[case::the_older_sdks("elasticloadbalancing", true)]
#[case::sts("STS", true)]
#[case::never_called("kms", false)]
fn what_comes_alive_by_the_change_of_programs_is_warned_about(
    #[case] name: &str,
    #[case] is_warned_about: bool,
) {
    let wanted = format!(
        "line 2: [ServiceOverride \"1\"] Service is {name:?}, which the Go program ignores: here \
         it is obeyed"
    );
    let wanted = is_warned_about.then_some(wanted);
    assert_eq!(warnings(&FULL.replace("EC2", name)), Vec::from_iter(wanted));
}

#[rstest]
#[case::service("Service", "")]
#[case::region("Region", "")]
#[case::url("URL", "")]
#[case::signing_region("SigningRegion", "")]
#[case::blank("Region", "Region = \"  \"\n")]
fn an_override_needs_its_keys(#[case] key: &str, #[case] instead: &str) {
    let text: String = FULL
        .split_inclusive('\n')
        .map(|line| if line.starts_with(&format!("{key} =")) { instead } else { line })
        .collect();
    let said = refused(&text);
    let line = if instead.is_empty() { 1 } else { 3 };
    let wanted = format!(
        "--cloud-config, line {line}, key \"[ServiceOverride \\\"1\\\"] {key}\": is missing or empty"
    );
    assert_eq!(said, wanted);
}

#[rstest]
#[case::no_scheme("https://ec2.example:8443/api", "ec2.example", "line 4", "must be http://<host>")]
#[case::odd_scheme("https://ec2.example:8443/api", "ftp://h", "line 4", "must be http://<host>")]
#[case::password("https://ec2.example:8443/api", "https://me:sEcReT@h", "line 4", "without a user")]
#[case::query("https://ec2.example:8443/api", "https://h/?a=b", "line 4", "without \"?\"")]
fn wrong_overrides(
    #[case] right: &str,
    #[case] wrong: &str,
    #[case] line: &str,
    #[case] why: &str,
) {
    let said = refused(&FULL.replace(right, wrong));
    assert!(said.contains(line) && said.contains(why), "{said}");
    assert!(!said.contains("sEcReT"), "{said}");
}

#[test]
fn the_same_service_twice_is_an_error() {
    let said = refused(&format!("{FULL}{}", FULL.replace("\"1\"", "\"2\"")));
    assert!(said.contains("line 8, key \"[ServiceOverride \\\"2\\\"] Service\""), "{said}");
    assert!(said.contains("for which line 1 gives an endpoint already"), "{said}");
}

/// What the Go program obeys is obeyed here, whatever else names the same service.
#[rstest]
#[case::before("EC2", "ec2", Service::Ec2, 1)]
#[case::behind("ec2", "EC2", Service::Ec2, 8)]
#[case::neither("sts", "Sts", Service::Sts, 1)]
#[case::one_of_both("elasticloadbalancing", "Elastic Load Balancing v2", Service::ElbV2, 8)]
#[case::the_other("elasticloadbalancing", "Elastic Load Balancing v2", Service::Elb, 1)]
#[case::two_services("EC2", "Elastic Load Balancing", Service::Ec2, 1)]
fn two_spellings_of_a_service(
    #[case] first: &str,
    #[case] second: &str,
    #[case] service: Service,
    #[case] line: u64,
) {
    let (first, second) = (FULL.replace("EC2", first), FULL.replace("EC2", second));
    let both = overrides(&format!("{first}{}", second.replace("\"1\"", "\"2\"")));
    assert_eq!(both.find(service, "eu-west-1").map(|one| one.line), Some(line));
}

#[test]
fn two_spellings_are_warned_about() {
    let second = FULL.replace("\"1\"", "\"2\"").replace("EC2", "ec2");
    let text = format!("{FULL}{second}");
    let wanted = "line 8: [ServiceOverride \"2\"] Service is \"ec2\" in region \"eu-west-1\", for \
                  which line 1 gives an endpoint already: that of line 1 goes before";
    assert!(warnings(&text).iter().any(|said| said == wanted), "{:?}", warnings(&text));
    assert_eq!(unused(&text, "eu-west-1", false), [(8, "that of line 1 goes before".to_owned())]);
}

/// What is not used in a region, by its line.
fn unused(text: &str, region: &str, has_role: bool) -> Vec<(u64, String)> {
    let overrides = overrides(text);
    overrides.unused(region, has_role).into_iter().map(|(one, why)| (one.line, why)).collect()
}

#[test]
fn where_an_override_applies() {
    let elsewhere = FULL.replace("eu-west-1", "us-east-1");
    let metadata = FULL.replace("\"1\"", "\"2\"").replace("EC2", "ec2imds");
    let keys = FULL.replace("\"1\"", "\"3\"").replace("EC2", "KMS");
    let text = format!("{elsewhere}{metadata}{keys}");
    let overrides = overrides(&text);
    let line = |service, region| overrides.find(service, region).map(|one| one.line);
    assert_eq!(line(Service::Ec2, "eu-west-1"), None);
    assert_eq!(line(Service::Ec2, "us-east-1"), Some(1));
    assert_eq!(line(Service::Imds, "us-east-1"), Some(8));
    let why = "it is for region \"us-east-1\", and the cluster is in \"eu-west-1\"";
    let wanted = [(1, why.to_owned()), (15, "KMS is never called".to_owned())];
    assert_eq!(unused(&text, "eu-west-1", false), wanted);
}

#[test]
fn the_metadata_have_one_endpoint() {
    let first = FULL.replace("EC2", "ec2imds");
    let second = first.replace("\"1\"", "\"2\"").replace("eu-west-1", "us-east-1");
    let unused = unused(&format!("{first}{second}"), "us-east-1", false);
    assert_eq!(unused, [(8, "that of line 1 goes before".to_owned())]);
}

#[test]
fn sts_is_asked_for_a_role_alone() {
    let text = FULL.replace("EC2", "STS");
    assert_eq!(unused(&text, "eu-west-1", true), []);
    let [(1, why)] = &unused(&text, "eu-west-1", false)[..] else { panic!("it is not used") };
    assert!(why.contains("AWS_ENDPOINT_URL_STS"), "{why}");
}

/// The page lists each key, and no other.
#[test]
fn the_book_has_all_keys() {
    let page =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/reference/aws-configuration.md");
    let page = std::fs::read_to_string(page).unwrap();
    let listed = |heading: &str| -> Vec<String> {
        let (_, section) = page.split_once(&format!("\n## `[{heading}")).unwrap();
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
        rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
    };
    let sorted = |keys: &[&str]| -> Vec<String> {
        let mut keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
        keys.sort();
        keys
    };
    let (mut global, mut of_overrides) = (listed(GLOBAL), listed(OVERRIDE));
    global.sort();
    of_overrides.sort();
    assert_eq!(global, sorted(GLOBAL_KEYS));
    assert_eq!(of_overrides, sorted(overrides::KEYS));
}
