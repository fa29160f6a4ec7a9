"""Records to prompts at any scale: folders of Parquet shards, made in parallel, resumable, always the same bytes."""

from alignx.prompts.preparing.cached import Cached
from alignx.prompts.preparing.command import prepare, write_prepared
from alignx.prompts.preparing.folders import is_intact
from alignx.prompts.preparing.settings import PrepareSettings
from alignx.prompts.preparing.shards import SHARDS

__all__ = ["SHARDS", "Cached", "PrepareSettings", "is_intact", "prepare", "write_prepared"]
