"""``alignx data clean``: records without what the report found wrong with them."""

from alignx.prompts.cleaning.cleaning import clean
from alignx.prompts.cleaning.settings import CleanSettings

__all__ = ["CleanSettings", "clean"]
