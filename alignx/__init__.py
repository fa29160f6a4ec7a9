"""AlignX: align a language model with the person in front of it (arXiv:2503.15463).

The rooms, in the order data flows: ``records`` (what is known of a user and a choice), ``prompts`` (what a
model is asked), ``models``, ``training``, ``evaluation``. Importing ``alignx`` imports none of them.
"""

__version__ = "0.1.0"
