#!/usr/bin/env bash
# The whole method on a laptop, no download: a synthetic world whose truth is known, a small model that learns to read,
# ICA and PBA trained on it by DPO, every control, a report; then responses, compared by an oracle that knows the truth.
# About 5 minutes on 2 cores.
#   bash scripts/demo.sh            results in out/demo (OUT=… for another folder)
#   SEED=1 bash scripts/demo.sh     another world, other weights
#   QUICK=1 bash scripts/demo.sh    under 2 minutes, too short to learn anything: only shows that everything runs
# A second run does not repeat what is finished.
set -euo pipefail
cd "$(dirname "$0")/.."
seed=${SEED:-0}
train=4000 test=640 corpus=32000 reading=1000 steps=125 answers=320 judge=--expectations
if [[ -n ${QUICK:-} ]]; then train=64 test=40 corpus=400 reading=20 steps=2 answers=16 judge=--no-expectations; fi
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
    --train "$train" --test "$test" --corpus "$corpus" --conversations 0.2
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

# respond NAME SCRIPT FLAG…: sampled as in the paper, but short: replies of this world have 5 to 9 tokens. Who goes on
# for longer than 24 is cut off, and counted.
respond() {
  local name=$1 script=$2
  shift 2
  python "eval/$script.py" "$@" --data "$out/world/test.jsonl" --limit "$answers" --max-new-tokens 24 \
    --output "$out/responses/$name.jsonl"
}

# Each policy; the reference on the same prompts; and the policy when it is told of another user.
responses() {
  local method
  for method in ica pba; do
    respond "$method" "gen_$method" --model "$out/$method"
    respond "$method-reference" gen_few_shot --like "$out/responses/$method.jsonl" --model "$out/tiny"
    respond "$method-other-user" "gen_$method" --model "$out/$method" --persona other
  done
}

# compare CANDIDATE BASELINE WHAT FLAG…: judged by the oracle.
compare() {
  local name=$1-against-$2 candidate=$out/responses/$1.jsonl baseline=$out/responses/$2.jsonl what=$3
  shift 3
  python eval/win_rate.py --candidate "$candidate" --baseline "$baseline" --data "$out/world/test.jsonl" --limit "$answers" \
    --judge-model synthetic-world-oracle --base-url "$url" --benchmark "synthetic world, by an oracle: $what" \
    --output "$out/win-rates/$name" "$@"
  runs+=${runs:+,}$out/win-rates/$name
}

# The oracle answers from a free port while the comparisons run, and ends with them or with this script.
win_rates() {
  if [[ -e $out/win-rates/manifest.json ]]; then return; fi
  local url= runs= said=$out/oracle.txt
  alignx judge oracle --world "$out/world" --port 0 >"$said" 2>&1 &
  oracle=$!
  trap 'kill "$oracle" 2>/dev/null || true' EXIT
  until url=$(grep -om1 'http://.*/v1$' "$said"); do
    if ! kill -0 "$oracle" 2>/dev/null; then cat "$said" >&2; return 1; fi
    sleep 0.2
  done
  compare ica ica-reference "trained or not"
  compare pba pba-reference "trained or not"
  compare ica ica-other-user "told of this user or of another" --may-differ persona
  compare pba pba-other-user "told of this user or of another" --may-differ persona
  compare ica pba "which method"
  alignx judge table --output "$out/win-rates" --runs "$runs"
  kill "$oracle"
  wait "$oracle" || true
  trap - EXIT
}

part "synthetic world" "$out/world/manifest.json" "a world of users whose preferences are known" world
part "pre-training" "$out/tiny/manifest.json" "a model of 0.7 million parameters learns to read" model
part "ICA training" "$out/ica/manifest.json" "ICA: DPO with the persona in the prompt" dpo ica
part "PBA training" "$out/pba/manifest.json" "PBA: DPO with the preference direction in words" dpo pba
part "responses" "$out/responses/pba-other-user.jsonl.manifest.json" "responses of ICA, PBA and the reference" responses
part "win rates" "$out/win-rates/manifest.json" \
  "which response suits the user: the verdicts of an oracle for a synthetic world, not of a real judge" win_rates
printf '\n[%3d s] every condition scored, and a report\n' "$SECONDS"
report

cat <<END

[$SECONDS s] done. In $out:
  report/report.html        accuracies and win rates with intervals, curves, examples (report.md is the same for a terminal)
  ica/ pba/                 checkpoints, each with curves.png, metrics.jsonl, settings.json and a manifest
  report/scores/            log-probabilities of both responses, a line a record
  responses/                what ICA, PBA and the reference say, a line a record
  win-rates/win-rates.html  how often a response suits the user better: by an oracle for a synthetic world, which knows
                            each user's preferences, not by a real judge (a folder a comparison has its report)

The published commands make the same numbers one by one:
  python eval/loss_ica.py --model $out/ica --data $out/world/test.jsonl --output $out/ica.jsonl
  python eval/loss_few_shot.py --like $out/ica.jsonl --model $out/tiny --data $out/world/test.jsonl --output $out/reference.jsonl
  python eval/acc.py --policy $out/ica.jsonl --reference $out/reference.jsonl
README.md has real checkpoints and your own users' data.
END
