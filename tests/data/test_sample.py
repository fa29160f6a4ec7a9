"""The shipped sample is what its README says."""

import subprocess
import sys
from pathlib import Path

import pytest

from alignx.records import Records

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


def test_the_script_makes_the_shipped_bytes(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "data/make_sample.py"), "--output", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    for name in ("train.jsonl", "test.jsonl"):
        assert (tmp_path / name).read_bytes() == (ROOT / "data/sample" / name).read_bytes()
