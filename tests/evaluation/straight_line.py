"""Scores worked out the long way, on purpose without any of the project's prompt, encoding or scoring code.

Prompts are written here again, one string a preset, and each sequence is run alone with all its logits.
"""

import csv
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

import alignx

PRESETS = ("paper", "released-train", "released-eval")
_DIMENSIONS = list(
    csv.DictReader((Path(alignx.__file__).parent / "records/preference_dimensions.csv").read_text("utf-8").splitlines())
)
_THRESHOLDS = {"paper": ("0.6", "0.4"), "released-train": ("0.6", "0.4"), "released-eval": ("0.51", "0.49")}


def prompt_and_responses(row: Mapping[str, Any], method: str, preset: str) -> tuple[str, str, str]:
    """The whole text of a prompt, and of both responses with what ends them."""
    user = _task(row, preset) + (_history(row, preset) if method == "ica" else _preferences(row, preset))
    instruction = _instruction(method, preset)
    if preset == "paper":
        prompt = (
            f"<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n{instruction}<|eot_id|>"
            f"<|start_header_id|>user<|end_header_id|>\n\n{user.strip()}<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n"
        )
        return prompt, row["chosen"].strip() + "<|eot_id|>", row["rejected"].strip() + "<|eot_id|>"
    prompt = (
        f"<|start_header_id|>system<|end_header_id|>\n\n{instruction}\n<|eot_id|>"
        f"<|start_header_id|>user<|end_header_id|>\n\n{user}<|eot_id|><|start_header_id|>assistant<|end_header_id|>"
    )
    if preset == "released-train":
        return prompt, row["chosen"].rstrip("\n") + " <|eot_id|>", row["rejected"].rstrip("\n") + " <|eot_id|>"
    return "<|begin_of_text|>" + prompt, row["chosen"] + "<|eot_id|>", row["rejected"] + "<|eot_id|>"


def log_probability(model: Any, tokenizer: Any, prompt: str, response: str) -> float:
    """Summed log-probability of the response's tokens, log-softmax over the whole vocabulary in float64."""
    prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    ids = tokenizer(prompt + response, add_special_tokens=False)["input_ids"]
    assert ids[: len(prompt_ids)] == prompt_ids
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    per_position = logits.double().log_softmax(-1)
    return sum(float(per_position[place - 1, ids[place]]) for place in range(len(prompt_ids), len(ids)))


def _instruction(method: str, preset: str) -> str:
    if method == "pba":
        return "Generate a task-specific response based on user preferences."
    if preset == "released-train":
        return "Generate a task-specific response based on user historical behavior."
    return "Generate a task-specific response based on user historical behavior and preferences."


def _task(row: Mapping[str, Any], preset: str) -> str:
    post = "**Post:**\n" if preset == "released-eval" else ""
    return "***Task***\n\n" + post + row["prompt"] + "\n\n"


def _history(row: Mapping[str, Any], preset: str) -> str:
    text = ""
    if comments := row.get("User-Generated Content"):
        text += "**This person has commented on some posts:**\n\n"
        for i, item in enumerate(comments):
            text += f"{i + 1}. *Post:*\n" + item["prompt"] + "\n\n*Comment:*\n" + item["comment"] + "\n\n"
    if choices := row.get("Pair-wise Comparative Feedback"):
        text += "**This person has chosen or rejected comments on some posts:**\n\n"
        for i, item in enumerate(choices):
            text += f"{i + 1}. *Post:*\n" + item["prompt"] + "\n\n*Chosen:*\n" + item["chosen"]
            text += "\n\n*Rejected:*\n" + item["rejected"] + "\n\n"
    if preset != "released-train":
        text += row.get("Demographic Information", "")
    heading = "***Historical Behavior***\n\n"
    if preset != "released-train":
        heading = "***Historical Behavior and User Preferences***\n\n"
    if preset == "paper" and not text:
        return "***Response:***\n\n"
    return heading + text + "\n\n***Response:***\n\n"


def _preferences(row: Mapping[str, Any], preset: str) -> str:
    items = [*row.get("User-Generated Content", ()), *row.get("Pair-wise Comparative Feedback", ())]
    positive, negative = map(Fraction, _THRESHOLDS[preset])
    phrases = []
    for index, dimension in enumerate(_DIMENSIONS):
        levels = [Fraction(item["Preference Direction"][index]) for item in items]
        mean = sum(levels, Fraction(0)) / len(levels) if levels else Fraction(1, 2)
        if mean >= positive:
            phrases.append(dimension["positive"])
        elif mean <= negative:
            phrases.append(dimension["negative"])
    profile = ", ".join(phrases)
    if preset == "paper" and not profile:
        profile = "No stated preferences."
    return "***User Preferences***\n\n" + profile + "\n\n***Response:***\n\n"
