#!/bin/sh
# How often a verdict of non-inferiority is wrong, by simulation: the tables of docs/evidence.md, in a few minutes on one core.
#   scripts/verdict_error.sh [SAMPLES [losses | labels | sets]]
set -eu
cd "$(dirname "$0")/.."
exec cargo run --quiet -p ampoule-eval --example verdict_error -- "${@:-2000}"
