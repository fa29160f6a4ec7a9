"""A response to each prompt under preference-bridged alignment (the preference direction, in words); paper §5, Eq. 2.

python eval/gen_pba.py --model out/pba --data data/sample/test.jsonl --output out/pba-responses.jsonl
"""

from alignx.cli import generate
from alignx.prompts import Method

if __name__ == "__main__":
    generate(Method.PBA)
