"""Every bad input of the project's list about runs, 85 to 104, has its tests; here is where they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
INDEX = {
    85: [
        "engine/training/test_rescue.py::test_on_a_full_disk_the_result_waits_for_room",
        "runner/test_worker.py::test_on_a_full_disk_the_run_waits_says_so_and_goes_on",
        "crashes/test_full_disk.py::test_on_a_disk_that_is_really_full_the_run_waits_and_goes_on_when_there_is_room",
        "engine/export/test_export_refusals.py::test_a_full_disk",
    ],
    86: [
        "runs/test_run_folder.py::test_a_place_that_cannot_be_written_is_one_sentence",
        "runs/test_run_folder.py::test_a_run_that_cannot_be_made_leaves_nothing",
        "engine/training/test_rescue.py::test_a_run_folder_that_is_deleted_is_not_the_end_of_what_was_trained",
        "engine/export/test_export_refusals.py::test_a_place_that_cannot_be_written",
    ],
    87: [
        "crashes/test_crashes.py::test_a_killed_run_goes_on_as_if_nothing_had_happened",
        "runs/test_run_folder.py::test_text_is_on_the_disk_before_its_file_takes_the_place_of_the_old_one",
    ],
    88: [
        "runner/test_task_and_controller.py::test_an_error_in_the_worker_is_one_sentence_and_a_traceback_in_the_log",
        "runner/test_process.py::test_a_kill_is_called_want_of_memory_where_the_system_says_so",
        "engine/training/test_rescue.py::test_the_trained_part_is_saved_whatever_ends_the_run",
        "engine/training/test_out_of_memory.py::test_a_run_goes_on_and_ends_with_the_same_weights",
        "engine/training/test_out_of_memory.py::test_where_a_single_row_is_too_much_activations_are_computed_again_and_then_the_run_ends",
    ],
    89: [
        "engine/training/test_run.py::test_a_nan_in_a_weight_stops_the_run_and_nothing_non_finite_is_saved",
        "engine/numerics/test_scenarios.py::test_rows_on_which_the_loss_is_no_number_are_named",
        "engine/numerics/test_diagnosis.py::test_the_run_pauses_after_the_stated_number_of_bad_steps_and_again_after_as_many",
    ],
    90: ["engine/numerics/test_scenarios.py::test_gradients_too_large_at_the_lowest_scale_are_a_collapse"],
    91: [
        "ui/test_main_window.py::test_closing_while_training_asks_then_waits_for_the_worker",
        "ui/test_main_window.py::test_keep_training_cancels_closing",
    ],
    92: [
        "engine/data/test_prepare.py::test_cancel_stops_and_leaves_nothing_half_done",
        "engine/training/test_run.py::test_stop_while_preparing_ends_without_an_adapter",
        "engine/training/test_run.py::test_stop_saves_what_was_learnt_and_ends_cleanly",
        "engine/training/test_retention.py::test_a_stop_before_the_end_reports_what_is_known",
        "engine/export/test_export_targets.py::test_a_cancelled_export_leaves_nothing",
    ],
    93: ["engine/training/test_pause.py::test_the_time_of_a_pause_is_not_counted"],
    94: [
        "engine/training/test_rescue.py::test_a_clock_that_is_set_back_changes_no_duration_and_no_order",
        "runs/test_run_folder.py::test_runs_are_listed_by_when_they_were_made_whatever_they_are_called",
    ],
    95: [
        "runs/test_lock.py::test_a_killed_process_is_gone_at_once_and_its_run_can_be_taken_over",
        "runner/test_worker.py::test_the_run_of_another_process_is_refused_and_left_as_it_is",
    ],
    96: [
        "engine/training/test_resume.py::test_a_change_is_listed_and_kept_in_the_checkpoints_and_not_in_the_configuration",
        "text/test_resume_words.py::test_every_difference_and_every_checkpoint_passed_over_is_named",
    ],
    97: [
        "engine/training/test_resume.py::test_a_checkpoint_of_a_later_version_is_refused",
        "runs/test_run_folder.py::test_an_event_of_a_later_version_with_more_keys_is_read",
        "runs/test_run_folder.py::test_the_beginning_of_a_run_of_an_earlier_version_is_read",
    ],
    98: [
        "config/test_run_config.py::test_nonsense_is_refused_with_the_key_in_the_sentence",
        "engine/training/test_length.py::test_rows_longer_than_learnt_positions_are_refused_with_the_length_that_fits",
        "ui/forms/test_forms.py::test_numbers_are_read_as_people_type_them",
        "ui/forms/test_forms.py::test_a_wrong_value_is_named_below_its_field_and_in_the_form",
    ],
    99: ["engine/probe/test_measure.py::*fp16_on_processor"],
    100: ["engine/models/test_load.py::test_loading_asks_nothing_of_the_network"],
    101: [
        "runner/test_worker.py::test_whatever_is_raised_is_told_and_written",
        "runner/test_worker.py::test_the_watcher_hears_the_end_though_nothing_can_be_written",
        "runner/test_record.py::test_pause_failure_progress_and_log_are_shown",
    ],
    102: ["ui/plots/test_charts.py::test_a_single_nan_among_100_000_steps_is_marked_at_every_zoom"],
    103: [
        "cli/test_train_command.py::test_a_signal_stops_the_run_cleanly",
        "cli/test_train_command.py::test_a_terminal_that_is_gone_neither_ends_a_run_nor_hides_its_failure",
    ],
    104: [
        "cli/test_commands.py::test_a_terminal_that_knows_ascii_alone_gets_every_text",
        "cli/test_commands.py::test_a_name_does_nothing_to_the_terminal_that_it_is_written_to",
        "ui/forms/test_forms.py::test_numbers_are_read_as_people_type_them",
    ],
}


def test_the_index_has_every_number() -> None:
    assert sorted(INDEX) == list(range(85, 105))


@pytest.mark.parametrize("place", [place for places in INDEX.values() for place in places])
def test_what_the_index_names_is_there(place: str) -> None:
    file, name = place.split("::")
    text = (TESTS / file).read_text(encoding="utf-8")
    # A star stands before words in a test whose name is of something else.
    assert re.search(rf"def {name}\(", text) if name.isidentifier() else name.removeprefix("*") in text
