"""Alignment accuracy of a policy against a reference, with its interval; paper §5.

python eval/acc.py --policy out/ica.jsonl --reference out/base.jsonl
"""

from alignx.cli import accuracy

if __name__ == "__main__":
    accuracy()
