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
            pod_ranges_are_the_same_each_way
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
            a_change_can_be_taken_back_on_its_way
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
    (routes, { $($to:tt)+ } { $($given:tt)* }) => {
        $($to)+! { $($given)*
            a_new_node_is_routed
            a_node_of_two_families_gets_both
            nothing_is_sent_when_nothing_differs
            a_restart_sends_nothing
            a_node_that_goes_leaves_nothing
            taking_away_what_was_never_made_sends_nothing
            a_node_can_come_back
            a_node_can_come_back_while_its_route_goes
            another_range_is_followed
            a_node_without_ranges_has_no_routes
            another_machine_is_followed
            a_route_to_a_lost_machine_is_repaired
            a_route_to_a_lost_machine_goes_with_its_node
            a_range_passes_to_another_node
            many_nodes_are_routed
            plans_do_not_depend_on_the_order
            what_is_planned_is_what_is_sent
            a_change_is_one_request_at_most
            what_another_program_left_is_taken_over
            what_leads_elsewhere_is_set_right
            what_is_kept_loses_nothing
            routes_of_others_are_left_alone
            a_foreign_route_in_the_way_stops_that_node_alone
            routes_outside_the_clusters_ranges_are_left_alone
            another_clusters_routes_are_left_alone
            the_inventory_is_complete_and_only_ours
            routes_of_unknown_nodes_go_when_they_are_to_go
            a_failing_node_stops_nobody_else
            a_denied_change_says_so_and_heals
            an_exhausted_quota_says_so_and_heals
            an_outage_says_so_and_heals
            throttled_changes_say_how_long_to_wait
            a_lost_answer_does_no_harm
            denied_looks_change_nothing
            short_answers_change_nothing
            a_short_answer_hides_nothing_that_is_to_go
            what_somebody_else_changed_is_put_right
            a_crash_while_making_leaves_no_trace
            a_crash_while_changing_leaves_no_trace
            a_crash_while_taking_away_leaves_no_trace
        }
    };
    (volumes, { $($to:tt)+ } { $($given:tt)* }) => {
        $($to)+! { $($given)*
            volumes_are_answered_in_the_order_of_the_questions
            no_volume_makes_no_call
            many_volumes_are_answered
            a_volume_says_from_where_it_is_reached
            an_unknown_volume_is_absent
            a_deleted_volume_is_gone
            a_malformed_volume_is_unknown_alone
            volumes_of_others_are_not_owned
            denied_credentials_hide_no_volume
            throttled_looks_at_volumes_say_the_wait
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
            include_str!("routes/crashes.rs"),
            include_str!("routes/faults.rs"),
            include_str!("routes/lifecycle.rs"),
            include_str!("routes/ownership.rs"),
            include_str!("routes/plans.rs"),
            include_str!("volumes.rs"),
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
