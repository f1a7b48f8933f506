"""Which tests hold each attack of the catalogue; a test that is renamed must be renamed here."""

import pytest
from support.node_ids import missing, rows

HTTP, HUB = "inbound/test_attacks_http.py", "security/test_real_hub.py"
MCP, REST = "inbound/mcp/transport/test_streamable_http.py", "inbound/rest/test_endpoints.py"
DEFINITIONS = "security/test_definitions.py"
SERVER, CLIENT = "security/test_hostile_server.py", "security/test_hostile_client.py"
NETWORK, SUPPLY = "security/test_hostile_network.py", "security/test_supply_chain.py"
DOORS, FACE = "doors/test_no_way_round.py", "inbound/mcp/test_face.py"
OAUTH = "interop/test_oauth.py"
SETTINGS, GATEWAY = "test_settings.py", "test_gateway.py"
LLM = "security/test_models.py"

QUESTIONS, PARKING = (
    "inbound/mcp/dialogue/test_questions.py",
    "inbound/mcp/dialogue/test_parking.py",
)
SEAL, SSE = "inbound/mcp/dialogue/test_seal.py", "inbound/mcp/transport/test_sse.py"
TASKS = "inbound/mcp/test_tasks.py"

ATTACKS = {
    "A01": rows(
        HTTP, "test_a01_every_wrong_key_gets_the_same_answer_at_once",
        "test_a01_a_nul_in_a_key_is_no_http", "test_a01_a_key_of_a_mebibyte_is_refused",
        "test_a01_two_authorizations_are_none",
    ),
    "A02": (
        *rows(HTTP, "test_a02_a_key_opens_until_it_is_revoked"),
        *rows("test_keys.py", "test_time_tells_nothing_of_a_wrong_key",
              "test_a_key_of_another_home_opens_nothing", "test_a_key_ends_at_its_second"),
    ),
    "A03": rows(HTTP, "test_a03_a_key_in_the_address_or_a_cookie_is_none_and_is_not_logged"),
    "A04": (
        *rows(HUB, "test_a04_every_route_asks_for_a_key_and_its_scope",
              "test_a04_a_key_for_other_servers_neither_sees_nor_reaches_this_one"),
        *rows(HTTP, "test_a04_no_route_answers_without_a_key_or_with_one_of_no_scope"),
        *rows("inbound/test_gate.py", "test_every_route_of_rest_has_a_line_in_the_table"),
    ),
    "A05": rows(
        HTTP, "test_a05_a_foreign_host_is_misdirected_whatever_the_key",
        "test_a05_two_hosts_are_refused",
        "test_a05_a_target_in_absolute_form_cannot_name_another_host",
    ),
    "A06": rows(HTTP, "test_a06_pages_of_other_sites_are_refused"),
    "A07": rows(HTTP, "test_a07_a_page_cannot_post_what_needs_no_leave"),
    "A08": rows(HTTP, "test_a08_nothing_is_changed_by_a_get_or_a_cookie"),
    "A09": rows(HTTP, "test_a09_no_spelling_is_a_way_round_the_key"),
    "A10": rows(
        HTTP, "test_a10_what_two_readers_could_read_differently_ends_the_connection",
        "test_a10_what_is_no_http_1_ends_the_connection",
    ),
    "A11": rows(
        HTTP, "test_a11_headers_are_bounded",
        "test_a11_a_line_break_in_a_value_makes_no_header",
    ),
    "A12": rows(
        HTTP, "test_a12_a_body_over_the_limit_is_refused", "test_a12_a_packed_body_is_not_unpacked",
        "test_a12_chunks_without_an_end_are_refused_at_the_limit",
    ),
    "A13": rows(HTTP, "test_a13_five_hundred_half_requests_are_closed_and_good_clients_served"),
    "A14": (
        *rows(HUB, "test_a14_a15_what_can_be_read_in_two_ways_is_not_read"),
        *rows(MCP, "test_what_is_no_message_is_refused_in_every_era"),
    ),
    "A15": (
        *rows(HUB, "test_a14_a15_what_can_be_read_in_two_ways_is_not_read"),
        *rows("inbound/mcp/transport/test_session.py",
              "test_an_id_in_use_takes_nothing_from_its_first_owner"),
        *rows(CLIENT, "test_a15_a40_two_clients_with_one_id_have_an_answer_each"),
    ),
    "A16": (
        *rows(HUB, "test_a16_a17_headers_versions_and_sessions_that_lie"),
        *rows(MCP, "test_headers_that_do_not_say_what_the_body_says_are_refused"),
    ),
    "A17": (
        *rows(HUB, "test_a16_a17_headers_versions_and_sessions_that_lie"),
        *rows(MCP, "test_a_session_that_is_missing_forged_or_anothers"),
        *rows(SSE, "test_a17_a_session_is_of_no_use_to_anybody_else"),
        *rows("inbound/mcp/transport/test_session_stream.py",
              "test_an_id_opens_nothing_for_another_session_or_another_user"),
        *rows(CLIENT, "test_a17_a_session_of_another_opens_nothing"),
    ),
    "A18": (
        *rows(HUB, "test_a18_odd_names_of_tools_reach_nobody",
              "test_a18_what_a_key_may_not_touch_does_not_exist_for_it"),
        *rows(DOORS, "TestEveryDoor::test_a_key_for_other_tools",
              "TestEveryDoor::test_a_key_that_may_only_read",
              "TestEveryDoor::test_a_key_for_views"),
        *rows(FACE, "test_what_a_key_may_not_touch_does_not_exist_for_it",
              "test_completion_is_for_what_may_be_touched"),
        *rows(CLIENT, "test_a18_what_a_key_may_not_touch_is_behind_no_door",
              "test_a_view_is_removed_under_a_session_a_stream_and_a_parked_call"),
        *rows("inbound/rest/test_hearing.py", "test_a_key_hears_of_calls_to_what_it_may_touch",
              "test_a_view_names_nothing_that_is_not_there_for_a_key"),
    ),
    "A19": rows(HUB, "test_a19_an_address_that_is_no_web_address_is_refused"),
    "A22": (
        *rows(NETWORK, "test_nobody_is_led_elsewhere"),
        *rows("outbound/test_http_exchange.py", "test_a_redirect_is_not_followed"),
        *rows("outbound/test_sse_pipe.py", "test_the_address_to_post_to_is_of_the_same_origin"),
    ),
    "A23": rows(
        "outbound/test_oauth_server.py", "test_metadata_on_another_machine_is_not_asked_for",
        "test_a_server_elsewhere_cannot_send_the_hub_to_this_machine",
        "test_an_authorization_server_that_is_not_to_be_used",
        "test_an_answer_that_is_none_is_not_waited_for",
    ),
    "A24": (
        *rows("inbound/test_access_tokens.py",
              "test_what_is_not_the_issuers_word_for_this_hub_opens_nothing"),
        *rows("domain/test_bearer.py", "test_a_token_for_somebody_else_opens_nothing",
              "test_a_token_of_another_issuer_opens_nothing",
              "test_a_token_out_of_its_time_opens_nothing"),
        *rows("outbound/test_oauth_server.py",
              "test_an_authorization_server_that_is_not_to_be_used"),
        *rows("outbound/test_sign_in.py", "test_a_state_is_good_once",
              "test_the_answer_is_of_the_server_that_was_asked_and_holds_a_code",
              "test_the_code_is_bound_to_the_hub_by_pkce"),
        *rows("outbound/test_oauth_tokens.py", "test_another_issuer_never_gets_the_refresh_token",
              "test_after_a_refusal_it_is_asked_whose_tokens_it_takes_now"),
        *rows(OAUTH, "test_a_token_for_somebody_else_opens_nothing",
              "test_an_answer_that_is_not_of_this_issuer_and_sign_in_is_refused"),
        *rows("app/test_caller_tokens.py",
              "test_a_sign_in_counts_only_in_the_browser_that_agreed_on_the_hubs_page",
              "test_a_page_elsewhere_cannot_press_the_button_and_a_wrong_link_opens_nothing"),
    ),
    "A25": (
        *rows(OAUTH, "test_the_sdks_own_client_finds_its_way_in_by_the_hubs_401",
              "test_nothing_of_the_hubs_own_keys_went_to_the_server"),
        *rows("outbound/test_logins.py",
              "test_a_server_that_is_removed_and_comes_again_gets_nothing_of_its_namesake"),
        *rows("app/test_caller_tokens.py",
              "test_what_a_caller_came_in_with_is_in_no_request_log_error_or_file",
              "test_tokens_of_one_caller_are_never_used_for_another"),
    ),
    "A26": (
        *rows(HUB, "test_a26_a27_code_is_run_for_admins_and_only_when_it_was_saved"),
        *rows(REST, "test_what_would_run_other_code_is_refused", "test_a_shells_signs_are_words"),
    ),
    "A27": (
        *rows(HUB, "test_a26_a27_code_is_run_for_admins_and_only_when_it_was_saved"),
        *rows(REST, "test_a_test_takes_no_command_and_no_address"),
    ),
    "A28": (
        *rows(SETTINGS, "test_yaml_that_could_mean_harm_is_refused_by_line",
              "test_a_bomb_of_anchors_costs_nothing",
              "test_a_file_that_everybody_may_write_is_refused", "test_a_symbolic_link_is_refused"),
        *rows("app/test_refusals.py", "test_a_wrong_file"),
        *rows("settings/test_references.py",
              "test_what_a_reference_brings_is_not_searched_for_references"),
    ),
    "A29": (
        *rows(DEFINITIONS, "test_a29_poison_is_kept_as_it_is_told_and_not_passed_on",
              "test_a29_a_megabyte_is_cut_and_told"),
        *rows("wire/test_suspicion.py", "test_what_nobody_would_see_is_taken_out",
              "test_what_is_odd_is_told", "test_no_text_takes_long"),
        *rows("wire/test_definition.py", "test_what_nobody_would_see_is_seen_in_a_difference"),
    ),
    "A30": (
        *rows(DEFINITIONS, "test_a30_a_tool_that_turns_is_withheld_until_it_is_approved",
              "test_a30_what_was_not_looked_at_is_not_approved",
              "test_a30_the_turn_is_noticed_over_a_restart_and_approved_without_a_hub"),
        *rows("test_server.py", "test_a_definition_that_changed_unlocks_no_replay"),
        *rows("test_routes.py",
              "test_a_fallback_whose_tool_is_not_what_was_approved_does_not_stand_in"),
        *rows("doors/test_no_way_round.py", "TestEveryDoor::test_the_definition_that_was_approved"),
        *rows(SERVER, "test_a30_what_turned_meanwhile_is_withheld"),
    ),
    "A31": (
        *rows(DEFINITIONS, "test_a31_tools_of_one_name_are_told_apart_by_their_server",
              "test_a31_a_name_that_is_anothers_or_looks_like_it_is_refused"),
        *rows("domain/test_target.py", "test_a_name_that_looks_like_another_is_refused"),
    ),
    "A32": (
        *rows(DEFINITIONS, "test_a32_an_output_schema_that_refers_outside_is_not_passed_on",
              "test_a32_a_definition_with_two_readings_is_not_passed_on"),
        *rows(HUB, "test_a32_tools_with_schemas_that_attack_are_left_out_and_the_others_work"),
        *rows("wire/test_schema.py", "test_no_pattern_takes_long"),
        *rows("wire/test_schema_bounds.py", "test_work_that_multiplies_is_refused"),
        *rows(NETWORK, "test_a_list_that_lies_holds_nobody_up",
              "test_who_says_too_much_of_itself_is_not_taken"),
    ),
    "A33": rows(HUB, "test_a33_arguments_that_do_not_fit_are_not_sent"),
    "A34": (
        *rows(HUB, "test_a34_what_a_server_says_is_data"),
        *rows(SERVER, "test_a34_a_result_that_is_too_large_is_an_error_and_no_memory"),
        *rows(NETWORK, "test_a34_the_largest_answer_passes_in_every_way",
              "test_an_answer_that_is_none_is_an_error_in_time"),
    ),
    "A35": (
        *rows(QUESTIONS, "test_a_server_may_not_ask_what_the_client_did_not_declare"),
        *rows(PARKING, "test_what_was_not_declared_is_refused_to_the_server_alone",
              "test_a_server_that_asks_without_end_is_refused"),
        *rows(SSE, "test_a35_a_client_that_does_not_read_gets_no_more_notifications"),
        *rows(SERVER, "test_a35_a_call_has_one_answer_and_it_is_its_own",
              "test_a35_what_was_not_declared_is_not_asked",
              "test_a35_who_asks_without_end_is_ended_and_the_next_call_is_served",
              "test_a35_a_flood_of_words_reaches_nobody_else_and_costs_others_little"),
        *rows(NETWORK, "test_a35_a_call_has_one_answer_and_it_is_its_own",
              "test_a35_answers_to_others_reach_nobody",
              "test_a35_what_was_not_declared_is_not_asked",
              "test_a35_who_asks_without_end_is_ended_and_the_next_call_is_served",
              "test_a35_a_flood_of_words_costs_others_little"),
        *rows(CLIENT,
              "test_a35_who_does_not_read_costs_a_bounded_memory_and_nobody_else_anything"),
    ),
    "A36": rows(
        "inbound/mcp/dialogue/test_dialogue.py",
        "test_where_many_servers_meet_a_person_is_told_which_one_asks",
        "test_a_client_of_the_old_era_is_told_too",
        "test_a_server_is_told_only_what_the_operator_lets_it_ask",
        "test_a_page_is_refused_where_pages_are_off",
    ),
    "A37": (
        *rows(PARKING, "test_a_state_is_good_for_one_round",
              "test_a_state_is_bound_to_its_caller_face_tool_and_arguments"),
        *rows(SEAL, "test_a_state_that_was_used_edited_or_is_anothers_never_reaches_a_server",
              "test_what_is_sealed_opens_unchanged_and_no_altered_text_opens"),
        *rows(QUESTIONS, "test_an_old_client_cannot_bring_a_state_and_so_go_round_its_seal"),
        *rows(SERVER, "test_a37_a_state_opens_its_own_round_and_no_other"),
    ),
    "A38": (
        *rows(PARKING, "test_a_state_is_bound_to_its_caller_face_tool_and_arguments"),
        *rows(TASKS, "test_ids_of_others_edited_and_unknown_ones_are_all_the_same_unknown_id",
              "test_what_is_sealed_opens_unchanged_for_its_caller_and_its_server_alone",
              "test_a_key_that_may_no_longer_call_the_tool_has_no_task_of_it"),
    ),
    "A39": rows("inbound/mcp/test_door.py",
                "test_lists_of_the_new_era_say_how_long_they_hold_and_for_whom"),
    "A40": (
        *rows(QUESTIONS,
                "test_answers_of_others_unknown_ones_and_second_ones_change_nothing"),
        *rows(CLIENT, "test_a15_a40_two_clients_with_one_id_have_an_answer_each"),
    ),
    "A41": (
        *rows(LLM, "test_a41_a_longest_answer_that_cannot_be_is_refused",
              "test_a41_another_spelling_of_a_model_is_no_cheaper_one",
              "test_a41_a_hundred_at_the_last_cent_are_never_over"),
        *rows("test_till.py",
              "test_a_call_that_is_repeated_has_one_hold_and_one_cost",
              "test_a_model_without_a_price_is_refused_where_a_budget_wants_to_know_prices"),
        *rows("wire/llm/test_stream.py",
              "test_a_stream_cut_at_any_byte_is_charged_for_what_came"),
    ),
    "A42": (
        *rows(LLM, "test_a42_a_limit_holds_whatever_the_headers_say"),
        *rows("inbound/test_gate.py", "test_what_a_proxy_passes_on_is_not_from_loopback"),
    ),
    "A43": (
        *rows(LLM, "test_a43_an_agent_that_asks_itself_through_the_hub_comes_to_an_end"),
        *rows("inbound/llm/test_door.py",
              "test_a_request_that_came_through_hubs_again_and_again_is_a_loop"),
    ),
    "A44": (
        *rows(HUB, "test_a44_nobody_opens_a_circuit_with_bad_arguments_or_tiny_deadlines"),
        *rows(GATEWAY, "test_a44_nobody_opens_a_circuit_for_others"),
    ),
    "A45": (
        *rows(HUB, "test_a45_made_up_names_take_no_memory"),
        *rows(GATEWAY, "test_made_up_names_take_no_memory"),
        *rows("test_metrics.py", "test_a_million_made_up_names_take_no_memory"),
    ),
    "A46": (
        *rows(PARKING, "test_a_call_with_a_key_goes_on_and_its_key_is_held_while_it_is_parked"),
        *rows(SEAL, "test_a_key_goes_on_through_the_rounds_and_runs_the_last_one_once"),
        *rows(CLIENT, "test_a46_a_key_of_idempotency_is_its_callers_and_its_calls"),
    ),
    "A47": (
        *rows(HUB, "test_a47_nobody_writes_a_line_into_the_log"),
        *rows(HTTP, "test_a47_a_request_cannot_write_into_the_log"),
    ),
    "A48": (
        *rows(HUB, "test_a48_no_secret_is_in_any_output"),
        *rows("inbound/rest/test_app.py",
              "TestHealth::test_only_an_admin_hears_what_a_server_said_on_stderr"),
        *rows(HTTP, "test_a48_a_planted_secret_is_in_no_answer_and_no_line"),
    ),
    "A49": (
        *rows(HUB, "test_a49_an_error_says_nothing_of_the_hubs_inside"),
        *rows(HTTP, "test_a49_every_refusal_is_a_problem_with_an_id_and_no_more"),
    ),
    "A52": (
        *rows(LLM, "test_a52_what_is_asked_of_the_ledger_is_a_value_and_never_a_statement"),
        *rows("inbound/rest/test_app.py", "test_nothing_that_is_sent_makes_a_bug"),
    ),
    "A54": (
        *rows(HUB, "test_a54_files_are_their_owners_alone"),
        *rows("outbound/test_store.py", "test_files_are_for_the_owner_only"),
        *rows("app/test_refusals.py", "test_a_loose_token", "test_a_home_that_others_may_write_in"),
    ),
    "A57": (
        *rows(LLM, "test_a57_nothing_in_a_request_leads_it_elsewhere",
              "test_a57_no_model_is_a_path",
              "test_a57_a_provider_sees_the_operators_key_and_none_of_the_clients"),
        *rows("inbound/llm/test_door.py",
              "test_what_is_between_hub_and_provider_is_not_the_clients"),
        *rows("outbound/test_llm_http.py",
              "test_an_account_of_the_operators_is_not_told_to_clients"),
    ),
    "A58": rows(LLM, "test_a58_addresses_in_a_message_are_the_providers_to_fetch"),
    "A60": (
        *rows(CLIENT, "test_a60_one_client_cannot_take_all_time_with_connections",
              "test_a60_sessions_without_end_end_nobody_elses_call",
              "test_the_hub_stops_in_time_with_parked_calls_and_streams_of_all_kinds"),
        *rows("inbound/mcp/transport/test_session.py",
              "test_who_begins_sessions_without_end_loses_its_own_first"),
        *rows("test_parking.py",
              "test_one_caller_cannot_hold_all_of_a_server_with_questions"),
        *rows("app/test_crowd.py", "test_so_many_connections_stay_open_and_each_is_served",
              "test_a_hundred_calls_wait_for_their_clients_and_each_gets_its_own_answer"),
    ),
    "A61": rows(CLIENT, "test_a61_a_key_has_so_many_streams_and_others_have_theirs"),
    "A62": (
        *rows("domain/test_bearer.py", "test_a62_no_leeway_makes_up_for_ten_years",
              "test_clocks_may_differ_by_a_minute"),
        *rows("test_keys.py", "test_a_key_ends_at_its_second",
              "test_a_step_of_the_clock_ends_what_it_passes_and_nothing_else"),
        *rows(GATEWAY, "test_f37_a_wall_clock_that_jumps_changes_nothing"),
    ),
    "A63": rows(
        SUPPLY, "test_a63_every_package_is_of_one_version_with_its_hash_and_from_no_other_place",
        "test_a63_what_the_hub_needs_is_locked_under_its_own_name",
        "test_a63_installing_asks_for_the_hashes",
        "test_a63_packages_of_npm_have_their_hashes_and_run_nothing_when_installed",
        "test_a63_the_wheel_holds_the_package_and_nothing_that_runs_at_the_start_of_python",
        "test_a63_the_source_archive_holds_what_the_repository_holds",
    ),
    "A65": (
        *rows(SERVER, "test_a65_line_breaks_of_a_server_begin_no_event"),
        *rows(NETWORK, "test_a65_line_breaks_of_a_server_begin_no_event"),
    ),
}  # fmt: skip
ASKED = [*range(1, 20), *range(22, 50), 52, 54, 57, 58, *range(60, 64), 65]


def test_every_test_in_the_table_is_there():
    assert not missing(ATTACKS)


@pytest.mark.parametrize("number", ASKED)
def test_an_attack_has_its_test(number):
    assert ATTACKS.get(f"A{number:02}")
