"""Log-probabilities of both responses under in-context alignment (the persona in the prompt); paper §5, Eq. 1.

python eval/loss_ica.py --model out/ica --data data/sample/test.jsonl --output out/ica.jsonl
"""

from alignx.cli import score
from alignx.prompts import Method

if __name__ == "__main__":
    score(Method.ICA)
