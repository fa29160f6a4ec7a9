"""Users and targets that must not train, because something is measured on them."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from alignx.manifest import RunningDigest, digest
from alignx.records.record import Record, target_key

Why = Literal["user", "target", "history"]


@dataclass(frozen=True)
class HeldOut:
    """Users and distinct targets that are kept out of training, 8 bytes each; to be asked record by record.

    A target is known by its digest of 64 bits, as everywhere; a user by as many. So a record that shares nothing is
    taken for one that does with a probability of at most ``(users + targets) / 2⁶⁴``: with a million of each held out,
    once in 10¹³ records. One that shares something is never missed.

    Ask with records as their source has them, before a mixture renames them: whether two sources that name a user alike
    mean the same person cannot be known, and it is better to leave a record out than to train on who is measured.
    """

    users: "array[int]"
    """Digests of user names, sorted, each once."""
    targets: "array[int]"

    @classmethod
    def of(cls, sources: Iterable[Iterable[Record]]) -> "HeldOut":
        """The users and targets of all records of some sources; each is read once and none is held.

        Args:
            sources: ``Records``, or records themselves.
        """
        users, targets = array("Q"), array("Q")
        for source in sources:
            for record in source:
                targets.append(_of_target(record))
                if record.user is not None:
                    users.append(_of_user(record.user))
        return cls(_sorted(users), _sorted(targets))

    def holds(self, record: Record) -> Why | None:
        """Why a record may not train: its user is held out, or its target is, or a held-out target is in its history.

        None where nothing is. A target whose chosen and rejected are exchanged is held out too: its texts are the same.
        """
        if self.users and record.user is not None and _is_in(self.users, _of_user(record.user)):
            return "user"
        turned = int(target_key(record.prompt, record.rejected, record.chosen), 16)
        if _is_in(self.targets, _of_target(record)) or _is_in(self.targets, turned):
            return "target"
        return "history" if any(_is_in(self.targets, int(one.key, 16)) for one in record.persona.choices) else None

    @cached_property
    def digest(self) -> str:
        """Digest of who and what is held out: the same for the same records under other names and in another order."""
        running = RunningDigest()
        for kind, numbers in (("user", self.users), ("target", self.targets)):
            for number in numbers:
                running.add(f"{kind} {number:x}")
        return running.hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return {"users": len(self.users), "targets": len(self.targets), "digest": self.digest}


def _of_user(name: str) -> int:
    return int(digest("user", name)[:16], 16)


def _of_target(record: Record) -> int:
    return int(record.target, 16)


def _sorted(numbers: "array[int]") -> "array[int]":
    """In ascending order, each once; made in numpy, since a list of a million numbers takes 40 MB."""
    import numpy as np

    return array("Q", np.unique(np.frombuffer(numbers, dtype=np.uint64)).tobytes()) if numbers else numbers


def _is_in(numbers: "array[int]", number: int) -> bool:
    place = bisect_left(numbers, number)
    return place < len(numbers) and numbers[place] == number
