#![doc = include_str!("../README.md")]

mod ask;
mod harness;
pub mod instances;
mod run;

pub use ask::leave;
pub use harness::{Fault, Harness, Unsupported};
pub use run::{TIME_LIMIT, run};

/// Makes one test of each behaviour of a capability, in a module of the capability's name.
///
/// The capability, then an expression for a [`Harness`] that may `.await`, then what is left out
/// and why; see the crate's documentation.
#[macro_export]
macro_rules! conformance {
    ($capability:ident, $harness:expr $(,)?) => {
        $crate::conformance!($capability, $harness, except {});
    };
    (instances, $harness:expr, except $except:tt $(,)?) => {
        $crate::__behaviours! { ($) instances, $harness, $except,
            answers_come_in_the_order_of_the_questions
            no_question_makes_no_call
            a_full_batch_is_answered
            asking_twice_gives_the_same
            a_question_that_is_dropped_does_no_harm
            a_running_instance_is_present
            a_running_instance_fits_into_a_node
            asking_by_provider_id_finds_the_same_instance
            a_provider_id_outweighs_the_name
            a_malformed_provider_id_is_unknown_alone
            an_unknown_name_is_absent
            a_stopped_instance_is_present
            a_started_instance_runs_again
            a_terminated_instance_is_gone
            a_forgotten_instance_is_absent
            a_replaced_instance_is_another
            denied_credentials_are_no_absence
            throttling_is_said_with_the_wait
            a_hanging_call_ends_at_the_deadline
            an_empty_answer_confirms_nothing
            provider_ids_that_are_handed_out_are_ours
            foreign_provider_ids_are_foreign
        }
    };
}

/// Makes the tests; part of [`conformance!`]. The `$` is for the macro that it makes, whose arms
/// tell what is left out from what is not.
#[doc(hidden)]
#[macro_export]
macro_rules! __behaviours {
    (
        ($dollar:tt) $capability:ident, $harness:expr,
        { $($except:ident: $why:literal),* $(,)? }, $($behaviour:ident)+
    ) => {
        mod $capability {
            #[allow(unused_imports, reason = "the harness may need nothing of what is around")]
            use super::*;

            macro_rules! behaviour {
                $(($except) => {
                    #[test]
                    #[ignore = $why]
                    fn $except() {
                        $crate::run(async { $harness }, $crate::$capability::$except);
                    }
                };)*
                ($dollar behaviour:ident) => {
                    #[test]
                    fn $dollar behaviour() {
                        $crate::run(async { $harness }, $crate::$capability::$dollar behaviour);
                    }
                };
            }

            // Names that the kit does not know are mistakes.
            $(const _: () = { use $crate::$capability::$except as _; };)*
            $(behaviour!($behaviour);)+
        }
    };
}

#[cfg(test)]
mod tests {
    /// A behaviour that is written and not listed holds nobody to anything.
    #[test]
    fn every_behaviour_is_listed() {
        let (listed, written) = (include_str!("lib.rs"), include_str!("instances.rs"));
        let names =
            written.lines().filter_map(|line| line.strip_prefix("pub async fn ")?.split_once('('));
        let missing: Vec<_> = names
            .map(|(name, _)| name)
            .filter(|name| !listed.lines().any(|line| line.trim() == *name))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
