use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::cluster::pairs::Pairs;

const QUIET: Rules = Rules { provisioned: false, overwrite: false };
const ALL: Rules = Rules { provisioned: true, overwrite: false };
const OVERWRITE: Rules = Rules { provisioned: false, overwrite: true };

fn csi() -> VolumeSource {
    VolumeSource::Csi { driver: "csi.sim.ccm.rs".to_owned(), handle: "vol-1".to_owned() }
}

fn in_tree(handle: &str) -> VolumeSource {
    VolumeSource::InTree { field: "cinder", handle: handle.to_owned() }
}

/// A volume that nobody has said anything about.
pub(in crate::controllers::volume) fn volume(source: VolumeSource) -> PersistentVolume {
    PersistentVolume {
        name: "p".into(),
        uid: "u1".into(),
        version: crate::cluster::node::Version::new("1"),
        created: std::time::SystemTime::UNIX_EPOCH,
        deleting: false,
        labels: Pairs::default(),
        is_provisioned: false,
        source,
        has_affinity: false,
    }
}

/// Marks: `p` provisioned, `a` with affinity, `d` being deleted.
fn marked(source: VolumeSource, marks: &str, labels: &[(&str, &str)]) -> PersistentVolume {
    PersistentVolume {
        is_provisioned: marks.contains('p'),
        has_affinity: marks.contains('a'),
        deleting: marks.contains('d'),
        labels: labels.iter().copied().collect(),
        ..volume(source)
    }
}

fn topology(zones: &[&str], region: Option<&str>) -> Topology {
    Topology {
        zones: zones.iter().map(|zone| Zone::from(*zone)).collect(),
        region: region.map(Region::from),
    }
}

const NEW: &[(&str, &str)] = &[(keys::ZONE, "a"), (keys::REGION, "r")];
const OLD: &[(&str, &str)] = &[(keys::ZONE_BETA, "a"), (keys::REGION_BETA, "r")];
const HALF: &[(&str, &str)] = &[(keys::ZONE, "a")];
const ODD: &[(&str, &str)] = &[(keys::ZONE, "a__"), (keys::REGION, "r")];

#[rstest]
#[case::static_csi(csi(), "", &[], QUIET, "ask")]
#[case::static_csi_with_affinity_is_its_drivers(csi(), "a", &[], QUIET, "leave")]
#[case::provisioned_csi_is_its_drivers(csi(), "p", &[], QUIET, "leave")]
#[case::unless_the_flag_says_otherwise(csi(), "p", &[], ALL, "ask")]
#[case::the_flag_is_for_those_with_affinity_too(csi(), "pa", HALF, ALL, "ask")]
#[case::also_where_no_provisioner_made_them(csi(), "a", &[], ALL, "ask")]
#[case::nothing_is_missing(csi(), "pa", NEW, ALL, "leave")]
#[case::in_tree(in_tree("v"), "", &[], QUIET, "ask")]
#[case::in_tree_with_affinity(in_tree("v"), "a", &[], QUIET, "ask")]
#[case::in_tree_with_affinity_and_one_label(in_tree("v"), "a", HALF, QUIET, "ask")]
#[case::in_tree_that_says_all(in_tree("v"), "a", NEW, QUIET, "leave")]
#[case::in_tree_that_says_all_in_old_words(in_tree("v"), "a", OLD, QUIET, "leave")]
#[case::a_users_labels_are_compared(in_tree("v"), "", NEW, QUIET, "ask")]
#[case::a_provisioners_labels_are_trusted(in_tree("v"), "p", NEW, QUIET, "trust")]
#[case::also_the_old_ones(in_tree("v"), "p", OLD, QUIET, "trust")]
#[case::not_where_one_is_missing(in_tree("v"), "p", HALF, QUIET, "ask")]
#[case::not_where_they_make_no_sense(in_tree("v"), "p", ODD, QUIET, "ask")]
#[case::not_where_they_may_be_overwritten(in_tree("v"), "p", NEW, OVERWRITE, "ask")]
#[case::what_may_be_overwritten_is_compared(in_tree("v"), "a", NEW, OVERWRITE, "ask")]
#[case::overwriting_is_not_for_the_drivers(csi(), "a", NEW, OVERWRITE, "leave")]
#[case::a_placeholder(in_tree("placeholder-for-provisioning"), "", &[], QUIET, "leave")]
#[case::being_deleted(csi(), "d", &[], QUIET, "leave")]
fn tasks(
    #[case] source: VolumeSource,
    #[case] marks: &str,
    #[case] labels: &[(&str, &str)],
    #[case] rules: Rules,
    #[case] want: &str,
) {
    let said = match task(&marked(source, marks, labels), rules) {
        Task::Leave => "leave",
        Task::Ask => "ask",
        Task::Trust(is) => {
            assert_eq!(is, topology(&["a"], Some("r")));
            "trust"
        }
    };
    assert_eq!(said, want);
}

