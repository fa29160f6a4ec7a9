"""What a model is asked: persona selection, rendering, encoding to token ids within a budget."""

from alignx.prompts.choice import ChosenCondition, choose_condition, condition_asked_for
from alignx.prompts.condition import Condition, Method, PersonaSource, ProfileSource
from alignx.prompts.encoding import Encoder, load_tokenizer
from alignx.prompts.pairs import EncodedPair, PairEncoder
from alignx.prompts.rendering import Rendered, render
from alignx.prompts.telling import Told, choose_donors, tell

__all__ = [
    "ChosenCondition",
    "Condition",
    "EncodedPair",
    "Encoder",
    "Method",
    "PairEncoder",
    "PersonaSource",
    "ProfileSource",
    "Rendered",
    "Told",
    "choose_condition",
    "choose_donors",
    "condition_asked_for",
    "load_tokenizer",
    "render",
    "tell",
]
