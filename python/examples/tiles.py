"""Tiles to label maps and a table: what was found, and how good it is.

python tiles.py
"""

import pathlib
import tempfile

import ampoule_ai as ampoule

QUICK = pathlib.Path(__file__).parents[2] / "assets/quick"

model = ampoule.Model.open(QUICK / "discs.onnx", recipe="discs")
with tempfile.TemporaryDirectory() as folder:
    for tile in sorted((QUICK / "test").glob("*.png")):
        found = model.predict(tile)
        found.to_pil().save(f"{folder}/{tile.name}")
        discs = {m.name: m.voxels for m in found.measured}
        print(tile.name, discs, *found.warnings)
    report = ampoule.evaluate(folder, QUICK / "truth")
for total in report["total"]:
    print(f"class {total['class']}: {total['n']} tiles, mean Dice {total['dice_mean']:.4f}")
