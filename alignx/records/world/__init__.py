"""A synthetic world: invented users whose preference directions are known, and what they say.

Real users' directions can only be guessed; here they are given, so that it can be seen whether a method finds them.
"""

from alignx.records.world.population import Drawn, Population, Shape, User
from alignx.records.world.speech import Mention, Speech, Utterance
from alignx.records.world.wordings import Phrases, Wording, load_phrases, load_wordings

__all__ = [
    "Drawn",
    "Mention",
    "Phrases",
    "Population",
    "Shape",
    "Speech",
    "User",
    "Utterance",
    "Wording",
    "load_phrases",
    "load_wordings",
]
