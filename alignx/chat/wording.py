"""Wording that lives in files beside the code that asks, and is filled strictly."""

import string
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class Wording:
    """A text with ``{fields}``; what fills them is put in as it is, braces and all."""

    name: str
    text: str

    def fill(self, **fields: object) -> str:
        """The text with its fields filled.

        Raises:
            ValueError: The fields given are not exactly those of the text.
        """
        wanted = {field for _, field, _, _ in string.Formatter().parse(self.text) if field is not None}
        if wanted != fields.keys():
            raise ValueError(f"wording {self.name}: got the fields {sorted(fields)}, expected {sorted(wanted)}")
        return self.text.format_map(fields)


@cache
def load_wording(package: str, name: str) -> Wording:
    """The wording in ``wording/NAME.txt`` of a package, without the line break that ends the file.

    Raises:
        FileNotFoundError: There is none.
    """
    file = resources.files(package) / "wording" / f"{name}.txt"
    return Wording(f"{package}/{name}", file.read_text(encoding="utf-8").removesuffix("\n"))
