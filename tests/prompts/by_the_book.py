"""What each preset asks, written a second time in straight lines, without the package.

The strings come from the description of the method, not from ``alignx``: an edit of the wording has to be made
twice, knowingly. ``python tests/prompts/by_the_book.py`` writes the files of ``tests/golden`` anew; read their
difference before keeping it.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parents[1] / "golden"
PRESETS = ("paper", "released-train", "released-eval")
METHODS = ("ica", "pba")
PARTS = ("ugc", "pair", "demographics", "direction")

# Copied by hand from the taxonomy: the only dimensions in which the people below hold a preference.
POLES = {
    0: ("Young", "Older"),
    16: ("Concise communication style", "Detailed communication style"),
    47: ("Likes science", "Dislikes science"),
    73: ("Likes humor", "Dislikes humor"),
    89: ("Likes fashion", "Dislikes fashion"),
}


def direction(**poles: float) -> list[float]:
    """90 values, neutral but for those named: ``direction(d16=1, d47=0)``."""
    return [poles.get(f"d{index}", 0.5) for index in range(90)]


def row(parts: Sequence[str] = PARTS, **more: Any) -> dict[str, Any]:
    """One record in the data's own format, with the named parts of its persona."""
    row: dict[str, Any] = {
        "prompt": "Why is the sky blue?\n\n  (I asked *twice*.)",
        "chosen": "Blue light scatters most.\n",
        "rejected": "  Because it mirrors the sea.",
    }
    if "direction" in parts:
        row["Preference Direction"] = direction(d16=0, d73=1)
    if "demographics" in parts:
        row["Demographic Information"] = "**This person's persona is:**\nA retired chemist — enjoys puns."
    if "ugc" in parts:
        row["User-Generated Content"] = [
            {
                "prompt": "Best telescope?",
                "comment": "Any you will carry.",
                "Preference Direction": direction(d16=1, d47=1),
            },
            {"prompt": "Naïve question", "comment": "Not at all\n", "Preference Direction": direction(d47=1, d73=1)},
        ]
    if "pair" in parts:
        row["Pair-wise Comparative Feedback"] = [
            {"prompt": "Bread?", "chosen": "Rye.", "rejected": "White.", "Preference Direction": direction(d0=0, d89=0)}
        ]
    return {**row, **more}


def reversed_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its persona turned round: directions flipped, choices swapped, the profile's poles exchanged."""

    def flipped(old: Mapping[str, Any]) -> dict[str, Any]:
        new = dict(old)
        if "Preference Direction" in old:
            new["Preference Direction"] = [1 - value for value in old["Preference Direction"]]
        return new

    new = flipped(row)
    if "User-Generated Content" in row:
        new["User-Generated Content"] = [flipped(item) for item in row["User-Generated Content"]]
    if "Pair-wise Comparative Feedback" in row:
        new["Pair-wise Comparative Feedback"] = [
            {**flipped(item), "chosen": item["rejected"], "rejected": item["chosen"]}
            for item in row["Pair-wise Comparative Feedback"]
        ]
    if "profile" in row:
        opposite = {a: b for poles in POLES.values() for a, b in (poles, poles[::-1])}
        new["profile"] = ", ".join(opposite[phrase] for phrase in row["profile"].split(", "))
    return new


def instruction(preset: str, method: str) -> str:
    if method == "pba":
        return "Generate a task-specific response based on user preferences."
    if preset == "released-train":
        return "Generate a task-specific response based on user historical behavior."
    return "Generate a task-specific response based on user historical behavior and preferences."


def task(preset: str, post: str) -> str:
    if preset == "released-eval":
        return f"***Task***\n\n**Post:**\n{post}\n\n"
    return f"***Task***\n\n{post}\n\n"


def history(preset: str, row: Mapping[str, Any]) -> str:
    text = ""
    if row.get("User-Generated Content"):
        text += "**This person has commented on some posts:**\n\n"
        for number, item in enumerate(row["User-Generated Content"], 1):
            text += f"{number}. *Post:*\n{item['prompt']}\n\n*Comment:*\n{item['comment']}\n\n"
    if row.get("Pair-wise Comparative Feedback"):
        text += "**This person has chosen or rejected comments on some posts:**\n\n"
        for number, item in enumerate(row["Pair-wise Comparative Feedback"], 1):
            text += f"{number}. *Post:*\n{item['prompt']}\n\n*Chosen:*\n{item['chosen']}\n\n"
            text += f"*Rejected:*\n{item['rejected']}\n\n"
    if preset != "released-train" and row.get("Demographic Information"):
        text += row["Demographic Information"]
    return text


