"""Each prompt once: a causal language model reads what several sequences share a single time, exactly.

Pairs of responses repeat a prompt of thousands of tokens. Here it stands once in a packed row
(:mod:`alignx.models.prefix_packing`), seen by both responses, which do not see each other
(:mod:`alignx.models.prefix_attention`); only the states that predict asked tokens leave the backbone. Losses, metrics
and log-probabilities are those of the plain forward up to rounding. :func:`obstacle` says why a model cannot carry it.
"""

import functools
import types
from typing import Any

from torch import Tensor

from alignx.models.prefix_attention import Form, register
from alignx.models.prefix_packing import Packed


class SharedPrefix:
    """A model's forward over packed rows; the model itself goes on working as before."""

    def __init__(self, model: Any, form: Form = "sdpa") -> None:
        """Prepare a model in place.

        Args:
            model: A transformers causal language model for which :func:`obstacle` finds nothing.
            form: How attention over a packed row is computed; ``varlen`` needs CUDA and has not been run yet.
        """
        self._backbone = model.base_model
        self.form: Form = form
        config = model.config.get_text_config()
        plain = config._attn_implementation
        model.set_attn_implementation(register(plain, form))
        _leave_only_scored(self._backbone)
        self.plain_attention: str = plain

    def states(self, packed: Packed) -> Tensor:
        """Last hidden states that predict the asked tokens, ``(M, width)``."""
        result: Tensor = self._backbone(**inputs_of(packed), use_cache=False).last_hidden_state[0]
        return result


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

    @functools.wraps(plain)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = plain(*args, **kwargs)
        packed: Packed | None = kwargs.get("shared_prefix")
        if packed is not None:
            outputs.last_hidden_state = outputs.last_hidden_state[:, packed.scored]
        return outputs

    backbone.forward = types.MethodType(forward, backbone)
    backbone._alignx_leaves_only_scored = True
