"""What is known of one user and one choice."""

from dataclasses import dataclass
from functools import cached_property

from alignx.manifest import digest_of_texts
from alignx.records.directions import Direction


@dataclass(frozen=True)
class Comment:
    """User-generated content: what the user wrote under another post."""

    prompt: str
    comment: str
    direction: Direction | None = None


@dataclass(frozen=True)
class Choice:
    """Pair-wise comparative feedback: what the user preferred under another post."""

    prompt: str
    chosen: str
    rejected: str
    direction: Direction | None = None

    @cached_property
    def key(self) -> str:
        """Digest of the three texts: equal choices have equal keys."""
        return target_key(self.prompt, self.chosen, self.rejected)


@dataclass(frozen=True)
class Persona:
    """Everything said about a user. Any part may be absent."""

    comments: tuple[Comment, ...] = ()
    choices: tuple[Choice, ...] = ()
    demographics: str = ""
    profile: str | None = None
    """A verbalised preference direction that came with the record, ready for PBA."""


@dataclass(frozen=True)
class Record:
    """A post, the response this user prefers, the one they prefer less, and who they are."""

    id: str
    prompt: str
    chosen: str
    rejected: str
    persona: Persona
    direction: Direction | None = None
    """Direction of ``chosen`` over ``rejected``; an oracle where a prompt uses it."""
    user: str | None = None
    """Whose choice this is, where the source says so."""
    digest: str = ""
    """Digest of everything above but the id."""

    def named(self, name: str) -> "Record":
        """The same record under another id."""
        if name == self.id:
            return self
        return Record(
            name, self.prompt, self.chosen, self.rejected, self.persona, self.direction, self.user, self.digest
        )

    @cached_property
    def target(self) -> str:
        """Digest of post, chosen and rejected. Published benchmarks repeat targets; intervals are clustered by this."""
        return target_key(self.prompt, self.chosen, self.rejected)

    @property
    def cluster(self) -> str:
        """What observations are grouped by: the user where known, else the distinct target."""
        return f"user:{self.user}" if self.user is not None else f"target:{self.target}"


def target_key(prompt: str, chosen: str, rejected: str) -> str:
    """Digest of one choice, 16 hex digits."""
    return digest_of_texts(prompt, chosen, rejected)[:16]
