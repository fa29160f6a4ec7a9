"""What is known of one user and one choice: schema, border checks, taxonomy, direction arithmetic, sources."""

from alignx.records.directions import Direction, Thresholds, aggregate, reverse, verbalise
from alignx.records.parsing import RecordParser
from alignx.records.record import Choice, Comment, Persona, Record
from alignx.records.sources import Records
from alignx.records.taxonomy import Dimension, Taxonomy, load_taxonomy

__all__ = [
    "Choice",
    "Comment",
    "Dimension",
    "Direction",
    "Persona",
    "Record",
    "RecordParser",
    "Records",
    "Taxonomy",
    "Thresholds",
    "aggregate",
    "load_taxonomy",
    "reverse",
    "verbalise",
]