/// Labels as `key=value`, affinity as `key in [values]`, notes as their reasons.
fn told(changes: &Changes) -> String {
    let short =
        |key: &str| key.replace("topology.kubernetes.io/", "").replace("failure-domain.", "");
    let labels = changes.labels.iter().map(|(key, value)| format!("{}={value}", short(key)));
    let affinity =
        changes.affinity.iter().map(|(key, values)| format!("{} in {values:?}", short(key)));
    let notes = changes.notes.iter().map(|note| note.reason.to_owned());
    labels.chain(affinity).chain(notes).collect::<Vec<_>>().join("; ").replace('"', "")
}

const LONG: &str = "a-zone-with-a-name-of-forty-characters-x";

#[rstest]
#[case::all_is_missing(
    &["a"], Some("r"), "", &[], QUIET, "region=r; zone=a; zone in [a]; region in [r]"
)]
#[case::several_zones(
    &["b", "a"], Some("r"), "", &[], QUIET, "region=r; zone=a__b; zone in [a, b]; region in [r]"
)]
#[case::affinity_is_there(&["a"], Some("r"), "a", &[], QUIET, "region=r; zone=a")]
#[case::labels_are_there(&["a"], Some("r"), "", NEW, QUIET, "zone in [a]; region in [r]")]
#[case::old_labels_are_there(
    &["a"], Some("r"), "", OLD, QUIET, "region=r; zone=a; zone in [a]; region in [r]"
)]
#[case::one_is_missing(&["a"], Some("r"), "a", HALF, QUIET, "region=r")]
#[case::another_order_is_no_difference(
    &["a", "b"], None, "", &[(keys::ZONE, "b__a")], QUIET, "zone in [a, b]"
)]
#[case::a_name_that_looks_like_two(
    &[], Some("r__s"), "", &[], QUIET, "region=r__s; region in [r__s]"
)]
#[case::a_name_that_looks_like_two_is_there(
    &[], Some("s__r"), "a", &[(keys::REGION, "s__r")], OVERWRITE, ""
)]
#[case::not_bound_to_zones(&[], Some("r"), "", &[], QUIET, "region=r; region in [r]")]
#[case::not_bound_at_all(&[], None, "", &[], QUIET, "")]
#[case::not_bound_and_yet_labelled(&[], None, "", NEW, OVERWRITE, "")]
#[case::a_users_word_stays(&["b"], Some("r"), "", HALF, QUIET, "region=r; TopologyMismatch")]
#[case::also_an_old_one(
    &["b"], Some("r"), "", &[(keys::ZONE_BETA, "a")], QUIET, "region=r; TopologyMismatch"
)]
#[case::also_an_empty_one(&["b"], None, "", &[(keys::ZONE, "")], QUIET, "TopologyMismatch")]
#[case::some_of_the_zones_are_another_word(
    &["a", "b"], None, "", &[(keys::ZONE, "a")], QUIET, "TopologyMismatch"
)]
#[case::the_flag_overwrites(
    &["b"], Some("r"), "", NEW, OVERWRITE, "zone=b; zone in [b]; region in [r]"
)]
#[case::the_flag_overwrites_old_labels_too(
    &["b"], Some("r"), "a", OLD, OVERWRITE, "beta.kubernetes.io/zone=b; region=r; zone=b"
)]
#[case::a_name_that_is_no_label(
    &["zone a"], Some("r"), "", &[], QUIET, "region=r; LabelNotSet"
)]
#[case::zones_that_are_too_long_together(
    &[LONG, "b"], None, "", &[], QUIET,
    "zone in [a-zone-with-a-name-of-forty-characters-x, b]"
)]
#[case::zones_that_are_much_too_long_together(
    &[LONG, "b-zone-with-a-name-of-forty-characters-x"], None, "", &[], QUIET,
    "zone in [a-zone-with-a-name-of-forty-characters-x, b-zone-with-a-name-of-forty-characters-x]; \
     LabelNotSet"
)]
fn decisions(
    #[case] zones: &[&str],
    #[case] region: Option<&str>,
    #[case] marks: &str,
    #[case] labels: &[(&str, &str)],
    #[case] rules: Rules,
    #[case] want: &str,
) {
    let changes = decide(&marked(csi(), marks, labels), &topology(zones, region), rules);
    let want = want.replace(
        "zone in [a-zone-with-a-name-of-forty-characters-x, b]",
        "zone=a-zone-with-a-name-of-forty-characters-x__b; \
         zone in [a-zone-with-a-name-of-forty-characters-x, b]",
    );
    assert_eq!(told(&changes), want);
}

