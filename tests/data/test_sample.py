"""The shipped sample is what its README says."""

from pathlib import Path

import pytest

from alignx.records import Records
from alignx.records.world.synthesize import SynthesizeSettings, synthesize

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("name", "count"), [("train", 320), ("test", 96)])
def test_the_sample_is_valid_and_no_history_contains_its_target(name: str, count: int) -> None:
    records = Records(str(ROOT / f"data/sample/{name}.jsonl"))
    found = list(records)
    assert len(found) == count
    assert not records.unused_fields
    assert all(record.target not in {choice.key for choice in record.persona.choices} for record in found)


def test_training_and_test_users_and_targets_are_apart() -> None:
    train, test = (list(Records(str(ROOT / f"data/sample/{name}.jsonl"))) for name in ("train", "test"))
    assert not {record.user for record in train} & {record.user for record in test}
    assert not {record.target for record in train} & {record.target for record in test}


def test_the_command_in_the_readme_makes_the_shipped_bytes(tmp_path: Path) -> None:
    assert "alignx data synthesize --output out/sample --train 320 --test 96\n" in (ROOT / "data/README.md").read_text()
    synthesize(SynthesizeSettings(output=tmp_path / "sample", train=320, test=96))
    for name in ("train.jsonl", "test.jsonl"):
        assert (tmp_path / "sample" / name).read_bytes() == (ROOT / "data/sample" / name).read_bytes()
