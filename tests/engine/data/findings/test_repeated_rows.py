"""Rows that are there twice, or nearly, are counted exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Found = Callable[..., Any]

LONG = (
    "Low-rank adaptation freezes the weights of the model and learns a small change beside each of them. The change is "
    "the product of two thin matrices, so that it has few parameters; after training it can be added to the weights, "
    "and then it costs nothing more. People choose it because the memory for gradients and optimizer states shrinks "
    "with the number of parameters that are trained, while the result is often as good."
)

CHINESE = (
    "低秩适配把模型原来的权重冻结起来，只在每个权重旁边学习一个很小的改变量。这个改变量写成两个瘦长矩阵的乘积，所以参数很少，"
    "优化器要保存的状态也跟着变少，显存一下子就省下来了。训练结束以后，可以把它加回原来的权重里，推理时不再多花一点时间。"
    "人们喜欢它，还因为同一个底座可以配上许多份这样的小文件，每份对应一种任务，需要哪一份就装哪一份，换起来非常方便。"
)


def pair(question: str, answer: str) -> dict[str, Any]:
    return {"prompt": question, "completion": answer}


def others(count: int) -> list[dict[str, Any]]:
    return [pair(f"Which is row {number}?", f"This one, number {number} of all.") for number in range(count)]


def test_53_rows_that_are_there_again_are_counted(found: Found) -> None:
    rows = [*others(20), *others(3), pair("Why?", "Because."), *others(1)]
    (name, one), *rest = found(rows).items()
    assert (name, one.count, one.rows, rest) == ("duplicates", 4, (21, 22, 23, 25), [])
    assert one.remedy.code == "drop_repeats"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("WHAT IS LORA?", LONG),
        ("  What is\tLoRA ", LONG + "\n"),
        ("What is LoRA?", LONG.replace("thin matrices", "slim matrices")),
        ("What is LoRA?", LONG.replace(". The", ", the").replace(";", ":")),
    ],
)
def test_rows_that_hardly_differ_are_counted_as_nearly_the_same(question: str, answer: str, found: Found) -> None:
    rows = [*others(5), pair("What is LoRA?", LONG), *others(30)[5:], pair(question, answer)]
    assert {name: (one.count, one.rows) for name, one in found(rows).items()} == {"near_duplicates": (1, (32,))}


@pytest.mark.parametrize(
    "answer",
    [
        LONG.replace("thin", "thin and rather elegant though sometimes also rather clumsy"),
        LONG.replace("two thin", "2 thin"),
        LONG + " Nobody knows why, but everybody says so.",
    ],
)
def test_rows_that_differ_more_or_in_a_number_are_not(answer: str, found: Found) -> None:
    assert found([*others(5), pair("What is LoRA?", LONG), pair("What is LoRA?", answer)]) == {}


def test_chinese_rows_that_hardly_differ_are_nearly_the_same(found: Found) -> None:
    rows = [pair("什么是低秩适配？", CHINESE), pair("什么是低秩适配", CHINESE.replace("冻结", "冻住"))]
    assert {name: one.rows for name, one in found([*others(9), *rows]).items()} == {"near_duplicates": (11,)}


def test_every_third_of_many_rows_again_is_counted_exactly(found: Found) -> None:
    rows = others(3000)
    again = [rows[place] for place in range(0, 3000, 3)]
    assert found([*rows, *again])["duplicates"].count == 1000
