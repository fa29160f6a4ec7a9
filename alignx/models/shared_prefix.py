"""Each prompt once: a causal language model reads what several sequences share a single time, exactly.

Pairs of responses repeat a prompt of thousands of tokens. Here it stands once in a packed row
(:mod:`alignx.models.prefix_packing`), seen by both responses, which do not see each other
(:mod:`alignx.models.prefix_attention`); only the states that predict asked tokens leave the backbone. Losses, metrics
and log-probabilities are those of the plain forward up to rounding. :func:`obstacle` says why a model cannot carry it,
and :class:`Sharing` what was done and how far it was from the plain forward.
"""

import functools
import types
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from alignx.models.prefix_attention import Form, register
from alignx.models.prefix_packing import Packed

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.04, torch.float16: 0.01}
"""Mean absolute difference from the plain forward, in nats a token, up to which it is rounding, by dtype computed in.

In bfloat16 the plain forward differs from itself by 0.01 to 0.02 when the batch is another."""


@dataclass
class Sharing:
    """Whether a model reads each prompt once, why not, and how far it was from the plain forward on the first batch."""

    reason: str | None = None
    """Why it does not; None when it does."""
    attention: str = ""
    """Name of the attention implementation that ran."""
    mean_difference: float | None = None
    """In nats a token, absolute; None before anything was compared."""
    largest_difference: float | None = None

    @property
    def on(self) -> bool:
        """Whether each prompt is read once."""
        return self.reason is None

    @property
    def checked(self) -> bool:
        """Whether it was compared with the plain forward."""
        return self.mean_difference is not None

    def compare(self, found: Tensor, plain: Tensor, dtype: torch.dtype) -> None:
        """Compare log-probabilities of the same tokens; a mean difference beyond rounding switches sharing off.

        Args:
            found: Of tokens read with their prompts once.
            plain: As the plain forward gives them. If these are no numbers, nothing is said: the weights are broken.
            dtype: What the model computed in.
        """
        difference = (found.float() - plain.float()).abs()
        if plain.isfinite().all():
            self.settle(difference.mean().item(), difference.max().item(), dtype)

    def settle(self, mean: float, largest: float, dtype: torch.dtype) -> None:
        """Take note of a difference; one beyond rounding, or that is no number, switches sharing off."""
        self.mean_difference, self.largest_difference = mean, largest
        if not mean <= TOLERANCE.get(dtype, 1e-4):
            self.reason = f"its first batch differed by {mean:.2g} nats a token from the plain forward"

    def as_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return {"shared_prefix": self.on, **asdict(self)}


class SharedPrefix:
    """A model's forward over packed rows; the model itself goes on working as before."""

    def __init__(self, model: Any, form: Form = "sdpa") -> None:
        """Prepare a model in place.

        Args:
            model: A transformers causal language model for which :func:`obstacle` finds nothing.
            form: How attention over a packed row is computed; ``varlen`` needs CUDA and has not been run yet.
        """
        self._backbone = model.base_model
        _leave_only_scored(self._backbone)
        self._backbone._alignx_plain_attention = plain_attention(model)
        self.name = register(self._backbone._alignx_plain_attention, form)
        """Of the attention, as the model's configuration says it now."""
        model.set_attn_implementation(self.name)

    def states(self, packed: Packed) -> Tensor:
        """Last hidden states that predict the asked tokens, ``(M, width)``."""
        result: Tensor = self._backbone(**inputs_of(packed), use_cache=False).last_hidden_state[0]
        return result


def plain_attention(model: Any) -> str:
    """The attention implementation that a model has for anything but packed rows."""
    name: str = getattr(
        model.base_model, "_alignx_plain_attention", model.config.get_text_config()._attn_implementation
    )
    return name


def inputs_of(packed: Packed) -> dict[str, Any]:
    """What a backbone is called with to read a packed row.

    The mask is a stand-in: transformers hands on a four-dimensional one as it is, and the attention ignores it.
    """
    return {
        "input_ids": packed.input_ids,
        "position_ids": packed.position_ids,
        "attention_mask": packed.input_ids.new_zeros((1, 1, 1, 1)),
        "shared_prefix": packed,
    }


def obstacle(model: Any, longest: int | None = None) -> str | None:
    """Why a model cannot read packed rows, in words that end a sentence; None when it can.

    Args:
        model: A transformers causal language model.
        longest: Tokens of the longest sequence it will read, if known: a wider sliding window is no obstacle.
    """
    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    if window and (longest is None or longest > window):
        return f"its attention slides over {window} tokens"
    layers = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    if layers:
        return f"its layers use {', '.join(sorted(layers))}"
    if getattr(config, "attn_logit_softcapping", None):
        return "it caps its attention scores softly"
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type")
    if rope in ("dynamic", "longrope"):
        return f"its positions ({rope}) depend on the longest sequence of a batch"
    if hasattr(config, "output_router_logits"):
        return "it balances experts over all tokens of a batch"
    if model.base_model is model or not hasattr(model.base_model, "layers"):
        return "its backbone cannot be called apart from its head"
    if getattr(config, "is_encoder_decoder", False) or not getattr(config, "is_causal", True):
        return "it is no causal decoder"
    if not getattr(model, "_supports_sdpa", False) or not getattr(model, "_supports_attention_backend", False):
        return "its attention cannot be replaced"
    return None


def _leave_only_scored(backbone: Any) -> None:
    """Let a backbone return only the states that predict asked tokens when it reads a packed row."""
    if getattr(backbone, "_alignx_leaves_only_scored", False):
        return
    plain = backbone.forward
    unbound = getattr(plain, "__func__", None)  # a copy of the model must run with its own weights

    @functools.wraps(plain)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = unbound(self, *args, **kwargs) if unbound else plain(*args, **kwargs)
        packed: Packed | None = kwargs.get("shared_prefix")
        if packed is not None:
            outputs.last_hidden_state = outputs.last_hidden_state[:, packed.scored]
        return outputs

    backbone.forward = types.MethodType(forward, backbone)
    backbone._alignx_leaves_only_scored = True
