"""A line a request of what was asked and what came of it, for whoever wants to look a verdict up."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alignx.chat.question import Ask
from alignx.chat.replies import Reading, Replies
from alignx.judging.judge import Judge
from alignx.judging.outcomes import Call, Outcome
from alignx.judging.pairs import Pair


@dataclass
class Used:
    """What the replies that count say of themselves; the same however often the judge was interrupted."""

    models: Counter[str] = field(default_factory=Counter)
    """As the server called it, by reply."""
    replies: int = 0
    prompt_tokens: int = 0
    """Of their requests, as the server counted; 0 where it does not."""
    uncounted: int = 0
    """Replies whose requests the server did not count."""

    def add(self, found: Reading) -> None:
        """Count a reply, if it has a verdict."""
        if found.problem is not None or found.reply is None:
            return
        self.replies += 1
        self.models[found.reply.model or "not named"] += 1
        self.prompt_tokens += found.reply.prompt_tokens or 0
        self.uncounted += found.reply.prompt_tokens is None


def write_verdicts(path: Path, judge: Judge, pairs: Iterable[Pair], replies: Replies, used: Used) -> list[Outcome]:
    """Write a line for every request about every pair, and return the outcome of each pair.

    Args:
        path: Of the file.
        judge: Who was asked.
        pairs: Each once.
        replies: What came of the requests.
        used: Counts each reply once, however many pairs share it.
    """
    outcomes, seen = [], set[str]()
    draft = path.with_name(path.name + ".tmp")
    with draft.open("w", encoding="utf-8") as stream:
        for pair in pairs:
            outcome, asked = judge.judged(pair, replies)
            for number, (call, (one, found)) in enumerate(zip(outcome.calls, asked, strict=True), start=1):
                stream.write(json.dumps(_line(pair, number, call, one, found), ensure_ascii=False) + "\n")
                if one.request.id not in seen:
                    used.add(found)
                    seen.add(one.request.id)
            outcomes.append(outcome)
    draft.replace(path)
    return outcomes


def _line(pair: Pair, number: int, call: Call, one: Ask, found: Reading) -> dict[str, Any]:
    reply = found.reply
    return {
        "id": one.request.id,
        "pair": pair.id,
        "order": number,
        "first": call.first,
        "status": "judged" if call.verdict is not None else "unjudged" if reply is not None else "not asked",
        "verdict": call.verdict,
        "certainty": call.certainty if call.verdict is not None else None,
        "reason": found.value.reason if call.verdict is not None else None,
        "problem": call.problem or None,
        "text": reply and reply.text,
        "finish": reply and reply.finish,
        "prompt_tokens": reply and reply.prompt_tokens,
        "reply_tokens": reply and reply.reply_tokens,
        "cost": reply and reply.cost,
        "model_requested": one.request.model,
        "model_returned": reply and reply.model,
        "retries": reply and reply.attempts - 1,
        "seconds": reply and reply.seconds,
    }
