"""Makes `fixtures/export/quantized.json`: blocks of numbers, and how llama.cpp's own Python package quantizes them.

Run: python tests/reference/quantized.py
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy
from gguf import GGMLQuantizationType, quants

FIXTURE = Path(__file__).resolve().parent.parent / "fixtures" / "export" / "quantized.json"
KINDS = [GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q4_0]


def blocks() -> numpy.ndarray:
    drawn = numpy.random.default_rng(41)
    # Weights of every size, down to where a block's step is a subnormal half and to where it is nothing.
    rows = [drawn.normal(size=32) * scale for scale in (1, 0.02, 3e-3, 1e-4, 2e-6, 1e-9, 40, 2000)]
    rows.append(numpy.zeros(32))
    # The farthest number with either sign, either first; and numbers halfway between two steps.
    extremes = drawn.normal(size=(2, 32)) * 0.1
    extremes[0, [3, 20]] = [1.5, -1.5]
    extremes[1, [3, 20]] = [-1.5, 1.5]
    rows.extend(extremes)
    rows.append((numpy.arange(32) - 16) / 2 * 0.25)
    rows.append(numpy.append(numpy.arange(31) + 0.5, 127))
    return numpy.array(rows, dtype=numpy.float32)


def main() -> None:
    values = blocks()
    kinds = {kind.name: [quants.quantize(row, kind).tobytes().hex() for row in values] for kind in KINDS}
    rows = [row.astype("<f4").tobytes().hex() for row in values]
    FIXTURE.write_text(json.dumps({"made_with": f"gguf {version('gguf')}", "values": rows, **kinds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