def profile(preset: str, row: Mapping[str, Any], source: str = "history") -> str:
    """The preferences in words: the record's ``golden`` or ``ready`` ones, or those its ``history`` adds up to."""
    if source == "ready":
        return row["profile"]
    items = [*row.get("User-Generated Content", []), *row.get("Pair-wise Comparative Feedback", [])]
    directions = [row["Preference Direction"]] if source == "golden" else [i["Preference Direction"] for i in items]
    high, low = (
        (Fraction(51, 100), Fraction(49, 100)) if preset == "released-eval" else (Fraction(3, 5), Fraction(2, 5))
    )
    phrases = []
    for index, (positive, negative) in POLES.items():
        if not directions:
            continue
        mean = sum(Fraction(values[index]) for values in directions) / len(directions)
        if mean >= high:
            phrases.append(positive)
        if mean <= low:
            phrases.append(negative)
    return ", ".join(phrases)


def user_turn(preset: str, method: str, row: Mapping[str, Any], source: str = "history") -> str:
    post = task(preset, row["prompt"])
    if method == "pba":
        words = profile(preset, row, source)
        if preset == "paper" and not words:
            words = "No stated preferences."
        return post + "***User Preferences***\n\n" + words + "\n\n***Response:***\n\n"
    text = history(preset, row)
    if preset == "paper" and not text:
        return post + "***Response:***\n\n"
    heading = "***Historical Behavior***\n\n"
    if preset != "released-train":
        heading = "***Historical Behavior and User Preferences***\n\n"
    return post + heading + text + "\n\n***Response:***\n\n"


def full_prompt(preset: str, method: str, row: Mapping[str, Any], source: str = "history") -> str:
    """Everything the model reads before its first word, control tokens included, with a template like Llama-3's."""
    system, user = instruction(preset, method), user_turn(preset, method, row, source)
    if preset == "paper":
        return (
            "<|begin_of_text|>"
            f"<|start_header_id|>system<|end_header_id|>\n\n{system}<|eot_id|>"
            f"<|start_header_id|>user<|end_header_id|>\n\n{user.strip()}<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n"
        )
    bos = "<|begin_of_text|>" if preset == "released-eval" else ""
    return (
        f"{bos}<|start_header_id|>system<|end_header_id|>\n\n{system}\n<|eot_id|>"
        f"<|start_header_id|>user<|end_header_id|>\n\n{user}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>"
    )


def full_response(preset: str, response: str, eos: str = "<|eot_id|>") -> str:
    """Everything a score sums over; a template like Llama-3's ends a turn itself, and strips it first."""
    if preset == "paper":
        return response.strip() + "<|eot_id|>"
    if preset == "released-train":
        return response.rstrip("\n") + " " + eos
    return response + eos


# A file of tests/golden → the preset, the method, the parts of the persona, and where the profile comes from.
GOLDEN_PROMPTS = {
    "paper-ica": ("paper", "ica", PARTS, "history"),
    "paper-ica-nothing": ("paper", "ica", (), "history"),
    "paper-pba": ("paper", "pba", PARTS, "history"),
    "paper-pba-nothing": ("paper", "pba", (), "history"),
    "released-train-ica": ("released-train", "ica", PARTS, "history"),
    "released-train-ica-nothing": ("released-train", "ica", (), "history"),
    "released-train-pba": ("released-train", "pba", PARTS, "history"),
    "released-eval-ica": ("released-eval", "ica", PARTS, "history"),
    "released-eval-pba": ("released-eval", "pba", PARTS, "history"),
    "released-eval-pba-golden": ("released-eval", "pba", PARTS, "golden"),
    "released-eval-pba-nothing": ("released-eval", "pba", (), "history"),
}


def golden_text(name: str) -> str:
    """A golden file: the prompt and, directly after it, the chosen response with its end."""
    preset, method, parts, source = GOLDEN_PROMPTS[name]
    return full_prompt(preset, method, row(parts), source) + full_response(preset, row(parts)["chosen"])


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name in GOLDEN_PROMPTS:
        (GOLDEN / f"{name}.txt").write_bytes(golden_text(name).encode())
