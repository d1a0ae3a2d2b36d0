"""A certificate reads right in every language: codes and English in the file, words where it is shown."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from studio import i18n
from studio.engine.export.certificate import Certificate, Check, read_certificate

# A check of every name, in every form that its words have.
LED = {"asked": 6, "teacher_forced": True, "trained_probability": 0.5}
CHECKS: tuple[tuple[str, bool, Any, float | None, dict[str, Any]], ...] = (
    ("files_unchanged", True, 0, 0, {"missing": [], "changed": [], "added": []}),
    ("files_unchanged", False, 3, 0, {"missing": ["a"], "changed": ["b"], "added": ["c"]}),
    ("measured_again", True, True, None, {}),
    ("measured_again", True, False, None, {"reason": ""}),
    ("measured_again", True, False, None, {"reason": "The base is gone."}),
    ("trained_part_unchanged", True, True, None, {}),
    ("trained_part_unchanged", True, False, None, {}),
    ("base_unchanged", True, "all", None, {}),
    ("base_unchanged", True, "weights", None, {}),
    ("base_unchanged", True, "nothing", None, {}),
    ("loads_completely", True, 0, 0, {"weights": [], "reason": ""}),
    ("loads_completely", False, 1, 0, {"weights": [], "reason": "header too large"}),
    ("loads_completely", False, 5, 0, {"weights": ["q", "k", "v"], "reason": ""}),
    ("all_weights_finite", True, 0, 0, {"overflowed": False}),
    ("all_weights_finite", False, 2, 0, {"overflowed": False}),
    ("all_weights_finite", False, 2, 0, {"overflowed": True}),
    ("weights_as_written", True, 0, 0, {"weights": []}),
    ("weights_as_written", False, 1, 0, {"weights": ["q"]}),
    ("quantisation_loss", True, 0.5, None, {"kl": 0.1, "base_dtype": "nf4", "in_export": True}),
    ("quantisation_loss", True, 0.5, None, {"kl": 0.1, "base_dtype": "nf4", "in_export": False}),
    ("merge_exact", True, 1e-5, 1e-3, {}),
    ("merge_exact", False, float("nan"), 1e-3, {}),
    ("max_logit_difference", False, float("inf"), 1e-3, {"dtype": "fp32"}),
    ("kl_divergence", True, 1e-9, 1e-6, {"dtype": "fp32", "too_coarse": False}),
    ("kl_divergence", False, 0.2, 0.05, {"dtype": "bf16", "too_coarse": True}),
    ("top1_agreement", True, 0.9993, 0.99, {}),
    ("delta_present", False, 0.0, 0.5, {"logits": 0.0, "kl": 0.0, "rounded_to": None}),
    ("delta_present", True, 1.0, 0.5, {"logits": 3.0, "kl": 0.2, "rounded_to": None}),
    ("delta_present", False, 0.2, 0.5, {"logits": 3.0, "kl": 0.2, "rounded_to": "bf16"}),
    ("delta_present", False, 0.2, 0.5, {"logits": 3.0, "kl": 0.2, "rounded_to": None}),
    ("delta_lost_in_dtype", True, 0.0, None, {"dtype": "fp32", "unchanged": 0.0, "severe": False}),
    ("delta_lost_in_dtype", True, 0.1, None, {"dtype": "fp16", "unchanged": 0.0, "severe": False}),
    ("delta_lost_in_dtype", True, 0.9, None, {"dtype": "bf16", "unchanged": 0.7, "severe": True}),
    ("tokenizer_carried", True, 0, 0, {"opens": True, "samples": 12, "virtual_tokens": 0}),
    ("tokenizer_carried", True, 0, 0, {"opens": True, "samples": 12, "virtual_tokens": 8}),
    ("tokenizer_carried", False, 12, 0, {"opens": False, "samples": 12, "virtual_tokens": 0}),
    ("tokenizer_carried", False, 4, 0, {"opens": True, "samples": 12, "virtual_tokens": 0}),
    ("tokenizer_carried", False, 0, 0, {"opens": True, "samples": 12, "virtual_tokens": 8}),
    ("template_carried", True, True, None, {"base_has_one": True, "writes_virtual_tokens": False}),
    ("template_carried", True, True, None, {"base_has_one": True, "writes_virtual_tokens": True}),
    ("template_carried", True, True, None, {"base_has_one": False, "writes_virtual_tokens": False}),
    ("template_carried", False, False, None, {"base_has_one": True, "writes_virtual_tokens": False}),
    ("eos_carried", True, "<|im_end|>", None, {}),
    ("eos_carried", False, "<|im_end|>", None, {}),
    ("eos_carried", True, "", None, {}),
    ("generation_config_carried", True, True, None, {"added": "", "suppresses_virtual_tokens": False}),
    ("generation_config_carried", True, True, None, {"added": "<|end|>", "suppresses_virtual_tokens": True}),
    ("generation_config_carried", False, False, None, {"added": "", "suppresses_virtual_tokens": False}),
    *(
        (name, not differences, len(differences), 0, {"differences": differences})
        for name in ("tokenizer_files", "config_carried", "weight_files", "trained_part_carried")
        for differences in ([], ["a.json: key"])
    ),
    ("stops_by_itself", True, 23, 128, {"trained": 23}),
    ("stops_by_itself", True, None, 128, {"trained": None}),
    ("stops_by_itself", False, None, 128, {"trained": 23}),
    ("stops_by_itself", True, 4, 2.5, {"trained": 5, "asked": 6, "teacher_forced": True}),
    ("stops_by_itself", True, 4, 2.5, LED | {"trained": 5, "generated": 128, "probability": 0.4}),
    ("stops_by_itself", True, 0.4, 0.25, LED | {"ended": 0, "trained": 0, "generated": 0}),
    ("stops_by_itself", True, 0.4, 0.25, LED | {"ended": 5, "trained": 5, "generated": 128}),
    ("stops_by_itself", False, 0.2, 0.25, LED | {"ended": 5, "trained": 5, "generated": None}),
    ("virtual_tokens_never_generated", True, 1e-9, 1e-6, {"said": False}),
    ("virtual_tokens_never_generated", False, 1e-3, 1e-6, {"said": False}),
    ("virtual_tokens_never_generated", False, 1e-9, 1e-6, {"said": True}),
)


def certificate() -> Certificate:
    checks = tuple(Check.of(name, passed, value, limit, **rest) for name, passed, value, limit, rest in CHECKS)
    return Certificate(
        checks=checks, base={}, target="merged", dtype="fp32", prompts=(), files={}, run="r", versions={}
    )


@pytest.mark.usefixtures("marked_chinese")
@pytest.mark.parametrize(("made", "shown"), [("zh_CN", "en"), ("en", "zh_CN")])
def test_a_certificate_made_under_one_language_reads_right_in_another(tmp_path: Path, made: str, shown: str) -> None:
    i18n.set_language(made)
    path = certificate().write(tmp_path)
    assert "译" not in path.read_text(encoding="utf-8")

    i18n.set_language(shown)
    for check in read_certificate(tmp_path).checks:
        if shown == "en":
            assert check.text == check.meaning
        else:
            assert check.text.startswith("译")
            assert check.text.replace("译", "") == check.meaning


def test_no_sentence_has_a_hole_or_a_name_of_evidence_left_in_it(tmp_path: Path) -> None:
    for check in certificate().checks:
        assert check.meaning
        assert not {"{", "}"} & set(check.meaning), check.meaning
        assert "None" not in check.meaning


@pytest.mark.usefixtures("marked_chinese")
def test_a_certificate_of_an_earlier_version_shows_the_sentences_that_it_holds(tmp_path: Path) -> None:
    path = certificate().write(tmp_path)
    values = json.loads(path.read_text(encoding="utf-8"))
    for check in values["checks"]:
        del check["evidence"]
        check["meaning"] = "Sätze von früher."
    path.write_text(json.dumps(values), encoding="utf-8")

    i18n.set_language("zh_CN")
    assert {check.text for check in read_certificate(tmp_path).checks} == {"Sätze von früher."}


def test_a_check_of_a_later_version_shows_its_own_sentence() -> None:
    known = Check.of("merge_exact", True, 0.0, 1e-3)
    assert dataclasses.replace(known, name="speaks_in_rhyme").text == known.meaning
    assert dataclasses.replace(known, name="stops_by_itself", value=3, evidence={}).text == known.meaning
