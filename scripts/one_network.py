#!/usr/bin/env python3
"""Writes the network of SOURCE with the most quantizers as a model of its own, to time it by itself in any engine:
`.venv-bench/bin/python scripts/one_network.py SOURCE OUT`. Files of several networks (HD-BET) have an output
for each. What the model says of how it is to be computed is kept."""
import sys

import onnx
from onnx.utils import Extractor

source, out = sys.argv[1:]
model = onnx.load(source)
producers = {name: node for node in model.graph.node for name in node.output}


def quantizers(output: str) -> int:
    seen, waiting, count = set(), [output], 0
    while waiting:
        node = producers.get(waiting.pop())
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        count += node.op_type == "QuantizeLinear"
        waiting.extend(name for name in node.input if name)
    return count


best = max((o.name for o in model.graph.output), key=quantizers)
network = Extractor(model).extract_model([i.name for i in model.graph.input], [best])
for p in model.metadata_props:
    if p.key in ("ampoule.winograd", "ampoule.bf16"):
        network.metadata_props.add(key=p.key, value=p.value)
onnx.save(network, out)
print(f"{out}: output {best}, {quantizers(best)} quantizers")
