"""What is known of a source after reading it: which records these were, what was refused, what was not used."""

from collections import Counter

from alignx.errors import DataError
from alignx.manifest import DataIdentity, RunningDigest
from alignx.records.parsing import KNOWN_UNUSED_FIELDS

_SHOWN = 5


class Reading:
    """Adds up while a source is read."""

    def __init__(self, source: str, skip_invalid: int = 0) -> None:
        """Start with nothing read.

        Args:
            source: What the records are called.
            skip_invalid: At most this many rows may be invalid; they are counted and shown. One more is an error.
        """
        self.source, self.skip_invalid = source, skip_invalid
        self._reset()

    def _reset(self) -> None:
        self.problems: list[str] = []
        """What was wrong with each row that was skipped."""
        self.unused_fields: Counter[str] = Counter()
        """Fields that no prompt and no check uses, with the number of rows that carry them."""
        self._digest = RunningDigest()
        self._count = 0
        self._finished = False

    def count(self, record_id: str, content: str) -> None:
        """Add one record, by its id and the digest of its content."""
        self._count += 1
        self._digest.add(record_id)
        self._digest.add(content)

    def finish(self) -> None:
        """Say that everything was read."""
        self._finished = True

    @property
    def identity(self) -> DataIdentity:
        """Which records these are.

        Raises:
            RuntimeError: They have not been read to the end.
        """
        if not self._finished:
            raise RuntimeError("the identity of records is known only after reading them all")
        return DataIdentity(
            source=self.source, digest=self._digest.hexdigest(), records=self._count, skipped=len(self.problems)
        )

    def skip(self, error: DataError) -> None:
        """Count a row as skipped, or pass the error on when no more may be.

        Raises:
            DataError: ``skip_invalid`` rows have been skipped already.
        """
        if len(self.problems) >= self.skip_invalid:
            if self.skip_invalid:
                raise DataError(
                    f"{error} (and {len(self.problems)} rows before it; --skip-invalid allows {self.skip_invalid})"
                )
            raise error
        self.problems.append(str(error))

    def notes(self) -> list[str]:
        """What a user should know about what was read: skipped rows and fields that were not used."""
        notes = []
        if self.problems:
            shown = self.problems[:_SHOWN]
            more = len(self.problems) - len(shown)
            notes.append(
                f"skipped {len(self.problems)} invalid rows: "
                + "; ".join(shown)
                + (f"; and {more} more" if more else "")
            )
        unknown = {name: n for name, n in self.unused_fields.items() if name not in KNOWN_UNUSED_FIELDS}
        if unknown:
            listed = ", ".join(f"'{name}' ({n} rows)" for name, n in sorted(unknown.items()))
            notes.append(f"fields that mean nothing here and were not used: {listed}")
        return notes
