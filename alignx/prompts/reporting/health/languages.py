"""Which scripts texts are written in, and a guess at the language of those in Latin letters.

The guess counts the commonest function words of eleven languages in the first words of a text. Libraries were weighed:
lingua brings 96 MB; py3langid (5 MB) is better at short texts, but takes 0.2 ms each, five times what all other checks
of a record's two dozen texts take together, and names some language for every text however short. This takes a few
microseconds, and says "unknown" where it knows too little. It is for seeing that a source holds more than one language,
not for sorting texts.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from alignx.prompts.reporting.health.finding import SHOWN, Commands, Finding, Listing, Tally

_STOP_WORDS = {
    "English": "the and of to is that it for you with was are this have not be on my they but what from your so",
    "Spanish": "el la los las que y en un una por con para es no se del lo como pero más muy su está yo mi al",
    "French": "le les des et est une dans que qui pour pas sur avec je vous ce il elle sont mais nous au du ne",
    "German": "der die das und ist nicht ich zu ein eine mit den von sie auf für es dem auch sich im wie aber wir",
    "Portuguese": "o os as que e de um uma para com não em é do da no na por mais mas se muito você eu foi ao",
    "Italian": "il lo gli che e di è un una per non con sono del della mi ma si nel come più anche al ho questo",
    "Dutch": "de het een en van ik is dat niet op te zijn met voor maar je er aan ook als bij dit wat nog naar",
    "Polish": "i w nie na się z do to że jest jak ale o co za tak po od przez dla czy mnie już tylko być",
    "Turkish": "ve bir bu da de için ile çok ne ben daha gibi ama var değil mi o kadar olarak her şey sonra en",
    "Indonesian": "yang dan di untuk dengan itu ini dari tidak pada saya akan ada adalah ke bisa juga kita orang atau",
    "Swedish": "och att det i är som en på för av med jag inte den till har om ett men var så vi du kan från",
}
_LANGUAGES = tuple(_STOP_WORDS)
_BITS = 8
"""Of a number that counts the words of each language in bits of its own, so that one sum counts them all."""
_PLACES = {language: 1 << (_BITS * place) for place, language in enumerate(_LANGUAGES)}
_HITS: dict[str, int] = {}
for _language, _words in _STOP_WORDS.items():
    for _word in _words.split():
        _HITS[_word] = _HITS.get(_word, 0) + _PLACES[_language]
_FUNCTION_WORDS = frozenset(_HITS)
_LOOKED_AT = 240
"""Characters of a text that are looked at."""
_FEWEST_HITS = 3
"""Different function words that a guess needs."""
_FEW_FOREIGN = 0.1
"""Share of characters outside ASCII below which the letters are taken for Latin ones."""
UNKNOWN, NONE = "unknown", "none"
_SHARE = 0.01
"""Share of the texts with a guess from which another language is worth a look."""

_SCRIPTS = {
    "CJK": "Han",
    "HIRAGANA": "Japanese",
    "KATAKANA": "Japanese",
    "HANGUL": "Hangul",
    "LATIN": "Latin",
    "CYRILLIC": "Cyrillic",
    "GREEK": "Greek",
    "ARABIC": "Arabic",
    "HEBREW": "Hebrew",
    "DEVANAGARI": "Devanagari",
    "THAI": "Thai",
    "BENGALI": "Bengali",
    "TAMIL": "Tamil",
    "TELUGU": "Telugu",
    "GEORGIAN": "Georgian",
    "ARMENIAN": "Armenian",
}


def script_of(text: str) -> str:
    """The script of most letters of a text; ``none`` where there is no letter, ``other`` for rare ones."""
    text = text[:_LOOKED_AT]
    if text.isascii() or len(text.encode("ascii", "ignore")) > (1 - _FEW_FOREIGN) * len(text):
        return "Latin" if any(map(str.isalpha, text)) else NONE
    counts: Counter[str] = Counter()
    for character in set(text):
        if script := _script(character):
            counts[script] += text.count(character)
    if counts["Japanese"]:
        return "Japanese"  # which is written in Han characters too
    return max(sorted(counts), key=counts.__getitem__, default=NONE)


@lru_cache(maxsize=1 << 16)
def _script(character: str) -> str:
    """Empty for what is no letter."""
    if not character.isalpha():
        return ""
    return _SCRIPTS.get(unicodedata.name(character, "").partition(" ")[0], "other")


def language_or_script(text: str) -> str:
    """The script of a text, or for one in Latin letters a guess at its language.

    The guess is the language with the most function words in the text, at least three and more than any other.
    """
    script = script_of(text)
    if script != "Latin":
        return script
    return _most(sum(map(_HITS.__getitem__, _FUNCTION_WORDS.intersection(text[:_LOOKED_AT].lower().split()))))


@lru_cache(maxsize=1 << 16)
def _most(packed: int) -> str:
    """The language of the most words, from the sum of their counts."""
    hits = [packed >> (_BITS * place) & ((1 << _BITS) - 1) for place in range(len(_LANGUAGES))]
    most = max(hits)
    return _LANGUAGES[hits.index(most)] if most >= _FEWEST_HITS and hits.count(most) == 1 else UNKNOWN


class Languages:
    """Counts of texts by script and guessed language."""

    def __init__(self) -> None:
        """Start with none."""
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, Tally] = {}

    def add(self, record_id: str, texts: Iterable[tuple[str, str]]) -> None:
        """Look at a record's texts, by field."""
        for field, text in texts:
            if field == "profile":  # phrases of the taxonomy
                continue
            name = language_or_script(text)
            self._counts[name] += 1
            if self._counts[name] <= SHOWN:
                self._examples.setdefault(name, Tally()).add(record_id, f"{name} in {field}: {text}")

    def finding(self, commands: Commands) -> Finding:
        """What was found."""
        texts = self._counts.total()
        guessed = {name: n for name, n in self._counts.items() if name not in (UNKNOWN, NONE)}
        known = sum(guessed.values())
        ordered = sorted(guessed, key=lambda name: (-guessed[name], name))
        others = ordered[1:]
        n = sum(guessed[name] for name in others)
        mixed = n > _SHARE * known
        rows = [
            (name, str(count), f"{100 * count / texts:.1f}")
            for name, count in sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        ]
        caption = (
            f"All {texts} texts, ready profiles apart. Latin letters: a guess by function words in the first "
            f"{_LOOKED_AT} characters, unknown where fewer than {_FEWEST_HITS} or two languages have as many; other "
            "letters: the script."
        )
        return Finding(
            "languages",
            "Languages and scripts",
            n,
            known,
            "texts with a guess",
            "look" if mixed else "ok",
            "Texts that are not in the language, or the script, of most others. A guess, wrong about some short texts; "
            f"worth a look where it is more than {100 * _SHARE:.0f} % of those with a guess. Nothing needs to be "
            "mended if several languages are meant.",
            [f"alignx data preview {commands.source} --method ica --row N"] if mixed else [],
            [example for name in others for example in self._examples[name].examples[:5]][:20] if mixed else [],
            [Listing(("language or script", "texts", "%"), rows, caption, "lrr")],
            {"counts": dict(self._counts)},
            shown=(f"mostly {ordered[0]}; {n} others ({100 * n / known:.1f} %)" if ordered else "no text in letters"),
        )
