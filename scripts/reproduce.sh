#!/usr/bin/env bash
# Every table of the paper, step by step, with the time each step takes and the numbers to expect.
#
#   bash scripts/reproduce.sh                  on a laptop: the stand-in model and a synthetic world, no download (7 minutes on 2 cores)
#   bash scripts/reproduce.sh paper            the paper's models and benchmarks (GPUs, access to the weights and the data)
#   bash scripts/reproduce.sh paper STEP …     only these: check, directions, tables, novel
#
# On a laptop: SEED=1 is another world, QUICK=1 too short to learn anything, OUT=… another folder than out/demo.
#
# Each step goes on where it was interrupted and does nothing where it is finished, so giving the command again is always right.
# For `paper`:
#   DATA=data/paper        the benchmark files, under the names in configs/eval/benchmarks/
#   OUT=out/paper          scores, reports (a folder a step)
#   POLICIES='[{"name": "Mine", "model": "out/ica", "method": "ica"}]'   your checkpoints in place of the published ones
#   REFERENCE=…            the model they were trained from, if not Llama-3.1-8B-Instruct
#   NPROC=8                processes that share the records, one a GPU
#   ANNOTATOR="--model Qwen/Qwen2.5-14B-Instruct --base-url http://localhost:8000/v1"   who infers directions (flags of alignx annotate)
#   LARGER_REFERENCE=meta-llama/Meta-Llama-3-70B-Instruct                              for Table 9
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n[%4d s] %s\n' "$SECONDS" "$*"; }

# --- On a laptop -------------------------------------------------------------------------------------------------------------------

laptop() {
  local out=${OUT:-out/demo} seed=${SEED:-0} judge=--expectations test=640
  export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc 2>/dev/null || echo 2)} TRANSFORMERS_VERBOSITY=error HF_HUB_DISABLE_PROGRESS_BARS=1
  if [[ -n ${QUICK:-} ]]; then
    judge=--no-expectations test=40
    if [[ -z ${OUT:-} ]]; then out=out/demo-quick; fi
  elif [[ -z ${OUT:-} && $seed != 0 ]]; then
    out+=-$seed
  fi

  # 1. A world whose truth is known, a small model that reads, ICA and PBA trained on it. 5 minutes; 92 % and 92 % with the user's own
  #    persona, 50 % with none and with somebody else's (README.md has three seeds with intervals).
  OUT=$out bash scripts/demo.sh

  # 2. Other users of the same kind with 16 comments and 16 choices each, for accuracy as the history grows. 4 seconds.
  say "a world with long histories"
  if [[ ! -e $out/long/manifest.json ]]; then
    alignx data synthesize --output "$out/long" --seed "$seed" --dimensions demo --wordings 2 --active 6,6 --mentions 0.6,0.4 \
      --comments 16 --choices 16 --described 0 --label-noise 0.05 --train 2 --test "$test"
  fi

  # 3. The tables. 2 minutes; 13 of 13 expectations hold: own persona above 70 % and above another user's, golden at least as good as the
  #    history's profile, turned round by the opposite persona (10 % ICA, 8 % PBA), and growing with comments: ICA 76 % with 1, 90 % with
  #    16; PBA 79 % and 92 %.
  say "the tables"
  alignx evaluate --config configs/eval/world.yaml --root "$out" --output "$out/tables" "$judge"
}

# --- The paper ---------------------------------------------------------------------------------------------------------------------

data=${DATA:-data/paper} out=${OUT:-out/paper} own=() unread=()
if [[ -n ${POLICIES:-} ]]; then own+=(--policies "$POLICIES"); fi
if [[ -n ${REFERENCE:-} ]]; then own+=(--reference "$REFERENCE"); fi

