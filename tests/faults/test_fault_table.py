"""Which tests hold each fault of the catalogue; a test that is renamed must be renamed here."""

import pytest
from support.node_ids import missing, rows

STDIO, HTTP = "outbound/test_mcp_stdio_faults.py", "outbound/test_mcp_http_faults.py"
GATEWAY, BREAKER = "test_gateway.py", "domain/test_circuit_breaker.py"
WHOLE = "faults/test_whole_way.py"
MODELS, LLM_DOOR = "faults/test_models.py", "inbound/llm/test_door.py"
LLM_HTTP = "outbound/test_llm_http.py"
STORAGE, LEDGER = "faults/test_storage.py", "outbound/test_ledger_failures.py"

FAULTS = {
    "F01": rows(STDIO, "test_f01_a_killed_idle_server_is_back_within_a_second"),
    "F02": (
        *rows(STDIO, "test_f02_a_kill_with_a_hundred_in_flight_is_one_loss"),
        *rows(GATEWAY, "test_f02_the_death_of_a_server_is_one_failure_for_100_calls"),
    ),
    "F03": rows(STDIO, "test_f03_a_crash_loop_slows_down"),
    "F04": (
        *rows(STDIO, "test_f04_a_stopped_server_is_replaced_after_a_timeout"),
        *rows(GATEWAY,
              "test_f04_a_server_that_stands_still_is_noticed_within_a_second_of_a_timeout"),
    ),
    "F05": (
        *rows(HTTP, "test_f05_a_server_that_dies_is_noticed_at_once_with_few_connects"),
        *rows(GATEWAY, "test_f05_a_dead_server_with_a_fallback_costs_no_client_an_error"),
    ),
    "F06": (
        *rows(HTTP, "test_f06_a_host_that_drops_packets_costs_one_connect_timeout"),
        *rows(WHOLE, "test_f06_after_the_first_timeout_nobody_waits_for_a_black_hole"),
    ),
    "F07": (
        *rows(HTTP, "test_f07_one_reset_of_a_hundred_is_one_loss_and_harms_no_other_call"),
        *rows(GATEWAY, "test_f07_one_lost_connection_is_one_failure_and_harms_no_other_call"),
    ),
    "F08": (
        *rows(HTTP, "test_f08_f09_a_stream_that_breaks_after_progress_is_lost"),
        *rows(WHOLE, "test_f08_f09_what_broke_after_progress_is_not_run_again"),
    ),
    "F09": (
        *rows(HTTP, "test_f08_f09_a_stream_that_breaks_after_progress_is_lost"),
        *rows(WHOLE, "test_f08_f09_what_broke_after_progress_is_not_run_again"),
    ),
    "F10": rows(HTTP, "test_f10_a_half_closed_connection_is_lost_at_once"),
    "F11": rows(HTTP, "test_f11_a_trickle_is_ended_by_the_deadline"),
    "F12": (
        *rows(WHOLE, "test_f12_a_server_that_has_become_slow_is_left_alone"),
        *rows(BREAKER, "TestWhatOpensIt::test_slow_calls_open_it_at_their_rate"),
    ),
    "F13": rows(HTTP, "test_f13_a_slow_answer_costs_little_cpu"),
    "F14": (
        *rows("outbound/test_http_exchange.py", "test_what_is_no_answer_breaks_the_protocol"),
        *rows(WHOLE, "test_f14_garbage_is_told_as_such_and_opens_the_circuit"),
    ),
    "F15": rows(
        "outbound/test_http_exchange.py", "test_an_answer_with_another_id_is_never_delivered"
    ),
    "F16": rows(
        HTTP, "test_f16_the_first_answer_wins",
        "test_f16_an_answer_after_a_cancel_reaches_nobody",
    ),
    "F17": rows(HTTP, "test_f17_swapped_answers_are_never_delivered"),
    "F18": rows(HTTP, "test_f18_a_huge_answer_is_cut_at_the_cap"),
    "F19": rows(HTTP, "test_f19_a_bomb_is_not_unpacked"),
    "F20": rows(
        HTTP, "test_f20_endless_comments_end_with_the_streams_cap",
        "test_f20_a_flood_of_lines_ends_and_holds_nobody_up",
        "test_f20_one_endless_event_ends_with_its_cap",
        "test_f20_a_flood_of_progress_reaches_the_client_ten_times_a_second_at_most",
    ),
    "F21": rows(
        STDIO, "test_f21_noise_on_stdout_is_skipped_and_shown",
        "test_f21_a_flood_of_noise_ends_the_process_and_holds_nobody_up",
        "test_f21_a_flood_of_valid_messages_ends_the_process_and_holds_nobody_up",
        "test_f21_a_flood_before_it_has_answered_ends_the_process_too",
        "test_f21_the_right_answer_is_found_among_oddities",
        "test_f21_a_line_of_300_mib_costs_the_process_not_the_hub",
    ),
    "F22": rows(STDIO, "test_f22_a_flood_on_stderr_blocks_nothing_and_leaves_the_last_lines"),
    "F23": rows(STDIO, "test_f23_a_server_that_stops_reading_is_replaced"),
    "F24": rows(
        STDIO, "test_f24_a_server_with_too_many_processes_is_ended",
        "test_f24_a_stop_leaves_no_process_of_a_stubborn_family",
        "test_f24_a_killed_server_does_not_leave_its_family_behind",
    ),
    "F25": rows(GATEWAY, "test_f25_a_server_that_flaps_is_left_alone_for_longer_and_longer"),
    "F26": rows(GATEWAY, "test_bad_arguments_and_tools_that_fail_open_no_circuit"),
    "F27": rows(GATEWAY, "test_bad_arguments_and_tools_that_fail_open_no_circuit"),
    "F28": rows(GATEWAY, "test_f28_an_error_inside_one_tool_of_ten_opens_that_tool_only"),
    "F29": rows(
        MODELS, "test_f29_a_storm_of_callers_waits_for_the_pause_that_was_asked_for",
        "test_f29_callers_go_on_to_the_next_provider",
    ),
    "F30": (
        *rows(MODELS, "test_f30_without_a_pause_that_can_be_kept_there_is_no_tight_loop"),
        *rows("outbound/test_http_exchange.py", "test_a_status_tells_when_to_come_back"),
    ),
    "F31": (
        *rows(MODELS, "test_f31_who_has_no_money_there_is_sent_to_the_next_provider_at_once"),
        *rows(LLM_DOOR, "test_a_provider_without_money_is_not_asked_again_by_any_sdk"),
        *rows(LLM_HTTP, "test_a_refusal_is_the_providers_own_words"),
    ),
    "F32": rows(MODELS, "test_f32_an_overloaded_provider_is_not_asked_more_than_it_must_be"),
    "F33": (
        *rows(LLM_HTTP, "test_a_stream_that_breaks_off_is_lost_with_what_was_seen",
              "test_an_error_in_the_middle_of_a_stream_is_passed_on",
              "test_an_error_that_comes_in_pieces_is_still_the_first_event"),
        *rows(LLM_DOOR, "test_a_stream_that_breaks_off_ends_with_an_error_event"),
        *rows("wire/llm/test_stream.py", "test_an_error_after_a_200_is_seen_and_passed_on",
              "test_a_stream_cut_at_any_byte_is_charged_for_what_came"),
    ),
    "F34": (
        *rows(MODELS, "test_f34_usage_that_cannot_be_is_never_a_negative_cost"),
        *rows("wire/llm/test_answer.py", "test_usage_that_cannot_be_is_none_and_flagged",
              "test_an_answer_without_usage_is_estimated"),
    ),
    "F35": (
        *rows(LLM_DOOR, "test_a_client_that_hangs_up_hears_no_more_and_is_billed"),
        *rows(LLM_HTTP,
              "test_what_is_cancelled_is_told_with_what_was_seen_and_the_connection_goes"),
    ),
    "F36": (
        *rows(LLM_DOOR, "test_a_client_that_reads_slowly_holds_the_provider_back"),
        *rows("inbound/test_protocol.py", "test_a_client_that_never_reads_is_cut_off"),
    ),
    "F37": rows(GATEWAY, "test_f37_a_wall_clock_that_jumps_changes_nothing"),
    "F38": (
        *rows(GATEWAY, "test_f38_a_process_that_stood_still_blames_nobody"),
        *rows("app/test_restart.py", "test_a_hub_that_stood_still_goes_on_without_a_storm"),
    ),
    "F39": rows(
        "faults/test_money_kill.py",
        "test_whatever_a_provider_billed_is_in_the_ledger_once_however_often_the_hub_is_killed",
        "test_a_tight_budget_is_never_over_its_wall_however_often_the_hub_is_killed",
    ),
    "F41": (
        *rows(STORAGE,
              "test_f41_on_a_full_disk_money_is_not_spent_and_it_heals_without_a_restart"),
        *rows(LEDGER, "test_on_a_full_disk_nothing_is_held_and_it_heals_without_a_restart"),
    ),
    "F42": (
        *rows(STORAGE, "test_f42_a_sync_that_failed_is_not_trusted_and_no_call_notices",
              "test_f42_while_every_sync_fails_money_is_not_spent"),
        *rows(LEDGER, "test_after_a_disk_error_all_is_looked_at_and_written_anew"),
    ),
    "F43": rows(
        "outbound/test_power_cut.py", "test_what_was_told_to_be_durable_outlives_any_power_cut",
        "test_a_disk_that_need_not_sync_does_lose",
    ),
    "F44": (
        *rows(STORAGE, "test_f44_while_another_program_has_the_lock_money_is_not_spent"),
        *rows(LEDGER,
              "test_while_another_program_has_the_lock_the_loop_goes_on_and_holds_are_refused"),
    ),
    "F45": (
        *rows(STORAGE, "test_f45_into_a_file_that_is_gone_money_is_not_booked",
              "test_f45_on_a_file_that_cannot_be_used_no_hub_starts_and_it_stays_as_it_is"),
        *rows(LEDGER, "test_into_a_file_that_was_replaced_nothing_is_held"),
    ),
    "F46": (
        *rows(STORAGE, "test_f46_the_wal_has_a_bound_though_a_reader_has_no_end"),
        *rows(LEDGER, "test_a_long_question_holds_up_no_writing_and_is_ended"),
    ),
    "F48": (
        *rows(STORAGE, "test_f48_without_its_postgresql_money_is_not_spent_until_it_is_back",
              "test_f48_connections_that_are_cut_in_the_middle_lose_and_double_nothing"),
        *rows("outbound/test_postgres.py",
              "test_killed_again_and_again_under_load_it_loses_and_doubles_nothing",
              "test_a_server_without_room_for_connections_is_told_and_waited_for"),
    ),
    "F51": (
        *rows("app/test_crowd.py",
              "test_f51_without_files_for_all_of_them_those_too_many_are_told_so"),
        *rows("inbound/test_open_files.py",
              "test_where_there_are_too_few_fewer_are_taken_and_it_is_said"),
    ),
    "F54": (
        *rows(GATEWAY, "test_f54_the_configuration_changes_while_calls_run"),
        *rows("app/test_reload.py", "test_calls_go_on_while_the_file_changes_under_them",
              "test_a_wrong_file_is_refused_as_a_whole_and_told_in_words"),
        *rows("app/test_changes.py",
              "test_f54_a_hundred_threads_change_and_read_the_settings_at_once"),
    ),
    "F58": rows(GATEWAY, "test_f58_a_poisonous_request_kills_no_fallback"),
}  # fmt: skip
ASKED = [*range(1, 40), *range(41, 47), 48, 51, 54, 58]


def test_every_test_in_the_table_is_there():
    assert not missing(FAULTS)


@pytest.mark.parametrize("number", ASKED)
def test_a_fault_has_its_test(number):
    assert FAULTS.get(f"F{number:02}")
