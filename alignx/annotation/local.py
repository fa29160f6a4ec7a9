"""A transformers model on this machine as annotator: the options of each question scored, nothing generated."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from alignx.annotation.items import Item
from alignx.annotation.settings import AnnotateSettings
from alignx.chat.asking import Tally
from alignx.chat.question import Ask, Question
from alignx.chat.replies import Replies, Reply, reading
from alignx.models.candidates import BATCH_TOKENS, Candidates
from alignx.models.loading import choose_dtype, find_model, has_accelerator, load_model
from alignx.prompts import Condition, Encoder, Method, load_tokenizer
from alignx.prompts.rendering import Rendered

OPTIONS = ("A", "B", "C")
_REPLY = '{{"option": "{}"}}'
"""What is scored of each: the beginning of a reply as a server would write it."""


class OptionScorer:
    """How probable a model finds each option of a question."""

    def __init__(self, scorer: Any, encoder: Encoder, longest: int | None = None) -> None:
        """Take a model.

        Args:
            scorer: A :class:`alignx.models.scoring.ResponseScorer`.
            encoder: For its tokenizer; prompts are those of its own chat template.
            longest: Tokens that the model can read at once, if it says so.
        """
        self._scorer, self._encoder, self._longest = scorer, encoder, longest
        self.sharing = scorer.sharing
        self._options = encoder.responses(map(_REPLY.format, OPTIONS))

    def probabilities(self, questions: Sequence[Question], tokens: int) -> list[tuple[float, ...] | None]:
        """For each question the probabilities of its options, which sum to 1; None where it is too long to be read.

        What the questions have in common at their beginning, the item they are about, is read once for as many of them
        as are read together. The rest of a question stands before each of its options and cancels.

        Args:
            questions: About one item.
            tokens: To read together, at most, where that is possible.
        """
        prompts = self._encoder.prompts([Rendered(one.system, one.user) for one in questions])
        most = max(map(len, self._options))
        fits = [self._longest is None or len(prompt) + most <= self._longest for prompt in prompts]
        found: list[tuple[float, ...] | None] = [None] * len(questions)
        readable = [number for number, fit in enumerate(fits) if fit]
        for numbers, candidates in self._batches(prompts, readable, tokens):
            (logps,) = self._scorer.score([candidates])
            for place, number in enumerate(numbers):
                found[number] = _softmax(logps[place * len(OPTIONS) : (place + 1) * len(OPTIONS)])
        return found

    def _batches(
        self, prompts: Sequence[list[int]], numbers: Sequence[int], tokens: int
    ) -> Iterator[tuple[list[int], Candidates]]:
        """Questions that are read together, and what is read: their common beginning once, then the branches."""
        shared = _common([prompts[number] for number in numbers])
        together: list[int] = []
        size = shared
        for number in numbers:
            branches = sum(len(prompts[number]) - shared + len(option) for option in self._options)
            if together and size + branches > tokens:
                yield together, self._candidates([prompts[one] for one in together])
                together, size = [], shared
            together.append(number)
            size += branches
        if together:
            yield together, self._candidates([prompts[one] for one in together])

    def _candidates(self, prompts: Sequence[list[int]]) -> Candidates:
        shared = _common(prompts)
        branches = tuple((*prompt[shared:], *option) for prompt in prompts for option in self._options)
        return Candidates("a history item", prompts[0][:shared], branches)


def _common(prompts: Sequence[list[int]]) -> int:
    """Tokens with which all prompts begin, the last one of the shortest aside."""
    if not prompts:
        return 0
    low, high = min(prompts), max(prompts)  # what these two share, all between them in order share too
    most = min(map(len, prompts)) - 1
    return next((place for place in range(most) if low[place] != high[place]), most)


class LocalAnnotator:
    """Answers questions as a server would, by a model on this machine."""

    def __init__(self, settings: AnnotateSettings) -> None:
        """Find the model; its weights are loaded when there is something to ask.

        Raises:
            ModelError: It is not there, or its tokenizer cannot be used.
        """
        from accelerate import PartialState

        self._settings = settings
        self._files = find_model(settings.model, settings.revision)
        self._dtype = choose_dtype(settings.dtype)
        self._device = PartialState(cpu=not has_accelerator()).device.type
        self._tokenizer = load_tokenizer(str(self._files.folder), trust_remote_code=settings.trust_remote_code)
        self._encoder = Encoder(self._tokenizer, Condition(method=Method.ICA))
        identity = self._files.identity(self._dtype)
        self.forward: dict[str, Any] | None = None
        """How the model read, for a manifest; None before it did."""
        self.name = f"{settings.model}@{identity.digest[:12]}-{self._encoder.digest[:12]}-{self._dtype}"

    def answer(self, asks: Iterable[tuple[Item, Sequence[Ask]]], replies: Replies, total: int) -> Tally:
        """Answer what has no reply yet, item by item; each is in the file before the next is read.

        Raises:
            ModelError: The model cannot be loaded, or an item does not fit into memory.
        """
        from tqdm import tqdm

        tally, scorer = Tally(), None
        tokens = self._settings.batch_tokens
        with tqdm(total=total, desc="scoring options", unit=" questions", disable=None) as bar:
            for _, of_item in asks:
                todo = [one for one in of_item if reading(one, replies).problem is not None]
                tally.known += len(of_item) - len(todo)
                bar.update(len(of_item) - len(todo))
                if not todo:
                    continue
                scorer = scorer or self._load()
                budget = tokens or BATCH_TOKENS.get(self._device, 16_384)
                found = scorer.probabilities([one.request.question for one in todo], budget)
                for one, probabilities in zip(todo, found, strict=True):
                    replies.add(self._reply(one, probabilities))
                    tally.answered += probabilities is not None
                    tally.failed += probabilities is None
                bar.update(len(todo))
        self.forward = scorer.sharing.as_dict() if scorer is not None else None
        return tally

    def _load(self) -> OptionScorer:
        from alignx.models.scoring import ResponseScorer

        settings = self._settings
        model = load_model(self._files, self._dtype, settings.attention, settings.trust_remote_code)
        pad = self._tokenizer.pad_token_id if self._tokenizer.pad_token_id is not None else 0
        longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        return OptionScorer(ResponseScorer(model, pad, self._device), self._encoder, longest)

    def _reply(self, one: Ask, probabilities: tuple[float, ...] | None) -> Reply:
        if probabilities is None:
            return Reply(
                id=one.request.id, name=one.name, problem="longer than what the model can read", model=self.name
            )
        return Reply(id=one.request.id, name=one.name, text=verdict(probabilities), model=self.name)


def verdict(probabilities: Sequence[float]) -> str:
    """The reply that the probabilities of the options stand for: the likeliest, and how likely it is."""
    likeliest = max(range(len(OPTIONS)), key=probabilities.__getitem__)
    return json.dumps({"option": OPTIONS[likeliest], "certainty": round(100 * probabilities[likeliest])})


def _softmax(logps: Sequence[float]) -> tuple[float, ...]:
    most = max(logps)
    weights = [math.exp(logp - most) for logp in logps]
    return tuple(weight / sum(weights) for weight in weights)
