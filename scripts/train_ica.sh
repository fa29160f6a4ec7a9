#!/usr/bin/env bash
# Train ICA as published; every flag goes on to `alignx train` and overrides configs/train/ica.yaml.
#   bash scripts/train_ica.sh --help
#   bash scripts/train_ica.sh --model out/tiny --data data/sample/train.jsonl --output out/ica --global-batch 16
exec bash "$(dirname "$0")/launch.sh" ica "$@"