# The benchmark files, one a line: the name in $data, and where to read it, which is the hub for AlignX_test where it is not in $data.
names() {
  sed -n 's/.*data: \([^,}]*\), \(hub: \([^,}]*\), \)\{0,1\}n: .*/\1 \3/p' configs/eval/benchmarks/{uf-p-4,prism,p-soups,alignx-test,alignx-test-16}.yaml |
    while read -r name hub; do
      if [[ -f $data/$name ]]; then echo "$name $data/$name"; elif [[ -n $hub ]]; then echo "$name $hub"; fi
    done
}

# Runs alignx in NPROC processes, which share the records.
shared() {
  if [[ ${NPROC:-1} -gt 1 ]]; then torchrun --nproc_per_node "$NPROC" -m alignx "$@"; else alignx "$@"; fi
}

# Is each file what it should be? Counts, lengths, repeated targets, histories that hold their own target. Seconds a file.
# Expect: UF-P-4 2,988 records in four files, PRISM 868 stated (845 fits the published values), P-Soups 600 + 602 + 600, AlignX_test 3,716
# in each file; student_phd.json has 237 distinct targets and one history with its own target.
check() {
  mkdir -p "$out/data"
  local name where
  while read -r name where; do
    say "$name"
    alignx data report --data "$where" --output "$out/data/${name//\//-}" || unread+=("$name")
  done < <(names)
}

# The preference direction of every history item, which PBA's profile is made of (the paper asks Qwen2.5-14B-Instruct). Files whose items
# have directions keep them, and cost nothing. Without ANNOTATOR the step is skipped, and cells that need it say so.
directions() {
  if [[ -z ${ANNOTATOR:-} ]]; then
    say "directions: skipped, ANNOTATOR is not set; PBA on files without directions and ready profiles stays empty"
    return
  fi
  local name where
  while read -r name where; do
    say "directions of $name"
    # shellcheck disable=SC2086  # several flags
    alignx annotate directions --data "$where" --output "$data/inferred/${name%.*}.jsonl" $ANNOTATOR || unread+=("$name")
  done < <(names)
}

# Tables 3, 6 and 8, Figure 3 and every control, and Table 9 with LARGER_REFERENCE: 130,000 pairs of responses an ICA policy and 170,000 a
# PBA one, and as many of the reference; we have not timed them on a GPU. Expect the published values, which stand beside. They come without
# intervals; that of 3,716 records reaches about 1.6 points to each side.
tables() {
  local larger=() model=${LARGER_REFERENCE:-}
  model=${model%/}
  if [[ -n $model ]]; then
    larger=(--references "[{\"name\": \"${model##*/}\", \"model\": \"$model\", \"conditions\": [\"own persona\"]}]")
  fi
  shared evaluate --config configs/eval/paper.yaml --root "$data" --output "$out/tables" ${own[@]+"${own[@]}"} ${larger[@]+"${larger[@]}"}
}

# Table 5: dimensions that the first training never saw; docs/novel-preferences.md makes the models. Published: 51.8, 53.6, 53.7 %; n = 1,000.
novel() {
  if [[ ! -f $data/novel/test.jsonl ]]; then
    say "novel: skipped, $data/novel/test.jsonl is not there"
    return
  fi
  shared evaluate --config configs/eval/paper-novel.yaml --root "$data" --output "$out/novel" ${own[@]+"${own[@]}"}
}

case ${1:-laptop} in
laptop) laptop ;;
paper)
  shift
  steps=("$@")
  if [[ $# == 0 ]]; then steps=(check directions tables novel); fi
  for step in "${steps[@]}"; do
    if [[ ! $step =~ ^(check|directions|tables|novel)$ ]]; then
      echo "reproduce.sh: error: no step $step, expected check, directions, tables or novel" >&2
      exit 2
    fi
  done
  for step in "${steps[@]}"; do "$step"; done
  if [[ -n ${unread[*]-} ]]; then
    say "not all of it: ${unread[*]}; what was said above tells why"
    exit 6
  fi
  ;;
-h | --help) sed -n '2,18{s/^# \{0,1\}//;p}' "$0" ;;
*)
  echo "reproduce.sh: error: got '$1', expected paper, or nothing for the laptop" >&2
  exit 2
  ;;
esac
