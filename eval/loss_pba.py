"""Log-probabilities of both responses under preference-bridged alignment (its direction in words); paper §5, Eq. 2.

python eval/loss_pba.py --model out/pba --data data/sample/test.jsonl --output out/pba.jsonl
"""

from alignx.cli import score
from alignx.prompts import Method

if __name__ == "__main__":
    score(Method.PBA)
