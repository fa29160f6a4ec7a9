"""Teaches a stand-in to read: plain next-token training on short documents, until a probe says that it is enough."""

import math
import random
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from alignx.errors import TrainingError
from alignx.models.corpora import Document, Probe

if TYPE_CHECKING:
    from alignx.models.tiny import TinyModelSettings

_IGNORED = -100
"""The label that transformers' loss leaves out."""
_CHECK_EVERY = 100
_AT_MOST = 2
"""How many times the asked number of steps the probe can make of it."""


def pretrain(
    model: Any, tokenizer: Any, documents: Sequence[Document], probes: Sequence[Probe], settings: "TinyModelSettings"
) -> dict[str, Any]:
    """Train a model in place with AdamW: 5 % warm-up, cosine to a tenth, then a tenth while a probe is not content.

    Returns:
        Documents, steps, the loss of the last step in nats a token, and the share right of each kind of probe.

    Raises:
        TrainingError: A loss is not a number.
    """
    from tqdm import tqdm

    encoded = tokenizer([_framed(document, tokenizer) for document in documents], add_special_tokens=False)
    batches = _Batches(encoded["input_ids"], settings.batch_size, tokenizer.pad_token_id, settings.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, settings.steps))
    loss, step, shares = torch.tensor(math.nan), 0, {}
    model.train()
    with tqdm(total=settings.steps, desc="pre-training", unit=" steps", disable=None) as bar:
        while step < settings.steps or (probes and step < _AT_MOST * settings.steps):
            input_ids, labels = next(batches)
            loss = model(input_ids=input_ids, labels=labels).loss
            if not loss.isfinite():
                raise TrainingError(f"pre-training step {step + 1}: the loss is {loss.item()}; lower --learning-rate")
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            bar.update()
            beyond = step - settings.steps
            if beyond >= 0 and (beyond % _CHECK_EVERY == 0 or beyond == (_AT_MOST - 1) * settings.steps):
                shares = probe(model, tokenizer, probes)
                if min(shares.values(), default=1.0) >= settings.enough:
                    break
    model.eval()
    _say(step, loss.item(), shares, settings.enough)
    return {"documents": len(documents), "steps": step, "loss": loss.item(), "probe": shares}


def _framed(document: Document, tokenizer: Any) -> str:
    """The text of a document with the control tokens around it."""
    if document.text is not None:
        return str(tokenizer.bos_token + document.text + tokenizer.eos_token)
    messages = [message.model_dump() for message in document.messages]
    return str(tokenizer.apply_chat_template(messages, tokenize=False))


@torch.inference_mode()
def probe(model: Any, tokenizer: Any, probes: Sequence[Probe]) -> dict[str, float]:
    """Share of probes of each kind whose text is likelier than its contrast."""
    from alignx.models.logps import response_logps

    right: dict[str, list[bool]] = defaultdict(list)
    for one in probes:
        encoded = [
            tokenizer(tokenizer.bos_token + text, add_special_tokens=False)["input_ids"]
            for text in (one.text, one.contrast)
        ]
        input_ids, labels = _pad(encoded, tokenizer.pad_token_id)
        asked = labels != _IGNORED
        asked[:, 0] = False
        likelier, other = response_logps(model(input_ids=input_ids).logits, input_ids, asked).tolist()
        right[one.kind].append(likelier > other)
    return {kind: sum(answers) / len(answers) for kind, answers in right.items()}


class _Batches:
    """Documents in an order drawn by a seed, again and again."""

    def __init__(self, documents: Sequence[list[int]], size: int, pad: int, seed: int) -> None:
        self._documents, self._size, self._pad = documents, size, pad
        self._rng = random.Random(seed)
        self._order: list[int] = []

    def __next__(self) -> tuple[Tensor, Tensor]:
        while len(self._order) < self._size:
            self._order += self._rng.sample(range(len(self._documents)), len(self._documents))
        chosen, self._order = self._order[: self._size], self._order[self._size :]
        return _pad([self._documents[place] for place in chosen], self._pad)


def _pad(rows: Sequence[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Token ids ``(batch, seq)`` padded on the right, and labels in which padding does not count."""
    longest = max(map(len, rows))
    input_ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
    labels = torch.tensor([row + [_IGNORED] * (longest - len(row)) for row in rows])
    return input_ids, labels


def _rate(step: int, steps: int) -> float:
    """Share of the peak learning rate."""
    warmup = max(1, steps // 20)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
    return min(1.0, (step + 1) / warmup) * (0.1 + 0.9 * cosine)


def _say(steps: int, loss: float, shares: dict[str, float], enough: float) -> None:
    read = ", ".join(f"{kind} {share:.2f}" for kind, share in shares.items())
    print(f"pre-trained for {steps} steps, loss {loss:.3f}" + (f"; probe: {read}" if read else ""), file=sys.stderr)
    if min(shares.values(), default=1.0) < enough:
        print(f"warning: {enough:.2f} of each kind were wanted; DPO has less to start from", file=sys.stderr)
