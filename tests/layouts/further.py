"""Layouts of public datasets beside the files in `cases`, each with rows in which the kinds of trouble show."""

from __future__ import annotations

from typing import Any

Rows = list[dict[str, Any]]


def said(role: str, content: str, **more: Any) -> dict[str, Any]:
    """Return one message as OpenAI writes it."""
    return {"role": role, "content": content, **more}


def told(speaker: str, value: str, **more: Any) -> dict[str, Any]:
    """Return one turn as ShareGPT writes it."""
    return {"from": speaker, "value": value, **more}


FURTHER: dict[str, Rows] = {
    "ms-swift: loss of a message": [
        {
            "messages": [
                said("user", "2+2?"),
                said("assistant", "5", loss=False),
                said("user", "No."),
                said("assistant", "4"),
            ]
        },
    ],
    "Axolotl: train of a turn": [
        {
            "conversations": [
                told("human", "Hi"),
                told("gpt", "UNTAUGHT", train=False),
                told("human", "Bye"),
                told("gpt", "Bye!"),
            ]
        },
    ],
    "torchtune: masked messages": [
        {
            "messages": [
                said("user", "Hi"),
                said("assistant", "UNTAUGHT", masked=True),
                said("user", "Bye"),
                said("assistant", "Bye!"),
            ]
        },
    ],
    "train_mask beside messages": [
        {
            "messages": [
                said("user", "Hi"),
                said("assistant", "UNTAUGHT"),
                said("user", "Bye"),
                said("assistant", "Bye!"),
            ],
            "train_mask": mask,
        }
        for mask in ([0, 0, 0, 1], [False, True], [0], "partly", 0)
    ],
    "a row with loss_weight 0": [
        {"prompt": "Hi", "completion": "Hello!", "loss_weight": 1},
        {"prompt": "Hi", "completion": "UNTAUGHT", "loss_weight": 0.0},
    ],
    "a conversation with a label": [
        {"messages": [said("user", "Hi"), said("assistant", "Hello!")], "label": True},
        {"messages": [said("user", "Hi"), said("assistant", "UNTAUGHT")], "label": False},
    ],
    "labels in words": [
        {"prompt": "Hi", "completion": "Hello!", "label": "good"},
        {"prompt": "Hi", "completion": "UNTAUGHT", "label": "Rejected"},
        {"prompt": "Hi", "completion": "UNTAUGHT", "label": "-1"},
        {"prompt": "Bye", "completion": "See you.", "label": "hm"},
    ],
    "TRL: unpaired preference (KTO) of messages": [
        {"prompt": [said("user", "Hi")], "completion": [said("assistant", "Hello!")], "label": True},
        {"prompt": [said("user", "Hi")], "completion": [said("assistant", "UNTAUGHT")], "label": False},
    ],
    "ShareGPT with kto_tag": [
        {"conversations": [told("human", "Hi"), told("gpt", "Hello!")], "kto_tag": "true"},
        {"conversations": [told("human", "Hi"), told("gpt", "UNTAUGHT")], "kto_tag": "no"},
    ],
    "Dolly": [
        {"instruction": "When?", "context": "It opened in 1999.", "response": "In 1999.", "category": "closed_qa"},
    ],
    "SQuAD": [
        {
            "id": "5",
            "title": "Lake",
            "context": "The lake is 90 m deep.",
            "question": "How deep?",
            "answers": {"text": ["90 m"], "answer_start": [12]},
        },
    ],
    "ARC": [
        {"question": "Which floats?", "choices": {"text": ["wood", "iron"], "label": ["A", "B"]}, "answerKey": "A"},
    ],
    "RACE": [
        {
            "article": "The lake is 90 m deep.",
            "question": "How deep?",
            "options": ["9 m", "90 m"],
            "answer": "B",
            "example_id": "7.txt",
        },
    ],
    "BoolQ": [
        {"question": "is it deep", "passage": "The lake is 90 m deep.", "answer": True},
    ],
    "LIMA": [
        {"conversations": ["Hi", "Hello!"], "source": "x"},
    ],
    "P3 and FLAN": [
        {"inputs": "Say hi.", "targets": "Hi."},
    ],
    "GSM8K with a mark of quality in Chinese": [
        {"question": "2+2?", "answer": "4", "label": "好"},
        {"question": "2+3?", "answer": "UNTAUGHT", "label": "错误"},
    ],
    "MedQA": [
        {"question": "Which one?", "options": {"A": "Aspirin", "B": "Iodine"}, "answer": "Iodine", "answer_idx": "B"},
    ],
    "system beside messages": [
        {"system": "Be kind.", "messages": [said("user", "Hi"), said("assistant", "Hello!")]},
    ],
    "ChatGLM: prompt, response, history": [
        {"prompt": "And now?", "response": "Rest.", "history": [["What first?", "Dig."], ["Then?", "Plant."]]},
    ],
    "history as messages": [
        {"history": [said("user", "Hi"), said("assistant", "Hello!")], "question": "Bye", "answer": "See you."},
    ],
    "Orca DPO pairs": [
        {"system": "Be kind.", "question": "Hi", "chosen": "Hello!", "rejected": "What."},
    ],
    "UltraFeedback, binarised": [
        {
            "prompt": "Hi",
            "prompt_id": "7",
            "chosen": [said("user", "Hi"), said("assistant", "Hello!")],
            "rejected": [said("user", "Hi"), said("assistant", "What.")],
            "score_chosen": 9.0,
        },
    ],
    "preference of several turns without a prompt": [
        {
            "chosen": [
                said("user", "Hi"),
                said("assistant", "Hello!"),
                said("user", "Bye"),
                said("assistant", "See you."),
            ],
            "rejected": [
                said("user", "Hi"),
                said("assistant", "Hello!"),
                said("user", "Bye"),
                said("assistant", "No."),
            ],
        },
    ],
    "HH-RLHF, several turns": [
        {
            "chosen": "\n\nHuman: Hi\n\nAssistant: Hello!\n\nHuman: How do I cook?\n\nAssistant: With heat.\n\nAnd salt.",
            "rejected": "\n\nHuman: Hi\n\nAssistant: Hello!\n\nHuman: How do I cook?\n\nAssistant: No idea.",
        },
    ],
    "ranking: answers with scores": [
        {"instruction": "Say hi.", "completions": [{"response": "No.", "score": 1}, {"response": "Hi!", "score": 5}]},
    ],
    "medical-o1: a thought in a column": [
        {"Question": "2+2?", "Complex_CoT": "two and two", "Response": "4"},
    ],
    "Anthropic: thinking as a part": [
        {
            "messages": [
                said("user", "2+2?"),
                {
                    "role": "assistant",
                    "content": [{"type": "thinking", "thinking": "two and two"}, {"type": "text", "text": "4"}],
                },
            ]
        },
    ],
    "LLaVA": [
        {"id": "1", "image": "a.jpg", "conversations": [told("human", "<image>\nWhat is it?"), told("gpt", "A lake.")]},
        {"id": "2", "conversations": [told("human", "What is a lake?"), told("gpt", "Water.")]},
    ],
    "speech with a transcript": [
        {"audio": "a.wav", "text": "hello there"},
        {"text": "only text"},
    ],
    "functions beside messages": [
        {"messages": [said("user", "Hi"), said("assistant", "Hello!")], "functions": [{"name": "look_up"}]},
    ],
    "UltraChat, first release": [
        {"id": "0", "data": ["Hi", "Hello!"]},
    ],
    "UltraChat, a question at the end": [
        {"id": "0", "data": ["Hi", "Hello!", "Bye"]},
    ],
    "C-Eval: choices in columns": [
        {"id": 0, "question": "Capital?", "A": "Oslo", "B": "Rome", "C": "Bern", "D": "", "answer": "B"},
    ],
    "alternating texts": [
        {"dialog": ["Hi", "Hello!", "Bye", "See you."]},
    ],
    "turns stored by columns": [
        {"conversations": {"from": ["human", "gpt"], "value": ["Hi", "Hello!"]}},
    ],
    "NuminaMath": [
        {
            "source": "x",
            "problem": "2+2?",
            "solution": "2+2 = 4",
            "messages": [said("user", "2+2?"), said("assistant", "2+2 = 4")],
        },
    ],
    "OpenAssistant: a tree of messages": [
        {"message_id": "a", "parent_id": None, "text": "Hi", "role": "prompter", "message_tree_id": "a", "lang": "en"},
        {"message_id": "b", "parent_id": "a", "text": "UNTAUGHT", "role": "assistant", "rank": 1},
        {"message_id": "c", "parent_id": "a", "text": "Hello!", "role": "assistant", "rank": 0},
        {"message_id": "d", "parent_id": "c", "text": "Thanks.", "role": "prompter"},
        {"message_id": "e", "parent_id": "c", "text": "Bye", "role": "prompter"},
        {"message_id": "f", "parent_id": "e", "text": "See you.", "role": "assistant", "rank": 0},
        {
            "message_id": "g",
            "parent_id": None,
            "text": "2+2?",
            "role": "prompter",
            "message_tree_id": "g",
            "lang": "en",
        },
        {"message_id": "h", "parent_id": "g", "text": "4", "role": "assistant"},
        {"message_id": "i", "parent_id": "d", "text": "UNTAUGHT", "role": "assistant"},
    ],
    "Gemini: contents and parts": [
        {
            "systemInstruction": {"role": "system", "parts": [{"text": "Be kind."}]},
            "contents": [
                {"role": "user", "parts": [{"text": "Hi"}]},
                {"role": "model", "parts": [{"text": "Hel"}, {"text": "lo!"}]},
            ],
        },
        {
            "contents": [
                {"role": "user", "parts": [{"text": "Weather?"}]},
                {"role": "model", "parts": [{"functionCall": {"name": "weather"}}]},
            ],
        },
        {
            "contents": [
                {"role": "user", "parts": [{"inlineData": {"mimeType": "image/png"}}, {"text": "What is it?"}]},
                {"role": "model", "parts": [{"text": "UNTAUGHT"}]},
            ],
        },
    ],
    "Cohere: preamble, chat_history, message": [
        {
            "preamble": "Be kind.",
            "chat_history": [{"role": "USER", "message": "Hi"}, {"role": "CHATBOT", "message": "Hello!"}],
            "message": "Bye",
            "response": "See you.",
        },
    ],
    "a thought as a message of its own": [
        {"messages": [said("user", "2+2?"), said("thinking", "two and two"), said("assistant", "4")]},
        {"messages": [said("user", "2+2?"), said("thinking", "two and two"), said("user", "UNTAUGHT")]},
    ],
    "one message a row": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello!"},
    ],
    "text with a class": [
        {"text": "A fine film.", "label": 1},
        {"text": "A dull film.", "label": 0},
    ],
}
"""Rows by the name of the layout."""
