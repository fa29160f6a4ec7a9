#!/usr/bin/env bash
# Train PBA as published; every flag goes on to `alignx train` and overrides configs/train/pba.yaml.
#   bash scripts/train_pba.sh --help
#   bash scripts/train_pba.sh --model out/tiny --data data/sample/train.jsonl --output out/pba --global-batch 16
exec bash "$(dirname "$0")/launch.sh" pba "$@"
