//! The behaviours of each capability, by name: the one place where they are listed.

/// Hands the names of a capability's behaviours to a macro, behind what it is given.
#[doc(hidden)]
#[macro_export]
macro_rules! __list {
    (instances, { $($to:tt)+ } { $($given:tt)* }) => {
        $($to)+! { $($given)*
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
    (load_balancers, { $($to:tt)+ } { $($given:tt)* }) => {
        $($to)+! { $($given)*
            a_new_service_gets_an_address
            nothing_is_sent_when_nothing_differs
            a_restart_sends_nothing
            a_deleted_service_leaves_nothing
            deleting_what_was_never_made_sends_nothing
            a_service_can_be_made_again
            what_is_planned_is_what_is_sent
            a_change_is_one_request_at_most
            plans_are_the_same_each_time
            every_change_arrives
            a_change_that_is_taken_back_leaves_no_trace
            a_changed_service_is_like_a_new_one
            a_change_disrupts_only_what_it_must
            a_mistake_is_refused_and_named
            a_mistake_costs_a_service_nothing
            a_mistake_is_nobody_elses
            targets_follow_the_nodes
            a_service_without_nodes_is_made
            an_unknown_machine_stays_a_target
            a_machine_that_is_gone_is_no_target
            many_nodes_are_targets
            services_share_and_part
            what_is_kept_loses_nothing
            another_clusters_pieces_are_left_alone
            pieces_of_unknown_services_are_reported_and_left
            a_service_of_the_same_name_is_another
            a_denied_change_says_so_and_heals
            an_exhausted_quota_says_so_and_heals
            an_outage_says_so_and_heals
            throttled_changes_say_how_long_to_wait
            a_hanging_change_ends_and_heals
            a_lost_answer_does_no_harm
            what_somebody_else_changed_is_put_right
            a_change_by_another_in_the_middle_is_put_right
            a_crash_while_making_leaves_no_trace
            a_crash_while_changing_ports_leaves_no_trace
            a_crash_while_changing_leaves_no_trace
            a_crash_while_taking_down_leaves_no_trace
            a_half_made_service_is_taken_down
            a_process_that_dies_at_every_change_gets_there
        }
    };
}

#[cfg(test)]
mod tests {
    /// A behaviour that is written and not listed holds nobody to anything.
    #[test]
    fn every_behaviour_is_listed() {
        let written = [
            include_str!("instances.rs"),
            include_str!("load_balancers/changes.rs"),
            include_str!("load_balancers/crashes.rs"),
            include_str!("load_balancers/faults.rs"),
            include_str!("load_balancers/lifecycle.rs"),
            include_str!("load_balancers/plans.rs"),
            include_str!("load_balancers/sharing.rs"),
            include_str!("load_balancers/targets.rs"),
        ];
        let listed = include_str!("lists.rs");
        let names = written
            .iter()
            .flat_map(|file| file.lines())
            .filter_map(|line| line.strip_prefix("pub async fn ")?.split_once('('));
        let missing: Vec<_> = names
            .map(|(name, _)| name)
            .filter(|name| !listed.lines().any(|line| line.trim() == *name))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
