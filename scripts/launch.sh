#!/usr/bin/env bash
# What train_ica.sh and train_pba.sh share: check the settings, then train under accelerate's launcher.
#   bash scripts/launch.sh ica|pba FLAGS …
# On one machine it starts a process for every visible GPU under ZeRO-3, or one on the CPU. Anything else is yours to say:
#   ACCELERATE_ARGS="--config_file configs/accelerate/zero2.yaml --num_processes 4" bash scripts/train_ica.sh …
# SIGTERM, SIGUSR1 or SIGHUP save a checkpoint after the present step, and the script leaves with 85: start it again with
# the same flags to go on. A second Ctrl-C does not wait. Nothing that it started outlives it,
# unless it is killed with SIGKILL itself; what is left of it then holds the output against a second start.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
method=$1
shift
config=$root/configs/train/$method.yaml
command=(train)
given=$config
asked_for=$method
for ((i = 1; i <= $#; i++)); do
  next=$((i + 1))
  case ${!i} in
  --config) given=${!next:-} ;;
  --config=*) given=${!i#--config=} ;;
  --method) asked_for=${!next:-} ;;
  --method=*) asked_for=${!i#--method=} ;;
  esac
done
if [[ $given == "$config" ]]; then
  command+=(--config "$config")
elif [[ -f $given ]] && ! grep -Eq "^method: *$method *(#.*)?$" "$given"; then
  echo "train_$method.sh: error: $given does not say \`method: $method\`, expected a file for train_$method.sh" >&2
  exit 2
fi
command+=("$@")
if [[ $asked_for != "$method" ]]; then
  echo "train_$method.sh: error: --method: got '$asked_for', but this script is for '$method'" >&2
  exit 2
fi

output=$(python -m alignx "${command[@]}" --check) # an impossible setting is refused here, before anything is loaded
for flag in "$@"; do
  if [[ $flag == --help || $flag == -h ]]; then
    printf '%s\n' "$output"
    exit 0
  fi
done

if [[ -n ${CUDA_VISIBLE_DEVICES+set} ]]; then
  gpus=$(tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -c . || true)
else
  gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU' || true)
fi
if [[ -n ${ACCELERATE_ARGS:-} ]]; then
  read -ra launch <<<"$ACCELERATE_ARGS"
else
  launch=(--num_processes "$((gpus > 1 ? gpus : 1))")
  if ((gpus > 1)); then
    launch+=(--config_file "$root/configs/accelerate/zero3.yaml")
  else
    launch+=(--num_machines 1 --mixed_precision no --dynamo_backend no)
  fi
fi

# Launchers turn every failure of a worker into 1; the documented code comes back through this file.
ALIGNX_EXIT_FILE=$(mktemp)
export ALIGNX_EXIT_FILE
# Time for workers to save before the launcher kills them; above what saving takes.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-900}

set -m # the launcher and its workers get a process group of their own, whose number is $group
accelerate launch --quiet "${launch[@]}" -m alignx "${command[@]}" &
group=$!
set +m
alive() { kill -0 -- "-$group" 2>/dev/null; }
signalled=0 asked=0 interrupts=0
pass_on() {
  signalled=1
  kill "-$1" -- "-$group" 2>/dev/null || true
}
interrupt() {
  interrupts=$((interrupts + 1))
  if ((interrupts > 1)); then pass_on KILL; else pass_on INT; fi
}
trap 'asked=1; pass_on TERM' TERM USR1 HUP
trap interrupt INT
trap 'kill -KILL -- "-$group" 2>/dev/null || true; rm -f "$ALIGNX_EXIT_FILE"' EXIT

while :; do
  status=0 signalled=0
  wait "$group" || status=$?
  if ((!signalled)); then break; fi # else a signal has ended `wait` early
done
while alive; do sleep 0.2; done # a launcher may go before its worker has saved
if [[ -s $ALIGNX_EXIT_FILE ]]; then
  status=$(<"$ALIGNX_EXIT_FILE")
elif ((asked && status)); then
  status=85 # stopped before training could answer: nothing was begun that the next start would miss
fi
if ((interrupts)); then status=130; fi
exit "$status"
