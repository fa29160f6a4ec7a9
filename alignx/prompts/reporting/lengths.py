"""Lengths of prompts and responses, in tokens where there is a tokenizer, else in characters."""

import array
from typing import Any

from alignx.errors import DataError
from alignx.prompts.choice import choose_condition
from alignx.prompts.encoding import Encoder, control_tokens, load_tokenizer
from alignx.prompts.rendering import render
from alignx.prompts.reporting.settings import ReportSettings
from alignx.prompts.telling import tell
from alignx.records import Record, Taxonomy

_BATCH = 256


class Lengths:
    """Measured a batch of records at a time; only the numbers are kept."""

    def __init__(self, settings: ReportSettings, taxonomy: Taxonomy) -> None:
        """Start with nothing measured, under the condition that the settings ask for."""
        self.unit = "characters" if settings.model is None else "tokens"
        self._taxonomy = taxonomy
        self._condition = choose_condition(settings.model, {"method": settings.method}, settings.revision).condition
        tokenizer = None if settings.model is None else load_tokenizer(settings.model, settings.revision)
        self._encoder = None if tokenizer is None else Encoder(tokenizer, self._condition)
        self.control_tokens = () if tokenizer is None else tuple(control_tokens(tokenizer, self._condition.date))
        """As text, of the model's tokenizer."""
        self._waiting: list[Record] = []
        self._found = {name: array.array("i") for name in ("prompt", "chosen", "rejected")}
        self.untold = 0

    def add(self, record: Record) -> None:
        """Measure a record, now or with those after it."""
        self._waiting.append(record)
        if len(self._waiting) == _BATCH:
            self._measure()

    def _measure(self) -> None:
        batch, self._waiting = self._waiting, []
        prompts = []
        for record in batch:
            try:
                prompts.append(render(record, tell(record, self._condition, self._taxonomy), self._condition))
            except DataError:  # a record that PBA cannot be told about is counted, not measured
                self.untold += 1
        if self._encoder is None:
            self._found["prompt"].extend(len(p.instruction) + len(p.user) for p in prompts)
            self._found["chosen"].extend(len(record.chosen) for record in batch)
            self._found["rejected"].extend(len(record.rejected) for record in batch)
            return
        self._found["prompt"].extend(map(len, self._encoder.prompts(prompts)))
        self._found["chosen"].extend(map(len, self._encoder.responses(record.chosen for record in batch)))
        self._found["rejected"].extend(map(len, self._encoder.responses(record.rejected for record in batch)))

    def summary(self) -> dict[str, Any]:
        """Quantiles of each, and the number of records without a prompt; for JSON."""
        self._measure()
        parts = {name: _quantiles(sorted(values)) for name, values in self._found.items() if values}
        return {"unit": self.unit, "method": self._condition.method.value, "untold": self.untold, **parts}


def _quantiles(ordered: list[int]) -> dict[str, float]:
    last = len(ordered) - 1
    return {
        "mean": sum(ordered) / len(ordered),
        **{
            name: ordered[round(share * last)]
            for name, share in {"min": 0, "median": 0.5, "p95": 0.95, "max": 1}.items()
        },
    }
