"""What requests cost: a dated list of prices, and a purse that is never overdrawn."""

import csv
import math
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from alignx.errors import DataError, SettingsError

_COLUMNS = ("model", "input", "output", "currency", "as_of")
_MILLION = 1_000_000
_DATE = re.compile(r"-\d{4}(-\d{2}-\d{2})?")
"""What a dated name has behind the name in the list: ``-2024-07-18``, ``-0613``."""


@dataclass(frozen=True)
class Price:
    """Of one model."""

    input: float
    """Of a million tokens of a prompt."""
    output: float
    """Of a million tokens of a reply."""
    currency: str
    as_of: str
    """The day on which it was looked up."""

    def of(self, prompt_tokens: float, reply_tokens: float) -> float:
        """What so many tokens cost."""
        return (prompt_tokens * self.input + reply_tokens * self.output) / _MILLION

    def __str__(self) -> str:
        """For people."""
        return f"{self.input:g} and {self.output:g} {self.currency} a million tokens in and out, as of {self.as_of}"


def find_price(model: str, path: Path | None) -> Price | None:
    """The price of a model, or None where the list does not have it.

    A dated name such as ``gpt-4o-mini-2024-07-18`` has the price of the name without its date, unless the list has it.

    Args:
        model: As it is asked for.
        path: CSV with columns model, input, output (of a million tokens), currency, as_of; None for the package's.

    Raises:
        DataError: The list cannot be read.
    """
    listed = _read(path)
    if model in listed:
        return listed[model]
    dated = (price for name, price in listed.items() if model.startswith(name) and _DATE.fullmatch(model[len(name) :]))
    return next(dated, None)


def _read(path: Path | None) -> dict[str, Price]:
    file = resources.files("alignx.chat") / "prices.csv"
    where = str(path or "prices.csv")
    try:
        text = path.read_text(encoding="utf-8-sig") if path is not None else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{where}: cannot read the prices: {error}") from error
    reader = csv.DictReader(text.splitlines())
    if reader.fieldnames is None or not set(_COLUMNS) <= set(reader.fieldnames):
        raise DataError(f"{where}: columns are {reader.fieldnames}, expected {', '.join(_COLUMNS)}")
    prices: dict[str, Price] = {}
    for row in reader:
        here = f"{where}:{reader.line_num}"
        if None in row or None in row.values() or not row["model"]:
            raise DataError(f"{here}: expected {len(reader.fieldnames)} fields, the model's name among them")
        if row["model"] in prices:
            raise DataError(f"{here}: {row['model']} is listed twice; keep one of the lines")
        try:
            amounts = [float(row[name]) for name in ("input", "output")]
        except ValueError:
            amounts = [math.nan]
        if not all(math.isfinite(amount) and amount >= 0 for amount in amounts):
            raise DataError(
                f"{here}: input is {row['input']!r}, output {row['output']!r}, expected prices of a million tokens"
            )
        prices[row["model"]] = Price(amounts[0], amounts[1], row["currency"], row["as_of"])
    return prices


class Purse:
    """Money spent and money promised to requests under way, together never above a limit."""

    def __init__(self, price: Price | None, limit: float | None, spent: float = 0.0) -> None:
        """Open it.

        Args:
            price: Of the model, if known.
            limit: None for none.
            spent: Already, on the same work.

        Raises:
            SettingsError: There is a limit and no price.
        """
        if limit is not None and price is None:
            raise SettingsError("--max-cost: the model has no known price; give one with --prices FILE")
        self._price, self.limit = price, limit
        self.spent = spent
        self._promised = 0.0
        self._promises = 0

    def promise(self, prompt_tokens: int, reply_tokens: int) -> float | None:
        """Set aside what a request can cost at most; None when the limit does not allow it."""
        amount = self.cost(prompt_tokens, reply_tokens)
        if self.limit is not None and self.spent + self._promised + amount > self.limit:
            return None
        self._promised += amount
        self._promises += 1
        return amount

    def settle(self, promised: float, paid: float) -> None:
        """A request has ended: what it did cost takes the place of what was set aside."""
        self._promises -= 1
        self._promised = self._promised - promised if self._promises else 0.0  # rounding does not add up
        self.spent += paid

    def cost(self, prompt_tokens: int, reply_tokens: int) -> float:
        """What so many tokens cost; 0 where no price is known."""
        return self._price.of(prompt_tokens, reply_tokens) if self._price is not None else 0.0

    @property
    def waits(self) -> bool:
        """Whether something is promised that may come back."""
        return self._promises > 0
