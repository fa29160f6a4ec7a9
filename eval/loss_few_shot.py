"""Log-probabilities of both responses under a model that was not trained for it: the reference, told the same.

python eval/loss_few_shot.py --like out/ica.jsonl --model out/tiny --data data/sample/test.jsonl --output out/base.jsonl
"""

from alignx.cli import score

if __name__ == "__main__":
    score(None)
