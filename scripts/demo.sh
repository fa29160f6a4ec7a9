#!/usr/bin/env bash
# The whole method on a laptop, no download: a synthetic world whose truth is known, a small model that learns to read,
# ICA and PBA trained on it by DPO, every control, a report. About 7 minutes on 2 cores.
#   bash scripts/demo.sh            results in out/demo (OUT=… for another folder)
#   SEED=1 bash scripts/demo.sh     another world, other weights
#   QUICK=1 bash scripts/demo.sh    under 2 minutes, too short to learn anything: only shows that everything runs
# A second run does not repeat what is finished.
set -euo pipefail
cd "$(dirname "$0")/.."
seed=${SEED:-0}
train=4000 test=640 corpus=32000 reading=1000 steps=125 judge=--expectations
if [[ -n ${QUICK:-} ]]; then train=64 test=40 corpus=400 reading=20 steps=2 judge=--no-expectations; fi
out=${OUT:-out/demo}
if [[ -z ${OUT:-} && -n ${QUICK:-} ]]; then out=out/demo-quick; fi
if [[ -z ${OUT:-} && $seed != 0 ]]; then out+=-$seed; fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc 2>/dev/null || echo 2)} TRANSFORMERS_VERBOSITY=error HF_HUB_DISABLE_PROGRESS_BARS=1
mkdir -p "$out"

# part NAME MARK WHAT COMMAND…: says what begins, and notes how long it took unless MARK shows that it was done before.
# (alignx evaluate notes its own time beside its report.)
part() {
  local name=$1 mark=$2 what=$3 begun=$SECONDS known=
  shift 3
  if [[ -e $mark ]]; then known=1; fi
  printf '\n[%3d s] %s\n' "$SECONDS" "$what"
  "$@"
  if [[ -z $known ]]; then printf '{"part": "%s", "seconds": %d}\n' "$name" $((SECONDS - begun)) >>"$out/timings.jsonl"; fi
}

# 16 of the 90 dimensions, two wordings a pole, five labels in a hundred wrong.
world() {
  if [[ -e $out/world/manifest.json ]]; then return; fi
  alignx data synthesize --output "$out/world" --seed "$seed" --dimensions demo --wordings 2 --active 6,6 \
    --mentions 0.6,0.4 --comments 3 --choices 1 --described 0 --label-noise 0.05 \
    --train "$train" --test "$test" --corpus "$corpus"
}

# Learns to read from documents about training users, in no format of the task.
model() {
  if [[ -e $out/tiny/manifest.json ]]; then return; fi
  alignx tiny-model --output "$out/tiny" --size 0.7m --pieces phrases --seed "$seed" --data "$out/world/train.jsonl" \
    --train "$out/world/corpus.jsonl" --probe "$out/world/probe.jsonl" --steps "$reading"
}

dpo() {
  bash "scripts/train_$1.sh" --model "$out/tiny" --data "$out/world/train.jsonl" --output "$out/$1" --seed "$seed" \
    --global-batch 32 --micro-batch 32 --max-steps "$steps" --learning-rate 7e-4 --no-gradient-checkpointing
}

report() {
  alignx evaluate --config configs/eval/demo.yaml --root "$out" --output "$out/report" "$judge"
}

part "synthetic world" "$out/world/manifest.json" "a world of users whose preferences are known" world
part "pre-training" "$out/tiny/manifest.json" "a model of 0.7 million parameters learns to read" model
part "ICA training" "$out/ica/manifest.json" "ICA: DPO with the persona in the prompt" dpo ica
part "PBA training" "$out/pba/manifest.json" "PBA: DPO with the preference direction in words" dpo pba
printf '\n[%3d s] every condition scored, and a report\n' "$SECONDS"
report

cat <<END

[$SECONDS s] done. In $out:
  report/report.html        accuracies with intervals, curves, examples (report.md is the same for a terminal)
  ica/ pba/                 checkpoints, each with curves.png, metrics.jsonl, settings.json and a manifest
  report/scores/            log-probabilities of both responses, a line a record

The published commands make the same numbers one by one:
  python eval/loss_ica.py --model $out/ica --data $out/world/test.jsonl --output $out/ica.jsonl
  python eval/loss_few_shot.py --like $out/ica.jsonl --model $out/tiny --data $out/world/test.jsonl --output $out/reference.jsonl
  python eval/acc.py --policy $out/ica.jsonl --reference $out/reference.jsonl
README.md has real checkpoints and your own users' data.
END
