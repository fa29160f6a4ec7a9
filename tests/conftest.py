"""What all tests share. A test needs no network, no accelerator and no file from outside the repository."""

import os
import tempfile
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; xdist brings its own parallelism
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
for _name in [name for name in os.environ if name.startswith("ALIGNX_")]:
    del os.environ[_name]  # settings read them
os.environ["ALIGNX_CACHE"] = tempfile.mkdtemp(prefix="alignx-tests-")  # of fixtures that several tests share

from tests.worlds import sample_records, write_jsonl  # noqa: E402  (after the environment is set)

settings.register_profile("alignx", deadline=None, derandomize=True)  # a busy machine is no failure
settings.load_profile("alignx")


@pytest.fixture(autouse=True)
def nothing_remembered(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds log-probabilities that another has computed."""
    monkeypatch.setenv("ALIGNX_CACHE", str(tmp_path_factory.getbasetemp() / f"cache-{uuid4().hex}"))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in of 0.2 million parameters, its tokenizer trained on the tests' own records; treat it as read-only."""
    from alignx.models.tiny import TinyModelSettings, make

    folder = tmp_path_factory.mktemp("tiny")
    data = write_jsonl(folder / "records.jsonl", sample_records(40, seed=1))
    return make(TinyModelSettings(output=folder / "model", size="0.2m", data=str(data)))
