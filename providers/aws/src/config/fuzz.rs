//! Whatever is in the file is read, or refused with the line.

use proptest::prelude::*;

use super::{GLOBAL_KEYS, parse};

/// A file with a bit of everything, as the Go program reads it too.
const FILE: &str = "\
; of a cluster
[Global]
Zone = us-west-2a
VPC=\"vpc-1\" # quoted
SubnetID = subnet-1
RouteTableID = rtb-1, rtb-2
RouteTableID
RouteTableID = rtb-\\
3
RoleARN = arn:aws:iam::123456789012:role/ccm
KubernetesClusterTag = blue
DisableSecurityGroupIngress
ElbSecurityGroup = sg-1
NodeIPFamilies = ipv6
NodeIPFamilies = ipv4
ClusterServiceLoadBalancerHealthProbeMode = Shared
ClusterServiceSharedLoadBalancerHealthProbePort = 10256
NLBSecurityGroupMode = Managed

[ServiceOverride \"1\"]
Service = EC2
Region = us-west-2
URL = https://ec2.example.com
SigningRegion = us-west-2
";

fn line() -> impl Strategy<Value = String> {
    let key = prop::sample::select(GLOBAL_KEYS.to_vec());
    let value = prop_oneof![
        ".{0,20}",
        "\"[a-z \\\\\"]{0,8}\"?",
        "-?[0-9]{1,25}",
        "(vpc|subnet|rtb|sg)-[0-9a-f]{0,17}",
        "[a-z]{2}-[a-z]{2,9}-[0-9][a-z]?",
        Just(String::new()),
    ];
    let end = prop::sample::select(vec!["\n", "\r\n", "\\\n", " ; c\n", "#\n", ""]);
    let lines = FILE.lines().map(str::to_owned).collect::<Vec<_>>();
    let text = prop_oneof![
        3 => (key, prop::sample::select(vec!["=", " = ", " ", ":"]), value)
            .prop_map(|(key, is, value)| format!("{key}{is}{value}")),
        2 => prop::sample::select(lines),
        1 => "\\[[A-Za-z.]{0,8}( \"?[^\\]]{0,8}\"?)?\\]?",
        1 => ".{0,30}",
    ];
    (text, end).prop_map(|(text, end)| format!("{text}{end}"))
}

/// Read the same way twice, or refused with a line that there is.
fn is_helpful(bytes: &[u8]) -> Result<(), TestCaseError> {
    let said = |bytes| match parse(bytes) {
        Ok((_, warnings)) => {
            Ok(warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        }
        Err(err) => Err(err.to_string()),
    };
    let lines = bytes.split(|byte| *byte == b'\n').count();
    let first = said(bytes);
    prop_assert_eq!(&first, &said(bytes));
    let (Ok(text) | Err(text)) = &first;
    prop_assert!(first.is_ok() || text.contains("line "), "no line: {text}");
    for at in text.split("line ").skip(1) {
        let number: String = at.chars().take_while(char::is_ascii_digit).collect();
        if let Ok(number) = number.parse::<usize>() {
            prop_assert!((1..=lines).contains(&number), "{text:?} of {lines} lines");
        }
    }
    Ok(())
}

#[test]
fn the_file_is_a_good_one() {
    let (_, warnings) = parse(FILE.as_bytes()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        is_helpful(&bytes)?;
    }

    #[test]
    fn no_lines_are_too_odd(lines in prop::collection::vec(line(), 0..10)) {
        is_helpful(format!("[Global]\n{}", lines.concat()).as_bytes())?;
        is_helpful(lines.concat().as_bytes())?;
    }

    /// Bytes of a good file changed, lost or put in between.
    #[test]
    fn no_slip_is_too_odd(slips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6)) {
        let mut bytes = FILE.as_bytes().to_vec();
        for (place, byte, how) in slips {
            let place = place.index(bytes.len());
            match how {
                0 => bytes[place] = byte,
                1 => bytes.insert(place, byte),
                _ => drop(bytes.remove(place)),
            }
        }
        is_helpful(&bytes)?;
    }
}
