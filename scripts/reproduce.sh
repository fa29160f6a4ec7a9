#!/usr/bin/env bash
# Every table of the paper, step by step, with the time each step takes and the numbers to expect.
#
#   bash scripts/reproduce.sh                  on a laptop: the stand-in model and a synthetic world, no download (7 minutes on 2 cores)
#   bash scripts/reproduce.sh paper            the paper's models and benchmarks (GPUs, access to the weights and the data)
#   bash scripts/reproduce.sh paper STEP …     only these: check, directions, win_rates, tables, novel
#
# On a laptop: SEED=1 is another world, QUICK=1 too short to learn anything, OUT=… another folder than out/demo.
#
# Each step goes on where it was interrupted and does nothing where it is finished, so giving the command again is always right.
# For `paper`:
#   DATA=data/paper        the benchmark files, under the names in configs/eval/benchmarks/
#   OUT=out/paper          scores, responses, reports (a folder a step)
#   POLICIES='[{"name": "Mine", "model": "out/ica", "method": "ica"}]'   your checkpoints in place of the published ones
#   REFERENCE=…            the model they were trained from, if not Llama-3.1-8B-Instruct
#   NPROC=8                processes that share the records, one a GPU
#   ANNOTATOR="--model Qwen/Qwen2.5-14B-Instruct --base-url http://localhost:8000/v1"   who infers directions (flags of alignx annotate)
#   JUDGE="--judge-model my-judge --base-url http://localhost:8000/v1"                 who compares responses (flags of alignx judge win-rate)
#   PAIRS=400              responses that are compared a benchmark
#   ICA_MODEL=… PBA_MODEL=…                  whose responses, if not those of the paper's models
#   TEST_FILE=Reddit_UGC   which file of AlignX_test is compared; Table 4 does not say which it was
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

  # 1. A world whose truth is known, a small model that reads, ICA and PBA trained on it. 5 minutes; 95 % and 96 % with the user's own
  #    persona, 50 % with none and with somebody else's (README.md has three seeds with intervals).
  OUT=$out bash scripts/demo.sh

  # 2. Other users of the same kind with 16 comments and 16 choices each, for accuracy as the history grows. 4 seconds.
  say "a world with long histories"
  if [[ ! -e $out/long/manifest.json ]]; then
    alignx data synthesize --output "$out/long" --seed "$seed" --dimensions demo --wordings 2 --active 6,6 --mentions 0.6,0.4 \
      --comments 16 --choices 16 --described 0 --label-noise 0.05 --train 2 --test "$test"
  fi

  # 3. The tables. 2 minutes; 13 of 13 expectations hold: own persona above 70 % and above another user's, golden at least as good as the
  #    history's profile, turned round by the opposite persona (4 % ICA, 4 % PBA), and growing with comments: ICA 83 % with 1, 93 % with
  #    16; PBA 82 % and 93 %.
  say "the tables"
  alignx evaluate --config configs/eval/world.yaml --root "$out" --output "$out/tables" "$judge"
}

# --- The paper ---------------------------------------------------------------------------------------------------------------------

data=${DATA:-data/paper} out=${OUT:-out/paper} own=() unread=()
if [[ -n ${POLICIES:-} ]]; then own+=(--policies "$POLICIES"); fi
if [[ -n ${REFERENCE:-} ]]; then own+=(--reference "$REFERENCE"); fi

# The files that benchmarks declare, one a line: the name in $data, and the hub's where there is one.
declared() {
  sed -n 's/.*data: \([^,}]*\), \(hub: \([^,}]*\), \)\{0,1\}n: .*/\1 \3/p' "${@/#/configs/eval/benchmarks/}"
}

