"""Generating a response to every prompt of a source: shared among processes, resumable, committed by its manifest."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignx import manifest
from alignx.drafts import Drafts, Words
from alignx.errors import PartialError, SettingsError
from alignx.generation.backends import Backend, Said
from alignx.generation.local import LocalModel
from alignx.generation.prompting import PromptEncoder
from alignx.generation.responses import Response
from alignx.generation.served import ServedModel
from alignx.generation.settings import GenerateSettings
from alignx.manifest import Manifest, digest
from alignx.models.loading import has_accelerator
from alignx.prompts import Condition, EncodedPair, PairEncoder, condition_asked_for
from alignx.prompts.pairs import describe_counts, read_all
from alignx.records import Records

IDENTITY = (
    "kind",
    "data.digest",
    "data.records",
    "taxonomy",
    "condition",
    "model.digest",
    "model.tokenizer",
    "model.dtype",
    "settings.decided_by",
)
"""What two runs must share for one to continue the other."""
WORDS = Words(lines="responses", line="response", doing="generating", done="generated", do="generate")
_SHOWN = 3


def generate(settings: GenerateSettings, *, quiet: bool = False) -> Path | str:
    """Answer every record's prompt.

    Args:
        settings: Model, records, condition, sampling, backend and output.
        quiet: Whether to say nothing on the way.

    Returns:
        The file; with ``dry_run`` what it would take, in words.

    Raises:
        ApiError: The server cannot be asked at all.
        DataError: Records are invalid, or ``output`` holds responses to something else.
        ModelError: The model or its tokenizer cannot do this.
        PartialError: Some records have no response; what is there is kept.
        SettingsError: The condition contradicts ``like`` or lacks a method, or the server cannot be used.
    """
    return _Run(settings, quiet).run()


class _Run:
    """One process's part of a run."""

    def __init__(self, settings: GenerateSettings, quiet: bool) -> None:
        from accelerate import PartialState

        self.settings = settings
        self._quiet = quiet
        self.state = PartialState(cpu=settings.backend == "server" or not has_accelerator())
        if settings.backend == "server" and self.state.num_processes > 1:
            raise SettingsError("--backend server: one process asks a server; --concurrency says how much at once")
        self.output = settings.output
        self._reason = ""
        self.drafts = Drafts(self.output, Response, WORDS, IDENTITY, self.state, self._say)

    def run(self) -> Path | str:
        with self.drafts:
            return self._run()

    def _run(self) -> Path | str:
        backend: Backend = (
            LocalModel(self.settings, self.state.device)
            if self.settings.backend == "local"
            else ServedModel(self.settings)
        )
        condition = self._condition(backend)
        records = self.settings.records()
        draft = self._manifest(records, condition, backend)

        def asked_for() -> Manifest:
            for _ in records:  # so that their digest is known
                pass
            return draft.model_copy(update={"data": records.identity})

        if not self.settings.dry_run and self.drafts.finished(asked_for):
            return self.output
        keep_texts = self.settings.backend == "server"
        encoder = PromptEncoder(backend.tokenizer(), condition, self.settings.max_new_tokens, keep_texts=keep_texts)
        encoded = PairEncoder(records, condition, encoder)
        prompts = read_all(encoded)
        for line in [*records.notes(), *describe_counts(encoded.counts)]:
            self._say(line)
        if self.settings.dry_run:
            return backend.estimate(prompts, encoder)
        self.output.parent.mkdir(parents=True, exist_ok=True)
        update = {"data": records.identity, "counts": dict(encoded.counts)}
        self._generate(prompts, backend, encoder, draft.model_copy(update=update))
        return self.output

    def _generate(
        self, prompts: Sequence[EncodedPair], backend: Backend, encoder: PromptEncoder, draft: Manifest
    ) -> None:
        from accelerate.utils import gather_object

        done = self.drafts.open(draft)
        # Prompts of a length are answered together, so all processes get some of each length.
        todo = sorted((one for one in prompts if one.id not in done), key=lambda one: -len(one.prompt_ids))
        self.state.wait_for_everyone()  # nobody writes before everybody has read what is done
        share, begun = self.drafts.share(todo), time.monotonic()
        written = self._answer(share, backend, encoder, _decided_by(draft)) if share else 0
        self.state.wait_for_everyone()
        seconds = time.monotonic() - begun
        shares, tokens = gather_object([len(share)]), sum(gather_object([written]))
        if self.state.is_main_process:
            self._commit(prompts, backend, draft, {"shares": shares})
            if tokens:
                self._say(f"{tokens:,} tokens written now, {tokens / seconds:,.1f} a second")
        self.state.wait_for_everyone()

    def _answer(
        self, share: Sequence[EncodedPair], backend: Backend, encoder: PromptEncoder, settings_digest: str
    ) -> int:
        """Answer this process's share; returns how many tokens were written."""
        from tqdm import tqdm

        # Asking a server has a bar of its own.
        silent = self._quiet or not self.state.is_main_process or self.settings.backend == "server"
        tokens = 0
        bar = tqdm(total=len(share), desc="generating", unit=" responses", disable=True if silent else None)
        with bar, self.drafts.part() as stream:
            for pair, said in backend.answer(share, encoder):
                stream.write(_line(pair, said, settings_digest) + "\n")
                stream.flush()
                tokens += said.response_tokens
                bar.update()
        self.drafts.note("found", backend.found())
        return tokens

    def _commit(self, prompts: Sequence[EncodedPair], backend: Backend, draft: Manifest, more: dict[str, Any]) -> None:
        """Write the responses in the order of the records; say what came of it.

        Raises:
            PartialError: More than may be have none.
        """
        failures = backend.failures()
        if len(failures) > self.settings.skip_failed:
            raise PartialError(
                f"{self.output}: {len(failures)} of {len(prompts)} records have no response: {_reasons(failures)}; all "
                f"others are kept, and the same command asks for these again (--skip-failed {len(failures)} goes on "
                "without them)"
            )
        lines = list(self.drafts.lines())
        cut = sum(line["finish"] == "length" for line in lines)
        counts = {
            **draft.counts,
            **more,
            "cut": cut,
            "response_tokens": sum(line["response_tokens"] for line in lines),
            "failed": len(failures),
        }
        update = {"counts": counts, "forward": _one_for_all(self.drafts.notes("found"))}
        answered = [one.id for one in prompts if one.id not in failures]
        self.drafts.commit(answered, draft.model_copy(update=update))
        self._say(f"{cut} of them reached the limit of {self.settings.max_new_tokens} tokens and were cut off there")
        if failures:
            self._say(f"{len(failures)} records have no response: {_reasons(failures)}")

    def _say(self, text: str) -> None:
        if self.state.is_main_process and not self._quiet:
            print(text, file=sys.stderr, flush=True)

    def _condition(self, backend: Backend) -> Condition:
        """What the model is told; why it is this goes into the manifest."""
        settings = self.settings
        chosen = condition_asked_for(settings.wanted(), settings.like, backend.name, settings.revision, backend.folder)
        for line in chosen.words:
            self._say(line)
        self._reason = chosen.reason
        return chosen.condition

    def _manifest(self, records: Records, condition: Condition, backend: Backend) -> Manifest:
        """What will be said, as far as it is known before the records are read."""
        settings = self.settings
        decided_by: dict[str, Any] = {**vars(settings.sampling), "max_new_tokens": settings.max_new_tokens}
        decided_by["backend"] = settings.backend
        if settings.backend == "server":
            decided_by |= {"model": settings.model, "send": settings.send, "tokenizer": backend.name}
        return Manifest(
            kind="responses",
            taxonomy=records.taxonomy.digest,
            model=backend.identity(),
            condition=condition.model_dump(mode="json"),
            condition_reason=self._reason,
            settings={**settings.model_dump(mode="json"), "decided_by": decided_by},
            versions=manifest.versions("torch", "transformers", "tokenizers", "numpy", "openai"),
        )


