"""Win rate of a candidate's responses over a baseline's, as a judge finds; paper §5, Table 4.

python eval/win_rate.py --candidate out/gen-ica.jsonl --baseline out/gen-base.jsonl --data data/sample/test.jsonl
    --judge-model my-judge --base-url http://localhost:8000/v1 --output out/win-rate
"""

from alignx.cli import win_rate

if __name__ == "__main__":
    win_rate()
