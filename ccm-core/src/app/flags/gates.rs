//! Feature gates: those of the Go programs are accepted, and what they switch is fixed here.

use super::go;
use super::options::{Errors, FlagError};

/// What a gate of the Go programs switches, and what of it there is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Here {
    /// Always done.
    Always,
    /// Not done.
    Never,
    /// There is nothing that it could switch.
    Nothing,
}

/// Gates of a Go cloud-controller-manager that mean something here, with how far each has got in Go's
/// 1.36, and why it cannot be switched.
const OURS: [(&str, &str, Here, &str); 7] = [
    (
        "CloudControllerManagerWatchBasedRoutesReconciliation",
        "ALPHA",
        Here::Always,
        "routes follow a watch of the nodes",
    ),
    ("CloudControllerManagerWebhook", "ALPHA", Here::Never, "there are no webhooks"),
    ("ComponentFlagz", "BETA", Here::Always, "/flagz is served"),
    ("ComponentStatusz", "BETA", Here::Always, "/statusz is served"),
    (
        "ControllerManagerReleaseLeaderElectionLockOnExit",
        "ALPHA",
        Here::Always,
        "the lease is released at the end",
    ),
    ("NativeHistograms", "ALPHA", Here::Never, "histograms have fixed buckets"),
    ("RemoteRequestHeaderUID", "BETA", Here::Nothing, ""),
];

/// Gates of the libraries that every Go program of Kubernetes is linked with, from 1.27 to 1.36, those
/// included that are gone since. A command line that sets one goes on working.
const LIBRARIES: [&str; 79] = [
    "APIListChunking",
    "APIPriorityAndFairness",
    "APIResponseCompression",
    "APIServerIdentity",
    "APIServerTracing",
    "APIServingWithRoutine",
    "AdmissionWebhookMatchConditions",
    "AdvancedAuditing",
    "AggregatedDiscoveryEndpoint",
    "AggregatedDiscoveryRemoveBetaType",
    "AllAlpha",
    "AllBeta",
    "AllowParsingUserUIDFromCertAuth",
    "AllowUnsafeMalformedObjectDeletion",
    "AnonymousAuthConfigurableEndpoints",
    "AuthorizeWithSelectors",
    "BtreeWatchCache",
    "CBORServingAndStorage",
    "ClientsAllowCBOR",
    "ClientsPreferCBOR",
    "CloudDualStackNodeIPs",
    "ComponentSLIs",
    "ConcurrentWatchObjectDecode",
    "ConsistentListFromCache",
    "ConstrainedImpersonation",
    "ContextualLogging",
    "CoordinatedLeaderElection",
    "CustomResourceValidationExpressions",
    "DeclarativeValidation",
    "DeclarativeValidationBeta",
    "DeclarativeValidationTakeover",
    "DetectCacheInconsistency",
    "DryRun",
    "EfficientWatchResumption",
    "InOrderInformers",
    "InOrderInformersBatchProcess",
    "InformerResourceVersion",
    "KMSv1",
    "KMSv2",
    "KMSv2KDF",
    "ListFromCacheSnapshot",
    "LoggingAlphaOptions",
    "LoggingBetaOptions",
    "LoggingStableOptions",
    "ManifestBasedAdmissionControlConfig",
    "MutatingAdmissionPolicy",
    "OpenAPIEnums",
    "OpenAPIV3",
    "RemainingItemCount",
    "RemoveSelfLink",
    "RequestWatchProgress",
    "ResilientWatchCacheInitialization",
    "RetryGenerateName",
    "SeparateCacheWatchRPC",
    "ServerSideApply",
    "ServerSideFieldValidation",
    "ShardedListAndWatch",
    "SizeBasedListCostEstimate",
    "StableLoadBalancerNodeSet",
    "StorageVersionAPI",
    "StorageVersionHash",
    "StreamingCollectionEncodingToJSON",
    "StreamingCollectionEncodingToProtobuf",
    "StrictCostEnforcementForVAP",
    "StrictCostEnforcementForWebhooks",
    "StructuredAuthenticationConfiguration",
    "StructuredAuthenticationConfigurationEgressSelector",
    "StructuredAuthenticationConfigurationJWKSMetrics",
    "StructuredAuthorizationConfiguration",
    "TokenRequestServiceAccountUIDValidation",
    "UnauthenticatedHTTP2DOSMitigation",
    "UnknownVersionInteroperabilityProxy",
    "ValidatingAdmissionPolicy",
    "WatchBookmark",
    "WatchCacheInitializationPostStartHook",
    "WatchFromStorageWithoutResourceVersion",
    "WatchList",
    "WatchListClient",
    "ZeroLimitedNominalConcurrencyShares",
];

