#!/usr/bin/env bash
# The whole path on a laptop: a stand-in model, ICA and PBA trained by DPO on the shipped sample, both scored against the
# model they started from, alignment accuracies. About 4 minutes on 2 cores; QUICK=1 takes about 2.
#   bash scripts/demo.sh            results in out/demo (OUT=… for another folder)
# The stand-in starts from random weights and the sample is synthetic: this shows that everything runs, not how well the
# method works. A second run does not repeat what is finished.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${OUT:-out/demo}
steps=40
if [[ -n ${QUICK:-} ]]; then steps=4; fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc 2>/dev/null || echo 2)} TRANSFORMERS_VERBOSITY=error HF_HUB_DISABLE_PROGRESS_BARS=1

started=$SECONDS
say() { printf '\n[%3d s] %s\n' "$((SECONDS - started))" "$1"; }

say "1/4  a stand-in model: a small Llama with random weights and its own tokenizer"
if [[ ! -f $out/tiny/manifest.json ]]; then alignx tiny-model --output "$out/tiny" --size 0.2m; fi

for method in ica pba; do
  say "2/4  ${method^^}: $steps steps of DPO with TRL on data/sample/train.jsonl"
  bash "scripts/train_$method.sh" --model "$out/tiny" --data data/sample/train.jsonl --output "$out/$method" \
    --global-batch 16 --micro-batch 8 --max-steps "$steps" --learning-rate 2e-3 --eval-rows 32 --no-gradient-checkpointing
done

for method in ica pba; do
  say "3/4  ${method^^}: log-probabilities of both responses, policy and reference, on data/sample/test.jsonl"
  python "eval/loss_$method.py" --model "$out/$method" --data data/sample/test.jsonl --output "$out/$method.jsonl"
  python eval/loss_few_shot.py --like "$out/$method.jsonl" --model "$out/tiny" --data data/sample/test.jsonl \
    --output "$out/$method-reference.jsonl"
done

for method in ica pba; do
  say "4/4  ${method^^}: alignment accuracy"
  python eval/acc.py --policy "$out/$method.jsonl" --reference "$out/$method-reference.jsonl" --output "$out/$method-accuracy.json"
done

say "done. In $out:"
cat <<END
  ica/ pba/                 checkpoints, each with curves.png, metrics.jsonl, settings.json and a manifest
  ica.jsonl pba.jsonl       log-probabilities of both responses, a line a record, with a manifest beside each
  *-accuracy.json           accuracies with n, ties and a 95 % interval

Next: look at $out/ica/curves.png, at what a model is told
  alignx data preview --data data/sample/test.jsonl --row 1 --method pba --model $out/tiny
and at README.md for real checkpoints and your own users' data.
END
