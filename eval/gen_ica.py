"""A response to each prompt under in-context alignment (the persona in the prompt); paper §5, Eq. 1.

python eval/gen_ica.py --model out/ica --data data/sample/test.jsonl --output out/ica-responses.jsonl
"""

from alignx.cli import generate
from alignx.prompts import Method

if __name__ == "__main__":
    generate(Method.ICA)