/// The gates that are one way or the other here, as `kubernetes_feature_enabled` has them: name, stage,
/// and whether what it switches is done.
pub(in crate::app) fn fixed() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    OURS.into_iter().filter_map(|(name, stage, here, _)| match here {
        Here::Always => Some((name, stage, true)),
        Here::Never => Some((name, stage, false)),
        Here::Nothing => None,
    })
}

/// Reads `Name=bool` entries and says of each that asks for something else than what is done why it
/// has no effect. What is wrong is reported.
pub(super) fn gates<'a>(
    entries: impl IntoIterator<Item = &'a str>,
    errors: &mut Errors,
    warnings: &mut Vec<String>,
) {
    for entry in entries.into_iter().map(str::trim).filter(|entry| !entry.is_empty()) {
        let Some((name, value)) = entry.split_once('=') else {
            errors.0.push(FlagError::FeatureGate {
                entry: entry.to_owned(),
                why: "must be Name=true or Name=false".to_owned(),
            });
            continue;
        };
        let ours = OURS.iter().find(|(known, ..)| *known == name);
        if ours.is_none() && !LIBRARIES.contains(&name) {
            errors.0.push(FlagError::FeatureGate { entry: entry.to_owned(), why: unknown(name) });
            continue;
        }
        let Some(wanted) = go::boolean(value) else {
            errors.0.push(FlagError::FeatureGate {
                entry: entry.to_owned(),
                why: "the value must be true or false".to_owned(),
            });
            continue;
        };
        match ours {
            Some((_, _, Here::Always, _)) if wanted => {}
            Some((_, _, Here::Never, _)) if !wanted => {}
            Some((_, _, Here::Always | Here::Never, why)) => {
                warnings.push(format!("--feature-gates {entry}: has no effect: {why}"));
            }
            _ => warnings.push(format!(
                "--feature-gates {entry}: has no effect: what it switches is not a part of this program"
            )),
        }
    }
}

fn unknown(name: &str) -> String {
    let known = OURS.iter().map(|(known, ..)| *known).chain(LIBRARIES);
    let distance =
        |known: &&str| strsim::damerau_levenshtein(&name.to_lowercase(), &known.to_lowercase());
    let nearest =
        known.min_by_key(distance).filter(|nearest| distance(nearest) <= nearest.len() / 4);
    match nearest {
        Some(nearest) => format!("unknown feature gate; did you mean {nearest}?"),
        None => "unknown feature gate".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing("", "", "")]
    #[case::what_is_done_anyway("ControllerManagerReleaseLeaderElectionLockOnExit=true", "", "")]
    #[case::what_is_never_done("CloudControllerManagerWebhook=false", "", "")]
    #[case::what_cannot_be_switched_off(
        "CloudControllerManagerWatchBasedRoutesReconciliation=false",
        "",
        "--feature-gates CloudControllerManagerWatchBasedRoutesReconciliation=false: has no effect: \
         routes follow a watch of the nodes"
    )]
    #[case::of_a_library(
        "WatchList=true",
        "",
        "--feature-gates WatchList=true: has no effect: what it switches is not a part of this program"
    )]
    #[case::of_a_library_of_old(
        "CloudDualStackNodeIPs=true",
        "",
        "--feature-gates CloudDualStackNodeIPs=true: has no effect: what it switches is not a part of this program"
    )]
    #[case::misspelt(
        "ComponentStatusZ1=true",
        "--feature-gates \"ComponentStatusZ1=true\": unknown feature gate; did you mean ComponentStatusz?",
        ""
    )]
    #[case::unknown("Flux=true", "--feature-gates \"Flux=true\": unknown feature gate", "")]
    #[case::no_value(
        "WatchList",
        "--feature-gates \"WatchList\": must be Name=true or Name=false",
        ""
    )]
    #[case::odd_value(
        "WatchList=yes",
        "--feature-gates \"WatchList=yes\": the value must be true or false",
        ""
    )]
    fn gates_are_known(#[case] text: &str, #[case] error: &str, #[case] warning: &str) {
        let (mut errors, mut warnings) = (Errors::default(), Vec::new());
        gates(text.split(','), &mut errors, &mut warnings);
        let errors: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        assert_eq!((errors.join("\n").as_str(), warnings.join("\n").as_str()), (error, warning));
    }

    #[test]
    fn no_gate_is_listed_twice() {
        let mut names: Vec<&str> = OURS.iter().map(|(name, ..)| *name).chain(LIBRARIES).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
