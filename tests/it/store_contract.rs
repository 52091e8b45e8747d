//! What a store promises, as one list of facts held by both.

mod apply;
mod beside;
mod brake;
mod bulk;
mod catalog;
mod coverage;
mod crash;
mod given;
mod housekeeping;
mod incidents;
mod indexes;
mod journal;
mod lists;
mod notices;
mod outbox;
mod quarantine;

use std::ops::Deref;
use std::sync::Arc;

use escrow::store::{self, Store};

use crate::support::database::Database;

/// A store to hold to its promises, and the database under it.
pub struct Bed {
    pub store: Arc<dyn Store>,
    database: Database,
}

impl Deref for Bed {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

impl Bed {
    async fn on(database: Database) -> Self {
        Self { store: store::connect(&database.url).await.unwrap(), database }
    }

    /// Another store on the same database, as a second process would have.
    pub async fn another(&self) -> Arc<dyn Store> {
        store::connect(&self.url).await.unwrap()
    }
}

macro_rules! contract {
    ($($module:ident: $($case:ident)+;)+) => {
        mod on_sqlite {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$module::$case(super::Bed::on(super::Database::sqlite()).await).await;
            })+)+
        }
        mod on_postgres {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$module::$case(super::Bed::on(super::Database::postgres().await).await).await;
            })+)+
        }
    };
}

contract! {
    apply:
        an_order_comes_back_as_it_was_saved
        a_batch_is_saved_whole_or_not_at_all
        two_tasks_that_begin_one_order_make_one
        batches_on_the_same_orders_take_turns
        an_order_saved_without_being_loaded_is_refused
        a_row_that_cannot_be_read_is_told_apart
        time_is_read_after_the_locks
        arrivals_are_numbered_by_one_batch_at_a_time
        stored_events_are_loaded_for_expressions
        a_panic_in_a_decision_leaves_the_store_usable
        callers_that_go_away_leave_everything_consistent
        text_with_nul_is_refused_and_kept_in_quarantine
        an_answered_command_is_remembered
        a_tap_remembers_its_last_batch_and_never_goes_back;
    beside:
        two_batches_beside_each_other_are_both_saved
        a_last_batch_is_decided_beside_the_first_and_waits_for_its_commit
        a_last_batch_is_not_saved_where_the_first_is_refused
        a_last_batch_is_not_saved_where_the_first_decided_nothing;
    brake:
        turned_orders_are_counted_by_one_batch_at_a_time
        a_batch_that_turns_nothing_back_does_not_wait_for_the_brake
        what_is_changed_about_a_saga_is_a_trail_of_its_own;
    bulk:
        a_filter_names_the_orders_of_one_moment
        actions_are_listed_newest_first_by_every_state
        one_replica_at_a_time_carries_an_action_on
        a_person_stops_an_action_and_what_ended_is_forgotten;
    catalog:
        definitions_are_stored_once_and_count_their_open_orders
        of_versions_applied_at_once_the_highest_opens_orders
        modes_are_set_first_by_a_definition_and_then_by_people
        a_pause_begins_a_new_accepting_interval
        bindings_keep_their_last_moments
        a_tap_that_is_switched_off_is_bound_to_nothing_from_then_on
        migrations_go_down_and_up_again
        a_newer_database_is_refused;
    coverage:
        events_are_counted_by_saga_exchange_and_name
        strangers_beyond_the_bound_are_counted_together
        batches_beside_each_other_lose_no_count
        a_batch_that_is_not_saved_is_not_counted;
    housekeeping:
        a_lease_belongs_to_one_owner_until_it_ends
        purge_forgets_only_what_is_old_and_done
        stale_watermarks_are_forgotten_long_after_all_else
        statistics_count_only_steps_that_went_as_usual
        statistics_count_how_steps_ended;
    incidents:
        incidents_come_back_as_they_were_saved_by_whoever_holds_the_lease
        what_a_person_acknowledged_stays_when_the_loop_saves
        incidents_are_listed_opened_last_first_by_every_filter
        incidents_are_forgotten_after_they_are_over_and_told;
    indexes:
        counts_are_exact_up_to_ten_thousand_and_estimated_beyond
        lists_never_scan_a_table;
    journal:
        the_journal_refuses_changes
        a_trail_that_was_tampered_with_is_found
        entries_of_a_moved_order_number_the_steps_of_the_version_of_then
        entries_are_listed_newest_first_by_every_filter
        followers_miss_nothing_of_concurrent_writers
        payloads_are_kept_apart;
    lists:
        pages_hold_while_data_changes
        every_filter_finds_what_it_names
        an_order_stuck_for_several_reasons_is_listed_under_each
        changed_attributes_are_found_by_their_new_value
        due_orders_come_by_the_watermark_of_their_saga
        keys_are_walked_in_order
        stuck_orders_are_grouped
        a_wrong_cursor_is_told_apart;
    notices:
        notices_of_one_incident_leave_one_after_the_other
        channels_know_nothing_of_each_other
        a_notice_is_settled_once_and_says_how
        what_a_channel_knows_to_last_is_told_again
        what_still_lasts_is_not_forgotten
        claiming_reads_no_more_than_its_channel;
    outbox:
        rows_of_one_order_leave_one_after_the_other
        a_lease_that_runs_out_is_free_again
        two_claimers_never_share_a_row
        withdrawn_orders_ask_nothing_more
        a_retry_comes_with_its_message;
    quarantine:
        a_resolved_message_takes_its_doubt_along
        a_batch_is_told_the_doubts_about_its_own_orders
        a_gap_reaches_the_orders_that_begin_before_the_watermark_has_passed_it
        quarantine_is_listed_by_every_filter;
}
