"""What each check of an export found, in words made from its name, its result and its evidence.

The certificate holds those; `studio.engine.export.certificate` says what they are. Each function here takes the
evidence with `passed`, `value` and `limit` among it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from studio.i18n import sentences, tr
from studio.text import gguf
from studio.text.numbers import brief, percent

Found: TypeAlias = Mapping[str, Any]


def check_text(name: str, found: Found) -> str:
    """Return the sentence of a check in the language of the session.

    Raises:
        KeyError: there are no words for such a check, or its evidence is not complete.
    """
    return _SENTENCES[name](found)


def _files_unchanged(found: Found) -> str:
    described = [
        *(tr("{file} is missing").format(file=file) for file in found["missing"]),
        *(tr("{file} has changed").format(file=file) for file in found["changed"]),
        *(tr("{file} was added").format(file=file) for file in found["added"]),
    ]
    if not described:
        return tr("Every file of the export is, byte for byte, the one that was certified.")
    words = tr("Files of the export are not those that were certified: {files}; export again.")
    return words.format(files=tr(", ").join(described))


def _measured_again(found: Found) -> str:
    if found["value"]:
        return tr("The export was measured again beside its run.")
    if not found["reason"]:
        return tr("The export lies apart from its run, so its outputs were not compared again.")
    return tr("The outputs were not compared again: {reason}").format(reason=found["reason"])


def _trained_part_unchanged(found: Found) -> str:
    if found["value"]:
        return tr("The trained part is, byte for byte, what training saved.")
    return tr("The run is of an earlier version, so its trained part could not be compared with what training saved.")


def _base_unchanged(found: Found) -> str:
    if found["value"] == "all":
        return tr("Weights, configuration, tokenizer and templates of the base are those that the run was trained on.")
    if found["value"] == "weights":
        return tr("The base's weights are those that the run was trained on; of its tokenizer, no record was kept.")
    return tr("No record was kept of the base that the run was trained on, so it could not be compared.")


def _loads_completely(found: Found) -> str:
    if found["passed"]:
        return tr("The export opens from disk, with every weight in its place.")
    if found["reason"]:
        return tr("The export cannot be opened again: {reason}.").format(reason=found["reason"])
    return tr("Weights are missing from the export, or do not belong there: {names}.").format(names=_some(found))


def _all_weights_finite(found: Found) -> str:
    if found["passed"]:
        return tr("Every weight is a finite number.")
    words = (
        tr("{count} weights are beyond 65504, the largest number that fp16 holds; export as bf16 or fp32.")
        if found["overflowed"]
        else tr("{count} numbers among the weights are not finite (NaN or infinity); the export is damaged.")
    )
    return words.format(count=found["value"])


def _weights_as_written(found: Found) -> str:
    if found["passed"]:
        return tr("Every weight on disk is, bit for bit, the one that was to be written.")
    return tr("Weights on disk are not the ones that were to be written: {names}.").format(names=_some(found))


def _some(found: Found) -> str:
    """Names of weights, of which the evidence holds the first few; `value` counts them all."""
    listed, more = tr(", ").join(found["weights"]), found["value"] - len(found["weights"])
    return tr("{names} and {count} more").format(names=listed, count=more) if more else listed


def _quantisation_loss(found: Found) -> str:
    words = (
        tr(
            "The run was trained on the base rounded to {base}, so the rounded weights are those in this export. "
            "Without the training, that rounding alone moves logits by up to {value} (KL {kl} nats)."
        )
        if found["in_export"]
        else tr(
            "The run was trained, and its result is checked, on the base rounded to {base}; load the base in {base} to "
            "use it. Without the training, that rounding alone moves logits by up to {value} (KL {kl} nats)."
        )
    )
    return words.format(base=found["base_dtype"], value=_number(found["value"]), kl=_number(found["kl"]))


def _merge_exact(found: Found) -> str:
    if found["passed"]:
        return tr(
            "Before rounding, the finished model answers exactly like the trained one, up to the order of additions."
        )
    words = tr(
        "The finished model is wrong: before any rounding, its logits differ from the trained model's by {value}."
    )
    return words.format(value=_number(found["value"]))


def _max_logit_difference(found: Found) -> str:
    return tr(
        "No score (logit) of the export may differ from the trained model's by more than {limit}, which arithmetic and "
        "rounding to {dtype} explain; the largest difference is {value}."
    ).format(**_measured(found), dtype=found["dtype"])


def _kl_divergence(found: Found) -> str:
    words = (
        tr(
            "{dtype} does not hold this model: rounding alone changes the probabilities of the next token by {value} "
            "nats (KL, mean), where {limit} is allowed; export as fp32."
        )
        if found["too_coarse"]
        else tr(
            "The export's probabilities for the next token may differ from the trained model's by {limit} nats (KL, "
            "mean); they differ by {value}."
        )
    )
    return words.format(**_measured(found), dtype=found["dtype"])


def _top1_agreement(found: Found) -> str:
    return tr(
        "The export and the trained model find the same token the likeliest at {value} of all positions; "
        "at least {limit} is expected."
    ).format(value=percent(float(found["value"])), limit=percent(float(found["limit"])))


def _delta_present(found: Found) -> str:
    if not found["logits"]:
        return tr("Training changed nothing: the trained model answers exactly like the base.")
    if found["passed"] and found.get("beside"):
        words = tr(
            "Training moved the outputs by up to {logits} (KL {kl} nats), and {share} of that effect is in the weights "
            "that were quantised."
        )
    elif found["passed"]:
        words = tr(
            "Training moved the outputs by up to {logits} (KL {kl} nats), and {share} of that effect is in the export."
        )
    elif found["rounded_to"]:
        words = tr(
            "{dtype} is too coarse for what was learnt: training moved the outputs by up to {logits} (KL {kl} nats), "
            "and only {share} of that effect survives the rounding; export as {better}, or train longer."
        )
    else:
        words = tr(
            "What was learnt has not arrived: training moved the outputs by up to {logits} (KL {kl} nats), and only "
            "{share} of that effect is in the export."
        )
    return words.format(
        logits=_number(found["logits"]),
        kl=_number(found["kl"]),
        share=percent(float(found["value"])),
        dtype=found["rounded_to"],
        better=_finer(found["rounded_to"]),
    )


def _delta_lost_in_dtype(found: Found) -> str:
    """`value` is the error by the size of the change; from `severe` on a finer format is advised."""
    dtype, error = found["dtype"], float(found["value"])
    if not error:
        return tr("{dtype} holds the change of the weights that training made without any loss.").format(dtype=dtype)
    facts = tr(
        "Rounding to {dtype} disturbs the change that training made by {error} of its size and undoes it in "
        "{unchanged} of the changed weights"
    ).format(dtype=dtype, error=percent(error), unchanged=percent(float(found["unchanged"])))
    if not found["severe"]:
        return tr("{facts}.").format(facts=facts)
    return tr("{facts}; export as {better} to keep it.").format(facts=facts, better=_finer(dtype))


def _finer(dtype: str | None) -> str:
    if dtype and dtype.startswith("q"):
        return tr("q8_0 or f16")
    return "fp32" if dtype in ("fp16", "f16") else tr("fp16 or fp32")


def _tokenizer_carried(found: Found) -> str:
    if not found["opens"]:
        return tr("The tokenizer is missing from the export or cannot be opened.")
    if found["value"]:
        words = tr("The exported tokenizer splits text differently from the base's ({count} of {all} samples).")
    elif not found["passed"]:
        words = tr("The exported tokenizer does not know the virtual tokens, or not as single tokens.")
    elif found["virtual_tokens"]:
        words = tr("The exported tokenizer splits text like the base's, and knows {tokens} virtual tokens besides.")
    else:
        words = tr("The exported tokenizer splits text exactly like the base's.")
    return words.format(count=found["value"], all=found["samples"], tokens=found["virtual_tokens"])


def _template_carried(found: Found) -> str:
    if not found["passed"]:
        return tr("The chat template is missing from the export, or is not the one the model was trained with.")
    if found["writes_virtual_tokens"]:
        return tr("The chat template in the export writes the virtual tokens, and then what the base's writes.")
    if found["base_has_one"]:
        return tr("The chat template in the export is the one the model was trained with.")
    return tr("The base has no chat template, so there is none to carry over.")


def _eos_carried(found: Found) -> str:
    if not found["value"]:
        return tr("The base names no token that ends a text, so generation can only end at a length.")
    words = (
        tr("Generation ends at {tokens}, as in training.")
        if found["passed"]
        else tr("Generation would not end at {tokens}, though answers end there in training.")
    )
    return words.format(tokens=found["value"])


def _generation_config_carried(found: Found) -> str:
    if not found["passed"]:
        return tr("The generation config is missing from the export, or is not the base's.")
    words = (
        tr("The generation config is the base's, mended: {tokens} was missing among the tokens that end an answer.")
        if found["added"]
        else tr("The generation config is the base's.")
    ).format(tokens=found["added"])
    besides = tr("It suppresses the virtual tokens besides.") if found["suppresses_virtual_tokens"] else ""
    return sentences((words, besides))


def _tokenizer_files(found: Found) -> str:
    if found["passed"]:
        return tr("The tokenizer's files are the base's, but for what the export adds.")
    return tr("Files of the tokenizer are not the base's: {names}.").format(names=_differences(found))


def _config_carried(found: Found) -> str:
    if found["passed"]:
        return tr("The configuration is the base's, but for the format of the weights and for new tokens.")
    return tr("The configuration (config.json) is not the base's: {names}.").format(names=_differences(found))


def _weight_files(found: Found) -> str:
    if found["passed"]:
        return tr("Every weight lies in the file where its index has it, and there are no other files of weights.")
    return tr("The files of weights do not belong together: {names}.").format(names=_differences(found))


def _trained_part_carried(found: Found) -> str:
    if found["passed"]:
        return tr("The trained part is, byte for byte, that of the run, and its base is named with it.")
    return tr("Files of the trained part, or about its base, are not what they should be: {names}.").format(
        names=_differences(found)
    )


def _differences(found: Found) -> str:
    """As `_some`, of files and of keys in them."""
    return _some({"weights": found["differences"], "value": found["value"]})


def _stops_by_itself(found: Found) -> str:
    """`value` tokens ended the export's answer, `trained` the trained model's; None where nothing did.

    With `teacher_forced`, what they would do where `asked` held-out answers end: `_led_to_the_end`.
    """
    if found.get("teacher_forced"):
        return _led_to_the_end(found)
    if found["value"] is not None:
        words = tr("Asked a held-out question, the export ends its answer by itself, after {value} tokens.")
    elif found["trained"] is None:
        words = tr("Neither the trained model nor the export ends its answer within {limit} tokens: it was not learnt.")
    else:
        words = tr("The trained model ends its answer after {trained} tokens, but the export does not within {limit}.")
    return words.format(value=found["value"], trained=found["trained"], limit=round(found["limit"]))


def _led_to_the_end(found: Found) -> str:
    """`value` is the mean probability of ending tokens there, and an ending token is the likeliest `ended` times.

    `generated` tokens of an answer had no end; None where the model is too large to be let answer. In certificates of
    earlier versions, `value` is how often an ending token is the likeliest.
    """
    generated = found.get("generated")
    ended, probability = found.get("ended", found["value"]), found.get("probability", found["value"])
    if not found["asked"]:
        return tr("The model is too large here to let it answer, and no held-out answer ends within the rows tried.")
    if generated is None:
        reason = tr("The model is too large here to let it answer")
    elif generated:
        reason = tr("An answer of the export had not ended after {generated} tokens").format(generated=generated)
    else:
        reason = tr("The trained model would end few held-out answers or none, and waiting for an end takes long")
    counts = tr(
        "{reason}, so the export was led through {asked} held-out answers: at their end, it finds an ending token the "
        "likeliest {value} times, and the trained model {trained} times."
    ).format(reason=reason, asked=found["asked"], value=ended, trained=found["trained"])
    if "trained_probability" not in found:
        return counts
    chances = tr(
        "On average, the export gives ending tokens a probability of {value} there, the trained model {trained}."
    )
    values = percent(float(probability)), percent(float(found["trained_probability"]))
    return sentences((counts, chances.format(value=values[0], trained=values[1])))


def _virtual_tokens_never_generated(found: Found) -> str:
    if found["said"]:
        return tr(
            "The export answers with a virtual token, which is none of the text it should write; export the adapter "
            "instead."
        )
    words = (
        tr(
            "Virtual tokens are read and never said: in the held-out rows and in an answer of the export, all of them "
            "together are nowhere more probable than {value}; {limit} is allowed."
        )
        if found["passed"]
        else tr(
            "The export may say virtual tokens, which are none of the text it should write: somewhere in the held-out "
            "rows or in an answer of the export all of them together have the probability {value}, where {limit} is "
            "allowed. No row of this model's output layer makes them unlikely everywhere; export the adapter instead."
        )
    )
    return words.format(**_measured(found))


def _measured(found: Found) -> dict[str, str]:
    return {"value": _number(found["value"]), "limit": _number(found["limit"])}


def _number(value: Any) -> str:
    """A certificate spells numbers that are not finite as strings; float reads them."""
    return brief(float(value))


_SENTENCES: dict[str, Callable[[Found], str]] = {
    "files_unchanged": _files_unchanged,
    "measured_again": _measured_again,
    "trained_part_unchanged": _trained_part_unchanged,
    "base_unchanged": _base_unchanged,
    "loads_completely": _loads_completely,
    "all_weights_finite": _all_weights_finite,
    "weights_as_written": _weights_as_written,
    "quantisation_loss": _quantisation_loss,
    "merge_exact": _merge_exact,
    "max_logit_difference": _max_logit_difference,
    "kl_divergence": _kl_divergence,
    "top1_agreement": _top1_agreement,
    "delta_present": _delta_present,
    "delta_lost_in_dtype": _delta_lost_in_dtype,
    "tokenizer_carried": _tokenizer_carried,
    "template_carried": _template_carried,
    "eos_carried": _eos_carried,
    "generation_config_carried": _generation_config_carried,
    "tokenizer_files": _tokenizer_files,
    "config_carried": _config_carried,
    "weight_files": _weight_files,
    "trained_part_carried": _trained_part_carried,
    "stops_by_itself": _stops_by_itself,
    "virtual_tokens_never_generated": _virtual_tokens_never_generated,
    **gguf.SENTENCES,
}
