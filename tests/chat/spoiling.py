"""Completions that arrive, are paid, and are not what was asked for, or hide it."""

import json
from collections.abc import Callable
from typing import Any

from alignx.chat.server import Asked, completion

UNUSABLE = ("no-choices", "no-content", "refusal", "filter", "length", "wrong-enum", "wrong-schema")
"""A completion arrives, is paid, and does not say what was asked for."""
TRICKY = ("quoted", "fenced")
"""The right reply is in there: last of several, after prose that quotes all the others; or in a fence of Markdown."""


def spoilt(asked: Asked, content: str, name: str) -> dict[str, Any]:
    """A completion that differs from the good one in what its name says."""
    whole = completion(asked, content)
    choice = whole["choices"][0]
    match name:
        case "no-choices":
            whole["choices"] = []
        case "no-content":
            choice["message"]["content"] = None
        case "refusal":
            whole = completion(asked, None, "stop", refusal="I'm sorry, I cannot help with that.")
        case "filter":
            whole = completion(asked, "", "content_filter")
        case "length":
            whole = completion(asked, content[: len(content) // 2], "length")
        case "wrong-enum":
            whole = completion(asked, _wrong_enum(asked, content))
        case "wrong-schema":
            whole = completion(asked, _wrong_schema(content))
        case "quoted":
            whole = completion(asked, _quoted(asked, content), "stop")
        case "fenced":
            whole = completion(asked, f"```json\n{content}\n```", "stop")
    return whole


def schema_of(asked: Asked) -> dict[str, Any]:
    """The schema that the reply is asked to obey, or nothing."""
    shape = asked.get("response_format") or {}
    return dict(shape["json_schema"].get("schema") or {}) if shape.get("type") == "json_schema" else {}


def _menu(schema: object) -> list[Any]:
    """Every value that some enum of a schema offers."""
    if isinstance(schema, list):
        return [value for part in schema for value in _menu(part)]
    if not isinstance(schema, dict):
        return []
    nested = [value for name, part in schema.items() if name != "enum" for value in _menu(part)]
    return [*schema.get("enum", []), *nested]


def _changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """A JSON value whose leaves are replaced."""
    if isinstance(value, dict):
        return {name: _changed(part, change) for name, part in value.items()}
    return [_changed(part, change) for part in value] if isinstance(value, list) else change(value)


def _parsed(content: str) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


def _wrong_enum(asked: Asked, content: str) -> str:
    """The same reply with a word that no enum has, in place of each that one has, or of all where there is no enum."""
    menu = _menu(schema_of(asked))
    wrong = "none of these"
    return json.dumps(_changed(_parsed(content), lambda leaf: leaf if menu and leaf not in menu else wrong))


def _wrong_schema(content: str) -> str:
    """JSON without the last of what was asked for, and with what was not."""
    said = _parsed(content)
    kept = list(said.items())[:-1] if isinstance(said, dict) else []
    return json.dumps(dict([*kept, ("unexpected", 1)]))


def _quoted(asked: Asked, content: str) -> str:
    """The reply after prose that quotes each value on offer and a whole reply that says something else."""
    menu = _menu(schema_of(asked))
    other = _changed(_parsed(content), lambda leaf: menu[menu.index(leaf) - 1] if leaf in menu else leaf)
    words = ", ".join(json.dumps(value) for value in menu)
    return f"I may say {words}. Somebody else would say\n{json.dumps(other)}\nbut I say\n{content}"
