"""Which checks of the conformance suite catch which wrong server."""

from tests.harness import fleetlock_crude as crude
from tests.harness import fleetlock_wrong as wrong
from tests.harness.fleetlock_crude import Crude
from tests.harness.fleetlock_double import Double

WRONG: dict[type[Double] | type[Crude], tuple[str, ...]] = {
    wrong.Draining: ("test_slots.py::test_success_has_status_200",),
    wrong.NoContent: (
        "test_slots.py::test_success_has_status_200",
        "test_refusals.py::test_a_refused_call_has_no_2xx_of_another_number[steady-state]",
    ),
    wrong.OneTooMany: (
        "test_slots.py::test_no_more_holders_than_slots",
        "test_lost_answers.py::test_a_client_that_never_returns_is_one_holder_at_most[closes]",
    ),
    wrong.RefusesOthers: (
        "test_slots.py::test_steady_state_may_come_first",
        "test_slots.py::test_steady_state_may_come_again",
        "test_lost_answers.py::test_steady_state_after_a_lost_answer_succeeds[closes]",
    ),
    wrong.RefusesOthersWhileHeld: ("test_slots.py::test_steady_state_of_another_is_a_success",),
    wrong.FreesForAnybody: ("test_slots.py::test_steady_state_of_another_frees_no_slot",),
    wrong.LosesRaces: ("test_parallel.py::test_a_lost_race_is_no_server_error",),
    wrong.ReadsThenWrites: (
        "test_parallel.py::test_parallel_clients_are_no_more_than_slots",
        "test_parallel.py::test_a_storm_never_has_more_holders_than_slots",
    ),
    wrong.WritesTheWhole: ("test_parallel.py::test_parallel_steady_states_of_all_free_all",),
    wrong.CountsTakes: (
        "test_slots.py::test_one_steady_state_ends_many_pre_reboots",
        "test_slots.py::test_pre_reboot_again_keeps_the_one_slot",
        "test_parallel.py::test_one_client_on_many_connections_has_one_slot",
        "test_lost_answers.py::test_pre_reboot_after_a_lost_answer_is_granted[closes]",
    ),
    wrong.NotIdempotent: ("test_slots.py::test_pre_reboot_again_keeps_the_one_slot",),
    wrong.KeepsTheQueue: ("test_slots.py::test_a_refused_client_may_report_steady_state",),
    wrong.FoldsCase: ("test_slots.py::test_ids_that_differ_in_case_are_two_clients",),
    wrong.Trims: tuple(
        f"test_ids.py::test_ids_that_are_almost_alike_are_two_clients[{name}]"
        for name in ("a space more", "composed and not", "cut at NUL", "long")
    ),
    wrong.OneSemaphore: ("test_slots.py::test_groups_share_no_slots",),
    wrong.Prefixes: ("test_slots.py::test_one_id_in_two_groups_is_two_clients",),
    wrong.NeedsContentType: ("test_headers.py::test_any_content_type_or_none_will_do[pre-reboot-None]",),
    wrong.NeedsNoHeader: (
        "test_headers.py::test_a_call_without_the_header_is_refused[pre-reboot]",
        "test_headers.py::test_a_call_without_the_header_is_refused[steady-state]",
    ),
    wrong.AnyValue: (
        "test_headers.py::test_a_call_with_another_value_of_the_header_is_refused[false]",
        "test_headers.py::test_only_post_is_a_call[pre-reboot-GET]",
        "test_headers.py::test_other_methods_take_and_free_nothing",
    ),
    wrong.AnyCaseOfTrue: ("test_headers.py::test_the_value_of_the_header_has_small_letters",),
    wrong.AnyPath: ("test_headers.py::test_other_paths_are_no_calls[/v2/{}-pre-reboot]",),
    wrong.Redirects: ("test_headers.py::test_calls_are_answered_and_not_redirected",),
    wrong.EmptyKind: ("test_refusals.py::test_a_refusal_has_a_kind_and_a_value[full]",),
    wrong.PlainText: (
        "test_refusals.py::test_a_refusal_has_a_kind_and_a_value[full]",
        "test_refusals.py::test_a_refusal_has_a_kind_and_a_value[no_json]",
    ),
    wrong.OneKind: (
        "test_refusals.py::test_kinds_are_words_of_small_letters",
        "test_refusals.py::test_a_full_semaphore_is_told_from_a_bad_request",
    ),
    wrong.KindHasTheClient: ("test_refusals.py::test_kinds_are_few_and_name_no_client",),
    wrong.RefusesBy300: ("test_refusals.py::test_a_refusal_is_4xx_or_5xx[full]",),
    wrong.Crashes: (
        "test_bodies.py::test_a_bad_body_is_the_clients_fault[not JSON]",
        "test_bodies.py::test_a_strange_body_is_refused_and_breaks_nothing[a hundred thousand brackets]",
    ),
    wrong.Coerces: ("test_bodies.py::test_a_bad_body_is_refused[id is a number-pre-reboot]",),
    wrong.AnyGroup: ("test_bodies.py::test_a_group_with_other_characters_is_refused[{}\\n]",),
    wrong.Strict: ("test_bodies.py::test_unknown_fields_are_no_error",),
    wrong.Ascii: (
        "test_ids.py::test_an_unusual_id_is_served_or_refused_as_bad[emoji]",
        "test_ids.py::test_an_unusual_id_is_served_or_refused_as_bad[1 KiB]",
    ),
    wrong.OnlyHex: ("test_ids.py::test_names_and_uuids_are_ids[{}.example.org]",),
    wrong.NeedsLength: ("test_http.py::test_a_chunked_body_is_read[7]",),
    wrong.OneAtATime: ("test_http.py::test_a_slow_client_holds_up_no_other",),
    wrong.TakesWithoutReading: ("test_bodies.py::test_bad_bodies_take_no_slot",),
    wrong.NeverReleases: ("test_slots.py::test_a_slot_is_taken_and_released",),
    wrong.Starves: (
        "test_slots.py::test_a_client_that_waits_gets_the_released_slot",
        "test_parallel.py::test_each_client_of_a_crowd_gets_its_turn",
    ),
    wrong.OneLine: ("test_bodies.py::test_the_layout_of_the_json_is_free[form0]",),
    wrong.AnyLogin: ("test_headers.py::test_a_call_with_wrong_credentials_is_refused[Bearer not-the-token]",),
    crude.CaseOfNames: ("test_headers.py::test_the_case_of_the_headers_name_is_free[Fleet-Lock-Protocol]",),
    crude.OneConnection: ("test_http.py::test_silent_connections_hold_up_no_client",),
    crude.OnePart: ("test_http.py::test_a_slow_body_is_read",),
    crude.NoContinue: ("test_http.py::test_expect_100_continue_is_answered",),
    crude.OneCall: ("test_http.py::test_one_connection_carries_many_calls",),
    crude.DropsTheNext: ("test_http.py::test_pipelined_calls_are_answered_in_order",),
    crude.LeavesBodies: ("test_http.py::test_a_kept_connection_survives_a_refusal",),
    crude.DiesOfGarbage: ("test_http.py::test_garbage_breaks_nothing[no HTTP]",),
    crude.OnlyNewHttp: ("test_http.py::test_http_1_0_is_spoken",),
    crude.AnyLength: ("test_http.py::test_a_wrong_length_is_no_success[1e3]",),
    crude.FailsOnLarge: ("test_http.py::test_a_large_body_is_refused_or_read",),
    crude.Late: ("test_http.py::test_a_call_ends_within_the_limit",),
    crude.ActsOnHalves: ("test_lost_answers.py::test_half_a_request_takes_nothing[closes]",),
}
