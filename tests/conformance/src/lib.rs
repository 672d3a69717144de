#![doc = include_str!("../README.md")]

mod ask;
mod balancing;
mod harness;
pub mod instances;
mod lists;
pub mod load_balancers;
mod outcome;
mod passes;
mod report;
mod rig;
pub mod routes;
mod routing;
mod run;
mod service;
pub mod volumes;

pub use ask::leave;
pub use balancing::{Cluster, LoadBalancerHarness, WriteFault};
pub use harness::{Fault, Harness, Unsupported};
pub use outcome::{Outcome, not_offered};
pub use passes::Passes;
pub use report::{
    Behaviour, Line, Report, of_instances, of_load_balancers, of_routes, of_volumes, publish,
};
pub use rig::{Cut, Rig, RouteRig, RoutedNode};
pub use routing::{Path, Placed, ReadFault, RouteHarness, RouteMark};
pub use run::{TIME_LIMIT, run};
pub use service::{Mistake, Service, Variant, tcp};
pub use volumes::VolumeHarness;

/// Makes one test of each behaviour of a capability, in a module of the capability's name.
///
/// The capability, then an expression for a [`Harness`] that may `.await`, then what is left out
/// and why; see the crate's documentation.
#[macro_export]
macro_rules! conformance {
    ($capability:ident, $harness:expr $(,)?) => {
        $crate::conformance!($capability, $harness, except {});
    };
    ($capability:ident, $harness:expr, except $except:tt $(,)?) => {
        $crate::__list! {
            $capability, { $crate::__behaviours } { ($) $capability, $harness, $except, }
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
