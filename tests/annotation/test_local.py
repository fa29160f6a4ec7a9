"""A local model as annotator: options scored, not generated, and the same levels as from a server that scores them."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from alignx import manifest
from alignx.annotation.annotating import annotate
from alignx.annotation.items import Item
from alignx.annotation.local import OPTIONS, LocalAnnotator, OptionScorer, verdict
from alignx.annotation.questions import way
from alignx.annotation.settings import AnnotateSettings
from alignx.chat.question import Question
from alignx.chat.server import ChatServer
from alignx.models.loading import find_model, load_model
from alignx.prompts import Condition, Encoder, load_tokenizer
from alignx.prompts.rendering import Rendered
from alignx.records import load_taxonomy
from tests.annotation.test_annotating import directions, read
from tests.worlds import write_jsonl

TAXONOMY = load_taxonomy()
FEW = """index,group,positive,negative
0,g,Likes tea,Dislikes tea
1,g,Likes art,Dislikes art
2,g,Early bird,Night owl
3,g,Blunt,Diplomatic
4,g,Brief,Detailed
"""
ITEM = Item("choice", ("Tea or coffee?", "Tea, of course: it is calmer.", "Coffee!"))


@pytest.fixture(scope="module")
def annotator(tiny_model: Path) -> LocalAnnotator:
    return LocalAnnotator(local(tiny_model, Path("data"), Path("out")))


def local(model: Path, data: Path, output: Path, **others: Any) -> AnnotateSettings:
    chosen = {"dtype": "float32", "backend": "local", **others}
    return AnnotateSettings(data=str(data), output=output, model=str(model), **chosen)


def few(folder: Path) -> tuple[Path, Path]:
    """Three records of two comments each, and a taxonomy of five dimensions."""
    (folder / "few.csv").write_text(FEW)
    said = ["I wake at five.", "Tea!", "No long speeches, please.", "Paint it blue.", "You are wrong.", "Perhaps."]
    rows = [
        {
            "prompt": f"post {number}",
            "chosen": "yes",
            "rejected": "no",
            "User-Generated Content": [{"prompt": "What do you say?", "comment": one} for one in said[number::3]],
        }
        for number in range(3)
    ]
    return write_jsonl(folder / "data.jsonl", rows), folder / "few.csv"


def by_the_definition(model: Path, question: Question) -> list[float]:
    """Log-probability of each option after the whole prompt, by a plain forward of the whole sequence."""
    import torch

    tokenizer = load_tokenizer(str(model))
    encoder = Encoder(tokenizer, Condition(method="ica"))
    weights = load_model(find_model(str(model)), "float32")
    prompt = encoder.prompt(Rendered(question.system, question.user))
    found = []
    for option in encoder.responses(json.dumps({"option": letter}) for letter in OPTIONS):
        with torch.no_grad():
            logps = weights(torch.tensor([[*prompt, *option]])).logits[0].double().log_softmax(-1)
        found.append(sum(float(logps[len(prompt) - 1 + place, token]) for place, token in enumerate(option)))
    return found


@pytest.mark.parametrize("tokens", [1, 700, 100_000])
def test_probabilities_are_those_of_the_whole_prompt_however_many_questions_are_read_together(
    tokens: int, annotator: LocalAnnotator, tiny_model: Path
) -> None:
    questions = way("each", TAXONOMY).questions(ITEM)[:7]
    found = annotator._load().probabilities(questions, tokens)
    for question, probabilities in zip(questions, found, strict=True):
        assert probabilities is not None
        logps = by_the_definition(tiny_model, question)
        total = sum(math.exp(logp - max(logps)) for logp in logps)
        assert probabilities == pytest.approx([math.exp(logp - max(logps)) / total for logp in logps], abs=1e-4)


def test_the_item_is_read_once_for_all_its_questions(
    annotator: LocalAnnotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = annotator._load()
    read_tokens = []
    inner = scorer._scorer.score
    monkeypatch.setattr(
        scorer._scorer, "score", lambda batch: (read_tokens.extend(one.tokens for one in batch), inner(batch))[1]
    )
    questions = way("each", TAXONOMY).questions(ITEM)[:10]
    scorer.probabilities(questions, 100_000)
    prompts = annotator._encoder.prompts([Rendered(one.system, one.user) for one in questions])
    assert len(read_tokens) == 1
    assert read_tokens[0] < 0.6 * 3 * sum(map(len, prompts))


def test_a_question_beyond_what_the_model_reads_has_no_answer(annotator: LocalAnnotator) -> None:
    scorer = annotator._load()
    questions = way("each", TAXONOMY).questions(ITEM)[:3]
    lengths = [len(one) for one in annotator._encoder.prompts([Rendered(q.system, q.user) for q in questions])]
    most = max(map(len, scorer._options))
    short = OptionScorer(scorer._scorer, annotator._encoder, min(lengths) + most - 1)
    assert short.probabilities(questions, 100_000) == [None, None, None]
    exact = OptionScorer(scorer._scorer, annotator._encoder, max(lengths) + most)
    assert None not in exact.probabilities(questions, 100_000)


def test_the_verdict_is_the_likeliest_option_with_its_probability() -> None:
    assert json.loads(verdict([0.2, 0.75, 0.05])) == {"option": "B", "certainty": 75}


def test_a_local_model_and_a_server_of_it_give_the_same_levels(
    annotator: LocalAnnotator, tiny_model: Path, tmp_path: Path
) -> None:
    """The server scores the options of what it is asked by the same model, under the model's own chat template."""
    data, taxonomy = few(tmp_path)
    scorer = annotator._load()

    def served(body: Mapping[str, Any]) -> str:
        system, user = (message["content"] for message in body["messages"])
        (probabilities,) = scorer.probabilities([Question(system, user, {}, "asked", 16)], 100_000)
        assert probabilities is not None
        return verdict(probabilities)

    with ChatServer(served, model="served") as server:
        annotate(
            AnnotateSettings(
                data=str(data),
                output=tmp_path / "served.jsonl",
                model="served",
                base_url=server.base_url,
                way="each",
                concurrency=1,
                taxonomy=taxonomy,
            )
        )
    annotate(local(tiny_model, data, tmp_path / "local.jsonl", taxonomy=taxonomy))
    forward = manifest.read(tmp_path / "local.jsonl").forward
    assert forward is not None
    assert (forward["shared_prefix"], forward["reason"]) == (True, None)
    one, other = (read(tmp_path / name) for name in ("served.jsonl", "local.jsonl"))
    assert [directions(row) for row in one] == [directions(row) for row in other]
    assert len({level for row in one for item in directions(row) for level in item}) > 1, (
        "all alike: nothing was compared"
    )


def test_a_local_run_that_is_cut_off_goes_on_where_it_was(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, taxonomy = few(tmp_path)
    annotate(local(tiny_model, data, tmp_path / "calm.jsonl", taxonomy=taxonomy))
    inner, left, asked = OptionScorer.probabilities, [2], []

    def counting(self: OptionScorer, questions: Any, tokens: int) -> Any:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        asked.append(len(questions))
        return inner(self, questions, tokens)

    monkeypatch.setattr(OptionScorer, "probabilities", counting)
    with pytest.raises(KeyboardInterrupt):
        annotate(local(tiny_model, data, tmp_path / "out.jsonl", taxonomy=taxonomy))
    assert not (tmp_path / "out.jsonl").exists()
    left[0] = 1_000
    annotate(local(tiny_model, data, tmp_path / "out.jsonl", taxonomy=taxonomy))
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "calm.jsonl").read_bytes()
    assert sum(asked) == len(read(tmp_path / "calm.jsonl.replies.jsonl"))
