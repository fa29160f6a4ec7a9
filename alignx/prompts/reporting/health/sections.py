"""What was found, on the page: a summary in one table, then a section for each check."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from alignx.pages import Block, Code, Fold, Paragraph, Row, Section, Table, literal

_IN_SIGHT = 3
"""Examples that are shown without being asked for."""
_WIDTH = 76
"""Characters of a line that a page shows whole."""
_TO_DO = {"ok": "ok", "look": "look at it", "fix": "fix it"}


def health_sections(found: Sequence[Mapping[str, Any]]) -> list[Section]:
    """The summary and the sections.

    Args:
        found: Findings, as in the report's JSON.
    """
    return [Section("Health", _summary(found)), *(Section(finding["title"], _blocks(finding)) for finding in found)]


def _summary(found: Sequence[Mapping[str, Any]]) -> list[Block]:
    wrong = sum(finding["verdict"] != "ok" for finding in found)
    said = (
        f"{wrong} of {len(found)} checks found something."
        if wrong
        else f"Nothing was found: all {len(found)} checks are well."
    )
    rows = [
        Row(
            (finding["title"], *_amount(finding), _TO_DO[finding["verdict"]], _short(finding["commands"])),
            "" if finding["verdict"] == "ok" else "strong",
        )
        for finding in found
    ]
    caption = (
        "Fix: numbers made from these records would mislead. Look: it may be meant. The whole command stands in the "
        "section of the check."
    )
    return [
        Paragraph(literal(said)),
        Table(("check", "found", "share", "", "command"), rows, caption, "lrrll"),
    ]


def _amount(finding: Mapping[str, Any]) -> tuple[str, str]:
    """How many were found and their share, or the rate that says more."""
    if finding["rate"]:
        return "–", finding["rate"]
    return str(finding["n"]), "–" if finding["share"] is None else f"{100 * finding['share']:.2f} %"


def _short(commands: Sequence[str]) -> str:
    """The first command without what is the same in all: verb and the flags that matter."""
    if not commands:
        return ""
    words = commands[0].split(" --")
    dull = ("data ", "output ", "model ", "split ", "taxonomy ")
    return " --".join([words[0].removeprefix("alignx "), *(word for word in words[1:] if not word.startswith(dull))])


def _blocks(finding: Mapping[str, Any]) -> list[Block]:
    blocks: list[Block] = [Paragraph(_said(finding)), Paragraph(finding["meaning"])]
    for listing in finding["listings"]:
        table = Table(listing["columns"], listing["rows"], listing["caption"], listing["align"])
        blocks.append(Fold(listing["folded"], [table]) if listing["folded"] else table)
    blocks += _examples(finding)
    if finding["commands"]:
        blocks.append(Code("\n".join(map(_wrapped, finding["commands"]))))
    return blocks


def _wrapped(command: str) -> str:
    """A command line on several lines, as a shell takes it."""
    words, *flags = re.split(r" (?=--)", command)
    lines = [words]
    for flag in flags:
        if len(lines[-1]) + len(flag) < _WIDTH:
            lines[-1] += f" {flag}"
        else:
            lines.append(f"    {flag}")
    return " \\\n".join(lines)


def _said(finding: Mapping[str, Any]) -> str:
    if finding["shown"]:
        return f"**{_capital(literal(finding['shown']))}.**"
    if not finding["n"]:
        return f"None in {finding['whole']} {finding['unit']}."
    share = f" ({100 * finding['share']:.2f} %)" if finding["share"] is not None else ""
    return f"**{finding['n']} of {finding['whole']} {finding['unit']}{share}.**"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _examples(finding: Mapping[str, Any]) -> list[Block]:
    """The first few in sight, the others folded."""
    if not (examples := finding["examples"]):
        return []
    rows = [(each["id"], each["what"]) for each in examples]
    columns = ("row" if finding["unit"] == "rows" else "record", "example")
    blocks: list[Block] = [Table(columns, rows[:_IN_SIGHT], align="ll")]
    if len(rows) > _IN_SIGHT:
        blocks.append(Fold(f"{len(rows) - _IN_SIGHT} more examples", [Table(columns, rows[_IN_SIGHT:], align="ll")]))
    return blocks
