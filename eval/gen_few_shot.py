"""Responses of a model that was not trained for it, the reference, told what a policy was told.

python eval/gen_few_shot.py --like out/ica-responses.jsonl --model out/tiny --data data/sample/test.jsonl
--output out/base-responses.jsonl
"""

from alignx.cli import generate

if __name__ == "__main__":
    generate(None)