#[test]
fn a_note_names_the_label_both_words_and_what_follows() {
    let volume = marked(csi(), "", &[(keys::ZONE_BETA, "a")]);
    let changes = decide(&volume, &topology(&["c", "b"], None), QUIET);
    assert_eq!(
        changes.notes[0].message,
        "label failure-domain.beta.kubernetes.io/zone is \"a\" but the cloud says that the volume's \
         zone is \"b__c\"; the label stays, and no node affinity is set"
    );
}

/// What stands on the volume once the patch is in.
fn after(before: &PersistentVolume, changes: &Changes) -> PersistentVolume {
    let mut labels: BTreeMap<_, _> =
        before.labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    labels.extend(changes.labels.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    PersistentVolume {
        labels: Pairs::keeping(&labels, |_| true),
        has_affinity: before.has_affinity || !changes.affinity.is_empty(),
        ..before.clone()
    }
}

fn any_text() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec!["a", "b", "a__b", "b__a", "", "no label", LONG])
}

proptest! {
    /// Whatever is written leaves nothing to be written, and without the flag nothing that stood
    /// there is different.
    #[test]
    fn a_decision_converges_and_respects_what_is_there(
        labels in proptest::collection::btree_map(
            proptest::sample::select(vec![keys::ZONE, keys::REGION, keys::ZONE_BETA, keys::REGION_BETA]),
            any_text(), 0..4,
        ),
        zones in proptest::collection::btree_set(any_text(), 0..3),
        region in proptest::option::of(any_text()),
        affinity: bool, provisioned: bool, flagged: bool, overwrite: bool,
    ) {
        let before = PersistentVolume {
            labels: labels.into_iter().collect(),
            has_affinity: affinity,
            is_provisioned: provisioned,
            ..volume(in_tree("v"))
        };
        let rules = Rules { provisioned: flagged, overwrite };
        let is = topology(&zones.into_iter().collect::<Vec<_>>(), region);
        let is = match task(&before, rules) {
            Task::Leave => return Ok(()),
            Task::Trust(is) => is,
            Task::Ask => is,
        };
        let changes = decide(&before, &is, rules);
        prop_assert!(!affinity || changes.affinity.is_empty());
        let now = after(&before, &changes);
        if !overwrite {
            prop_assert!(before.labels.iter().all(|(key, value)| now.labels.get(key) == Some(value)));
        }
        let again = decide(&now, &is, rules);
        prop_assert!(again.is_empty(), "{:?}", again);
    }
}