def _decided_by(draft: Manifest) -> str:
    """Digest of all that decides a response, the record apart."""
    model = draft.model
    assert model is not None
    of_model = [model.digest or model.name, model.tokenizer, model.dtype]
    return digest(of_model, draft.taxonomy, draft.condition, draft.settings["decided_by"])[:32]


def _line(pair: EncodedPair, said: Said, settings_digest: str) -> str:
    return Response(
        id=pair.id,
        response=said.text,
        finish=said.finish,
        prompt_tokens=said.prompt_tokens,
        response_tokens=said.response_tokens,
        trimmed_items=pair.trimmed_items,
        trimmed_demographics=pair.trimmed_demographics,
        persona_empty=pair.persona_empty,
        settings=settings_digest,
    ).model_dump_json()


def _reasons(failures: dict[str, str]) -> str:
    """The commonest reasons, with how many records each has."""
    counted = Counter(failures.values())
    shown = "; ".join(f"{count} × {reason}" for reason, count in counted.most_common(_SHOWN))
    rest = len(failures) - sum(count for _, count in counted.most_common(_SHOWN))
    return shown + (f"; and {rest} more" if rest else "")


def _one_for_all(found: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """What all processes and starts found: the largest difference, all readings; of a server the last word."""
    if not found:
        return None
    together = dict(found[-1])
    if "read_alone" in together:
        together["read_alone"] = sum(one.get("read_alone", 0) for one in found)
        together["largest_difference"] = max(one.get("largest_difference", 0.0) for one in found)
    return together
