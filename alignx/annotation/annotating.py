"""``alignx annotate directions``: records in, the same records with directions and profiles out."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignx import manifest, pages
from alignx.annotation.agreement import Agreement, Compared, measure
from alignx.annotation.agreement_page import agreement_page
from alignx.annotation.filling import Annotation, Filler, items_to_ask
from alignx.annotation.items import Item
from alignx.annotation.questions import Answer, Way, way
from alignx.annotation.settings import AnnotateSettings
from alignx.chat.asking import Tally, ask
from alignx.chat.estimating import estimate
from alignx.chat.prices import find_price
from alignx.chat.question import Ask, Request
from alignx.chat.replies import Replies, reading
from alignx.errors import DataError, PartialError, SettingsError
from alignx.manifest import Manifest
from alignx.records import Direction, Thresholds

if TYPE_CHECKING:
    from alignx.annotation.local import LocalAnnotator

_IDENTITY = ("kind", "data.digest", "taxonomy", "settings")
_CHANGES_NOTHING = {
    "api_key_env",
    "attention",
    "base_url",
    "batch_tokens",
    "concurrency",
    "data",
    "dry_run",
    "max_cost",
    "output",
    "patience",
    "prices",
    "replies",
    "taxonomy",
    "timeout",
    "tries",
    "trust_remote_code",
}
_READ_ANEW = ("evaluate", "known", "least_certainty", "negative", "positive")
"""Settings of what is made of the replies: with others, the output is made anew of them and nobody is asked."""
_SHOWN = 3


def annotate(settings: AnnotateSettings) -> str:
    """Annotate a source of records; returns what came of it, in a few lines.

    Raises:
        ApiError: The server cannot be asked at all.
        DataError: Records are invalid, or the output holds something else.
        ModelError: The local model cannot be used.
        PartialError: Some items have no direction, or the money that was allowed is spent; what is there is kept.
        SettingsError: The address, the key or a threshold cannot be used.
    """
    return _Run(settings).run()


@dataclass
class _Asked:
    """A distinct item to ask about."""

    item: Item
    cluster: str
    """The user or target in whose history it stands first."""
    known: set[Direction] = field(default_factory=set)
    """The directions that it carries, wherever it stands."""


class _Run:
    """One start of the command."""

    def __init__(self, settings: AnnotateSettings) -> None:
        if settings.backend == "server":
            _ = settings.url  # a key in it is refused even where nothing is left to ask
        if settings.output.resolve() == Path(settings.data).resolve():
            raise SettingsError(f"--output: {settings.output} is the file that is read, expected another")
        self.settings = settings
        self.output = settings.output
        self.records = settings.records()
        self.way: Way = way(settings.asking, self.records.taxonomy)
        self.thresholds = Thresholds(str(settings.positive), str(settings.negative))
        self._local: LocalAnnotator | None = None

    def run(self) -> str:
        items = self._items()
        for line in self.records.notes():
            self._say(line)
        if self.settings.dry_run:
            return self._estimate(items)
        if self.settings.evaluate and not any(one.known for one in items.values()):
            raise DataError(f"{self.settings.data}: --evaluate: no history item carries a 'Preference Direction'")
        draft = self._manifest()
        if (done := self._finished(draft)) is not None:
            return done
        self.output.parent.mkdir(parents=True, exist_ok=True)
        with Replies(self._replies_path) as replies:
            tally = self._ask(items, replies)
            found = {key: self._annotation(one.item, replies) for key, one in items.items()}
            counts = self._write(found)
            agreement = self._agreement(items, found) if self.settings.evaluate else None
            update: dict[str, Any] = {
                "requests": {**vars(tally), "seconds": round(tally.seconds, 1)},
                "spent": round(replies.spent, 6),
                "tokens": replies.tokens.as_dict(),
                "server": self.settings.url if self.settings.backend == "server" else None,
                "distinct_items": len(items),
                **counts,
            }
        files = {self.output.name: manifest.file_digest(self.output)}
        forward = self._local.forward if self._local is not None else None
        manifest.write(self.output, draft.model_copy(update={"counts": update, "files": files, "forward": forward}))
        return self._summary(update, found, agreement)

    @property
    def _replies_path(self) -> Path:
        return self.settings.replies or self.output.with_name(self.output.name + ".replies.jsonl")

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def _items(self) -> dict[str, "_Asked"]:
        """Each distinct item once, by its key."""
        items: dict[str, _Asked] = {}
        also_known = self.settings.evaluate or self.settings.known == "replace"
        for record in self.records:
            for item, known in items_to_ask(record, also_known=also_known):
                asked = items.setdefault(item.key, _Asked(item, record.cluster))
                if known is not None:
                    asked.known.add(known)
        return items

    def _asks(self, items: Mapping[str, "_Asked"]) -> Iterator[Ask]:
        for one in items.values():
            yield from self._asks_of(one.item)

    def _asks_of(self, item: Item) -> list[Ask]:
        """Every request about an item."""
        settings = self.settings
        model = self._model_name()
        structure = settings.structure if settings.backend == "server" else "options"
        temperature = settings.temperature if settings.backend == "server" else None
        return [
            Ask(
                f"{item.key}/{number}",
                Request(question, model, temperature, structure),
                partial(self.way.read, item, number),
            )
            for number, question in enumerate(self.way.questions(item))
        ]

    def _model_name(self) -> str:
        """What tells this annotator from others: a local model by its weights."""
        return self.settings.model if self.settings.backend == "server" else self._annotator().name

    def _estimate(self, items: Mapping[str, "_Asked"]) -> str:
        settings = self.settings
        head = f"{self.records.identity.records:,} records, {len(items):,} distinct history items to ask about"
        if settings.backend == "local":
            return f"{head}\n{len(items) * len(self.records.taxonomy):,} questions to score on this machine"
        price = find_price(settings.model, settings.prices)
        if not self._replies_path.is_file():
            return f"{head}\n{estimate(self._asks(items), None, price)}"
        with Replies(self._replies_path) as replies:
            return f"{head}\n{estimate(self._asks(items), replies, price)}"

    def _ask(self, items: Mapping[str, "_Asked"], replies: Replies) -> Tally:
        total = sum(1 for _ in self._asks(items))
        if self.settings.backend == "server":
            return ask(self._asks(items), self.settings, self.settings.model, replies, total)
        annotator = self._annotator()
        return annotator.answer(((one.item, self._asks_of(one.item)) for one in items.values()), replies, total)

    def _annotator(self) -> "LocalAnnotator":
        if self._local is None:
            from alignx.annotation.local import LocalAnnotator

            self._local = LocalAnnotator(self.settings)
        return self._local

    def _annotation(self, item: Item, replies: Replies) -> Annotation:
        """What the replies say of an item: every dimension, or why not."""
        answers: dict[int, Answer] = {}
        problems = []
        for one in self._asks_of(item):
            found = reading(one, replies)
            if found.problem is None:
                answers.update(found.value)
            else:
                problems.append(found.problem)
        if problems:
            more = f" (and {len(problems) - 1} more of its questions)" if len(problems) > 1 else ""
            return Annotation(problem=problems[0] + more)
        return Annotation(tuple(answers[index] for index in range(len(self.records.taxonomy))))

    def _write(self, found: Mapping[str, Annotation]) -> dict[str, Any]:
        """Write the records with their directions; the file is whole when its manifest says so."""
        filler = Filler(
            found,
            self.records.taxonomy,
            self.thresholds,
            {"model": self._model_name(), "way": self.settings.asking, "prompt": self.way.digest[:16]},
            self.settings.least_certainty,
            replace=self.settings.known == "replace",
        )
        manifest.path_of(self.output).unlink(missing_ok=True)
        draft = self.output.with_name(self.output.name + ".tmp")
        with draft.open("w", encoding="utf-8") as stream:
            for record, row in self.records.with_rows():
                stream.write(json.dumps(filler.fill(record, row), ensure_ascii=False) + "\n")
        draft.replace(self.output)
        return filler.counts.as_dict()

    def _agreement(self, items: Mapping[str, "_Asked"], found: Mapping[str, Annotation]) -> Agreement:
        """Compare with the directions that items carry; writes a report beside the output."""
        compared = [
            Compared(
                next(iter(one.known)),
                one.cluster,
                dict(enumerate(found[key].answers)) if found[key].problem is None and len(one.known) == 1 else None,
                found[key].problem or "carries different directions in different places",
            )
            for key, one in items.items()
            if one.known
        ]
        agreement = measure(compared, self.records.taxonomy)
        about = [
            ("annotator", self._model_name()),
            ("way of asking", self.settings.asking),
            ("records", self.settings.data),
        ]
        folder = self._agreement_folder
        pages.write(agreement_page(agreement, self.records.taxonomy, about), folder, "agreement")
        text = json.dumps({"about": dict(about), **agreement.as_dict()}, indent=2, ensure_ascii=False)
        manifest.write_text(folder / "agreement.json", text + "\n")
        return agreement

    @property
    def _agreement_folder(self) -> Path:
        return self.output.with_name(self.output.name + ".agreement")

    def _manifest(self) -> Manifest:
        return Manifest(
            kind="annotated",
            data=self.records.identity,
            taxonomy=self.records.taxonomy.digest,
            settings={
                **self.settings.model_dump(mode="json", exclude=_CHANGES_NOTHING),
                "way": self.settings.asking,
                "prompt": self.way.digest,
                "annotator": self._model_name(),
            },
            versions=manifest.versions("openai", "torch", "transformers"),
        )

    def _finished(self, wanted: Manifest) -> str | None:
        """What to say if the output is complete already; None if there is something to do.

        Raises:
            DataError: It is something else.
        """
        found = manifest.read_if_present(self.output)
        if found is None:
            # Replies beside it are a mark of ours; shared ones tell nothing of an output.
            begun = self.settings.replies is None and self._replies_path.exists()
            if self.output.exists() and not begun:
                raise DataError(
                    f"{self.output}: is there and has no manifest of this command; choose another --output, or delete "
                    "it if a start was killed while writing it"
                )
            return None
        anew = {name: wanted.settings[name] for name in _READ_ANEW}
        made = found.model_copy(update={"settings": {**found.settings, **anew}})
        if differences := made.differences(wanted, _IDENTITY):
            raise DataError(
                f"{self.output}: was annotated otherwise, which differs in {'; '.join(differences)}; choose another "
                f"--output; with --replies {self._replies_path} nothing is asked twice there"
            )
        as_wanted = found.settings == wanted.settings and manifest.is_intact(self.output, found)
        if not as_wanted or found.counts.get("unannotated"):
            return None
        return f"{self.output}: complete already, {found.counts['annotated']} items annotated; nothing to do"

    def _summary(self, counts: Mapping[str, Any], found: Mapping[str, Annotation], agreement: Agreement | None) -> str:
        """What came of it.

        Raises:
            PartialError: Some items have no direction.
        """
        lines = [
            f"{self.output}: {counts['records']} records, {counts['items']} history items ({counts['distinct_items']} "
            f"distinct ones to ask about): {counts['annotated']} annotated, {counts['kept']} kept theirs, "
            f"{counts['unannotated']} not annotated",
            f"profiles: {counts['profiles']} derived ({counts['empty_profiles']} of them empty: nothing but neutral; "
            f"{counts['partly']} from part of the history), {counts['profiles_kept']} kept, "
            f"{counts['without_history']} records have no history",
        ]
        sent, known = counts["requests"]["sent"], counts["requests"]["known"]
        tokens = counts["tokens"]
        cost = f", {counts['spent']:.4f} spent on them in all" if counts["spent"] else ""
        lines.append(
            f"requests: {sent:,} sent now, {known:,} answered before; replies so far: "
            f"{tokens['prompt_tokens']:,} tokens in, {tokens['reply_tokens']:,} out{cost}"
        )
        if counts["without_profile"]:
            lines.append(
                f"no profile: {counts['without_profile']} records, of whose history no item could be annotated; for "
                f"PBA leave them out with --skip-invalid {counts['without_profile']}"
            )
        if agreement is not None:
            lines += [str(agreement), f"agreement: {self._agreement_folder / 'agreement.html'}"]
        others = {name: count for name, count in tokens["models"].items() if name != self._model_name()}
        if others:
            said = ", ".join(f"{name} ({count:,})" for name, count in others.items())
            lines.append(f"note: asked for {self._model_name()}, the server says that others replied: {said}")
        problems = Counter(one.problem.partition(" (attempt")[0] for one in found.values() if one.problem is not None)
        if problems:
            shown = "; ".join(f"{count} × {problem}" for problem, count in problems.most_common(_SHOWN))
            more = problems.total() - sum(count for _, count in problems.most_common(_SHOWN))
            shown += f"; and {more} more" if more else ""
            raise PartialError(
                "\n".join(lines)
                + f"\n{sum(problems.values())} distinct items could not be annotated: {shown}. They say "
                "so in the output; the same command asks for them again"
            )
        told = f" --taxonomy {self.settings.taxonomy}" if self.settings.taxonomy is not None else ""
        lines.append(
            f"next: bash scripts/train_pba.sh --data {self.output}{told} …, or where these are test records python "
            f"eval/loss_pba.py --data {self.output}{told} …"
        )
        return "\n".join(lines)
