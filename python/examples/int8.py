"""A network in INT8, with what that does to its results on labelled tiles.

python int8.py [OUT.onnx]
"""

import pathlib
import sys

import ampoule_ai as ampoule

QUICK = pathlib.Path(__file__).parents[2] / "assets/quick"

output = sys.argv[1] if len(sys.argv) > 1 else "discs_int8.onnx"
report = ampoule.optimize(
    ampoule.Model.open(QUICK / "discs.onnx", recipe="discs"),
    output,
    calibrate=QUICK / "calibrate",
    validate=QUICK / "validate",
    truth=QUICK / "truth",
    max_drop={"dice": 0.02},
)
print(report["validation"])
print(f"{output}: {report['written']}, {report['layers'][1]} of {report['layers'][0]} layers in INT8")
