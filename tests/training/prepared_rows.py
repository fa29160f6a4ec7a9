"""The rows that a run was trained on."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from alignx import manifest
from alignx.prompts import Condition, Encoder, load_tokenizer
from alignx.prompts.preparing import SHARDS, Cached
from alignx.records import Records, Taxonomy


def rows_of(output: Path, taxonomy: Taxonomy | None = None) -> Any:
    """The table of a finished run's encoded pairs, prepared again as its manifest says it was."""
    run = manifest.read(output)
    assert run.data is not None
    condition = Condition.model_validate(run.condition)
    records = Records(run.data.source, taxonomy=taxonomy)
    cached = Cached(records, condition, Encoder(load_tokenizer(str(output)), condition))
    assert cached.made().data == run.data
    return pa.concat_tables(pq.read_table(shard) for shard in sorted(cached.folder.glob(SHARDS)))
