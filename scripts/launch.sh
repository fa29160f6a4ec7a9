#!/usr/bin/env bash
# What train_ica.sh and train_pba.sh share: check the settings, then train under accelerate's launcher.
#   bash scripts/launch.sh ica|pba FLAGS …
# On one machine it starts a process for every visible GPU, or one on the CPU. Anything else is yours to say:
#   ACCELERATE_ARGS="--config_file configs/accelerate/….yaml" bash scripts/train_ica.sh …
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
method=$1
shift
command=(train --config "$root/configs/train/$method.yaml" "$@")

python -m alignx "${command[@]}" --check # an impossible setting is refused here, before anything is loaded
for flag in "$@"; do
  if [[ $flag == --help || $flag == -h ]]; then exit 0; fi
done

if [[ -n ${CUDA_VISIBLE_DEVICES+set} ]]; then
  gpus=$(tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -c . || true)
else
  gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU' || true)
fi
if [[ -n ${ACCELERATE_ARGS:-} ]]; then
  read -ra launch <<<"$ACCELERATE_ARGS"
else
  launch=(--num_processes "$((gpus > 1 ? gpus : 1))" --num_machines 1 --mixed_precision no --dynamo_backend no)
  if ((gpus > 1)); then launch+=(--multi_gpu); fi
fi

# Launchers turn every failure of a worker into 1; the documented code comes back through this file.
ALIGNX_EXIT_FILE=$(mktemp)
export ALIGNX_EXIT_FILE
trap 'rm -f "$ALIGNX_EXIT_FILE"' EXIT
status=0
accelerate launch --quiet "${launch[@]}" -m alignx "${command[@]}" || status=$?
if ((status)) && [[ -s $ALIGNX_EXIT_FILE ]]; then status=$(<"$ALIGNX_EXIT_FILE"); fi
exit "$status"
