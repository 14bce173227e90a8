#!/usr/bin/env bash
# Writes the page of measured figures of cohorts, docs/cohort-figures.md: plans beside what runs took, registries on paper,
# Ray with one and two workers beside PyTorch in Ray, the wheel beside the binary, and the BIDS validator.
#
#   scripts/cohort_page.sh --ampoule PROGRAM --wheel FILE [--shared FOLDER] [--patches TABLE] [--commit HASH] [--quick] [--output FILE]
#
# PROGRAM is a release build, FILE the wheel of the same commit (scripts/wheel.sh --release); tools/peers.sh --cohorts installs what
# it runs beside. FOLDER holds `models/` and `data/` (default ../shared), TABLE the patches of scripts/paper_cases.py (default
# target/paper-cases/dfu_vgg11/test.csv), HASH the commit of both where it is not the present one; the slide is that of scripts/oracles.sh. --quick shows that all commands work, and its
# figures mean nothing. Let nothing else run meanwhile.
set -euo pipefail
cd "$(dirname "$0")/.."

shared=../shared
patches=target/paper-cases/dfu_vgg11/test.csv
output=docs/cohort-figures.md
program="" wheel="" quick=""
while [ $# -gt 0 ]; do
  case "$1" in
    --quick) quick=1; shift; continue ;;
    --ampoule) program=$(realpath "$2") ;;
    --wheel) wheel=$2 ;;
    --shared) shared=$2 ;;
    --patches) patches=$2 ;;
    --commit) measured=$2 ;;
    --output) output=$2 ;;
    *) sed -n '2,10p' "$0" >&2; exit 2 ;;
  esac
  shift 2
done
[ -n "$program" ] && [ -n "$wheel" ] || { sed -n '2,10p' "$0" >&2; exit 2; }
work=target/cohort-figures
rm -rf "$work"
mkdir -p "$work/bin" "$work/heads"
page=$work/page.md
# shellcheck source=scripts/page.sh
. scripts/page.sh
# Scripts start the program by its name.
ln -s "$program" "$work/bin/ampoule"
export PATH=$PWD/$work/bin:$PWD/.venv-bench/bin:$PATH
pip install --quiet --disable-pip-version-check --force-reinstall --no-deps "$wheel"
title "Measured figures of cohorts"
[ -z "$quick" ] || say "**Of a quick run: times mean nothing.**"

say "## The machine"
show sh -c "ampoule doctor | head -n 5"

say "## Plans and runs"
say "Every case is planned, then run by a process of its own: memory must not exceed the plan, and the plan not the memory by more than 15 % where it is no upper bound (what a first network cuts out of a head is not known before)."
cp "$shared"/data/brain/*.nii.gz assets/colin27.nii.gz "$work/heads"
tiles=$shared/data/he_train/images
photos=$(dirname "$patches")/test
show python scripts/verify_plan.py ampoule deepbet "$work/heads" "$work/plan" --threads 2
show python scripts/verify_plan.py --most 5 ampoule "$shared/models/he_resunet16.onnx" "$tiles" "$work/plan" --recipe recipes/glas.toml --threads 1
show python scripts/verify_plan.py --most 5 ampoule "$shared/models/dfu_vgg11.onnx" "$photos" "$work/plan" --recipe recipes/dfu.toml --threads 1

say "## A registry on paper"
say "100,000 heads and 10,000 slides, from the plan and a run of a sample: heads of three scanners, and one slide of 2,220 x 2,967 pixels, which is small: a slide of a whole biopsy has 10 to 100 times the pixels."
show sh -c "ampoule plan deepbet $work/heads --threads 2 --json > $work/heads.json"
show ampoule run deepbet "$work/heads" -o "$work/out_heads" --threads 2 --quiet
show python scripts/cohort_figures.py "$work/heads.json" --cases 100000 --outputs "$work/out_heads"
show sh -c "ampoule plan $shared/models/he_resunet16.onnx target/slides/default.svs --recipe recipes/glas.toml --threads 2 --json > $work/slides.json"
show ampoule run "$shared/models/he_resunet16.onnx" target/slides/default.svs -o "$work/out_slides" --recipe recipes/glas.toml --threads 2 --quiet
show python scripts/cohort_figures.py "$work/slides.json" --cases 10000 --outputs "$work/out_slides"

say "## Cases per hour in Ray"
say "The same photos through \`run_cohort\` and through PyTorch in Ray's actors."
show python scripts/cohort_scaling.py "$shared/models/dfu_vgg11.onnx" recipes/dfu.toml "$patches" "$work/scaling" ${quick:+--cases 20 --rounds 1}

say "## The wheel beside the binary"
show python scripts/wheel_speed.py ampoule assets/quick/discs.onnx "$shared/models/dfu_vgg11.onnx" "$shared/models/dfu_densenet121.onnx" "$shared/models/he_resunet16.onnx" \
  ${quick:+--rounds 1 --seconds 0.1}

say "## BIDS derivatives"
show python scripts/verify_bids.py ampoule

cp "$page" "$output"
echo "$output: $failed commands failed"
[ "$failed" -eq 0 ]