# All that are there: the name in $data, and where to read it, which is the hub for AlignX_test where it is not in $data.
names() {
  declared {uf-p-4,prism,p-soups,alignx-test,alignx-test-16}.yaml |
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

# Table 4: which response suits the user better, of AlignXpert-ICA, AlignXpert-PBA and the reference, which reads each one's prompts.
# Sampled as in the paper: 512 tokens, temperature 0.9, top-k 10, top-p 0.95, the defaults of alignx generate. 400 pairs a benchmark,
# divided evenly among its files, since these count alike: 1,602 of each comparison, 6,408 responses and at most 9,612 requests to the
# judge; we have timed none of it. The published figures stand beside, but do not expect the same: their judge is shut down, and its words
# were never released. What needs PBA is left out where a file has neither directions nor ready profiles. With --max-cost the limit is
# one for all comparisons. For another judge move $OUT/win-rates away; the responses stay.
win_rates() {
  if [[ -z ${JUDGE:-} ]]; then
    say "win_rates: skipped, JUDGE is not set; Table 4 is what a judge says"
    return
  fi
  # Which file of AlignX_test it was is nowhere said. UGC, the user's own comments, and PAIR are the honest test: the descriptions in DEMO
  # and arbitrary were written by a model that saw the target pair.
  local test_file=${TEST_FILE:-Reddit_UGC} runs=()
  if ! declared alignx-test.yaml | grep -qF "/$test_file.json "; then
    echo "reproduce.sh: error: TEST_FILE is $test_file, expected Reddit_UGC, Reddit_PAIR, Reddit_DEMO or Reddit_arbitrary" >&2
    exit 2
  fi
  compared UF-P-4 < <(declared uf-p-4.yaml)
  compared PRISM < <(declared prism.yaml)
  compared P-Soups < <(declared p-soups.yaml)
  compared AlignX_test < <(declared alignx-test.yaml | grep -F "/$test_file.json ")
  if [[ ${#runs[@]} == 0 ]]; then
    say "win_rates: no comparison is finished"
    return
  fi
  say "Table 4"
  alignx judge table --runs "$(IFS=, && echo "${runs[*]}")" --output "$out/win-rates"
}

# One benchmark of Table 4, whose files are read from the input.
compared() {
  local benchmark=$1 names=() hubs=() ica=() pba=() name hub i where folder
  while read -r name hub; do names+=("$name") hubs+=("$hub"); done
  for i in "${!names[@]}"; do
    name=${names[i]} where=${hubs[i]}
    if [[ -f $data/$name ]]; then where=$data/$name; fi
    # The copy with inferred directions, which PBA needs, and for all: two responses are compared on the same records.
    if [[ -f $data/inferred/${name%.*}.jsonl ]]; then where=$data/inferred/${name%.*}.jsonl; fi
    if [[ -z $where ]]; then
      say "$benchmark: $data/$name is not there, so it is in no win rate"
      unread+=("$name")
      continue
    fi
    say "responses to $name"
    if ! folder=$(drawn "$where" $(((${PAIRS:-400} + ${#names[@]} - 1) / ${#names[@]})) "$name") ||
      ! answered ica "${ICA_MODEL:-$(model_of AlignXpert-ICA)}" "$folder"; then
      unread+=("$name")
      continue
    fi
    ica+=("$folder")
    if answered pba "${PBA_MODEL:-$(model_of AlignXpert-PBA)}" "$folder"; then pba+=("$folder"); else unread+=("$name"); fi
  done
  judged "AlignXpert-ICA vs base" ica ica-base "$benchmark" ${#names[@]} ${ica[@]+"${ica[@]}"}
  judged "AlignXpert-PBA vs base" pba pba-base "$benchmark" ${#names[@]} ${pba[@]+"${pba[@]}"}
  judged "AlignXpert-ICA vs AlignXpert-PBA" ica pba "$benchmark" ${#names[@]} ${pba[@]+"${pba[@]}"}
}

# The hub id of one of the paper's models. Table 4 does not say which share of the data its models were trained on; we take all of it.
model_of() { sed -n "s/.*{name: $1, model: \([^,]*\),.*/\1/p" configs/eval/paper.yaml; }

# drawn FILE NUMBER NAME: so many of its records, drawn by their ids as alignx judge win-rate --pairs draws, in a folder that it says.
# Not the first ones (--limit), which may be all of a kind: P-Soups has 300 records of each side of a dimension. The folder's name has a
# digest of what was drawn, so that another number, or directions that were inferred since, get another folder.
drawn() {
  python - "$1" "$2" "$out/responses/${3//\//-}" <<'END'
import json
import sys
from pathlib import Path

from alignx.errors import AlignXError
from alignx.judging.pairs import draw
from alignx.manifest import digest, write_text
from alignx.records import Records

source, number, stem = sys.argv[1:]
records = Records(source)
try:
    ids = {record.id for record in draw(records, int(number))}
    rows = [json.dumps({**row, "id": record.id}) for record, row in records.with_rows() if record.id in ids]
except AlignXError as error:
    sys.exit(f"reproduce.sh: error: {error}")
folder = Path(f"{stem}-{digest(rows)[:8]}")
if not (folder / "records.jsonl").exists():
    write_text(folder / "records.jsonl", "\n".join(rows) + "\n")
print(folder)
END
}

# answered METHOD MODEL FOLDER: the responses of a policy to the records of a folder, and the reference's to the very same prompts.
answered() {
  local reference=${REFERENCE:-$(sed -n 's/^reference: //p' configs/eval/paper.yaml)}
  shared generate --method "$1" --model "$2" --data "$3/records.jsonl" --output "$3/$1.jsonl" &&
    shared generate --like "$3/$1.jsonl" --model "$reference" --data "$3/records.jsonl" --output "$3/$1-base.jsonl"
}

# judged ROW CANDIDATE BASELINE BENCHMARK FILES FOLDER…: a comparison in each folder, added to $runs. Where some of the benchmark's
# files are missing it says so in its name, and the published figure, which is of the whole, does not stand beside.
judged() {
  local row=$1 candidate=$2 baseline=$3 benchmark=$4 files=$5 beside folder output code
  shift 5
  beside=(--published "$row")
  if [[ $# -lt $files ]]; then benchmark+=", $# of its $files files" beside=(); fi
  for folder; do
    say "$row: ${folder##*/}"
    output=$out/win-rates/${folder##*/}/$candidate-against-$baseline code=0
    # shellcheck disable=SC2086  # several flags
    alignx judge win-rate --candidate "$folder/$candidate.jsonl" --baseline "$folder/$baseline.jsonl" --data "$folder/records.jsonl" \
      --benchmark "$benchmark" ${beside[@]+"${beside[@]}"} --output "$output" --replies "$out/win-rates/replies.jsonl" $JUDGE || code=$?
    case $code in
    0) ;;
    6) unread+=("${folder##*/}/$candidate-against-$baseline") ;;
    *) exit "$code" ;; # a judge that cannot be asked once cannot be asked again
    esac
    if [[ -f $output/manifest.json ]]; then runs+=("$output"); fi
  done
}

# Tables 3, 6 and 8, Figure 3 and every control, and Table 9 with LARGER_REFERENCE: 130,000 pairs of responses an ICA policy and 170,000 a
# PBA one, and as many of the reference; we have not timed them on a GPU. Expect the published values, which stand beside. They come without
# intervals; that of 3,716 records reaches about 1.6 points to each side.
tables() {
  local larger=() rates=() model=${LARGER_REFERENCE:-}
  model=${model%/}
  if [[ -n $model ]]; then
    larger=(--references "[{\"name\": \"${model##*/}\", \"model\": \"$model\", \"conditions\": [\"own persona\"]}]")
  fi
  # Relative names are looked up in $data.
  if [[ -f $out/win-rates/win-rates.json ]]; then rates=(--win-rates "$(cd "$out/win-rates" && pwd)"); fi
  shared evaluate --config configs/eval/paper.yaml --root "$data" --output "$out/tables" ${own[@]+"${own[@]}"} \
    ${larger[@]+"${larger[@]}"} ${rates[@]+"${rates[@]}"}
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
  trap 'exit 130' INT # commands end with this code by themselves, and the next would follow
  steps=("$@")
  if [[ $# == 0 ]]; then steps=(check directions win_rates tables novel); fi
  for step in "${steps[@]}"; do
    if [[ ! $step =~ ^(check|directions|win_rates|tables|novel)$ ]]; then
      echo "reproduce.sh: error: no step $step, expected check, directions, win_rates, tables or novel" >&2
      exit 2
    fi
  done
  for step in "${steps[@]}"; do "$step"; done
  if [[ -n ${unread[*]-} ]]; then
    say "not all of it: ${unread[*]}; what was said above tells why"
    exit 6
  fi
  ;;
-h | --help) sed -n '2,22{s/^# \{0,1\}//;p}' "$0" ;;
*)
  echo "reproduce.sh: error: got '$1', expected paper, or nothing for the laptop" >&2
  exit 2
  ;;
esac
