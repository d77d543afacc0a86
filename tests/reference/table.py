"""Prints the table of what every adapter method was checked against: each cell is a run.

    python tests/reference/table.py [--mlx PYTHON] [--llama PYTHON]

The engine's tests compare the first gradients and the curve of 20 steps with PEFT's, merge, and write the exports; PEFT and
transformers load these here, and mlx-lm and llama.cpp in the environments that `mlx_load.py` and `gguf_load.py` say. A column
whose environment is not given is left out.

Every number is how far a run is off: gradients and curve as shares of PEFT's, the merged weights' loss as a share of the
unmerged one, the losses of `PEFT`, `GGUF adapter` and `MLX adapter` from the engine's with the same adapter, the logits of
`merged` from those of PEFT's `merge_and_unload` as a share, and the losses of merged GGUF files from that model's.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ADAPTERS = ROOT / "target" / "adapters"
MERGED = ROOT / "target" / "merged"
FEATURES = "cpu,threads,reader"
TRAINED = re.compile(r"^(\S+)\s+gradients within (\S+), curve within (\S+), merged (?:within )?(.+)$")
LOADED = re.compile(r"^(\S+)\s+.*off by (\S+?);? ")
IN_TRANSFORMERS = re.compile(r"^(\S+)\s+loss .* logits within (\S+) ")
IN_LLAMA = re.compile(r"^(\S+)\s+transformers (\S+)\s+F16 (\S+)\s+Q8_0 (\S+)\s+Q4_0 (\S+)$")


def lines(command: list[str], **environment: str) -> list[str]:
    run = subprocess.run(command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, text=True)
    if run.returncode:
        sys.exit(run.stdout)
    return run.stdout.splitlines()


def found(pattern: re.Pattern, said: list[str]) -> list[tuple[str, ...]]:
    matches = [match.groups() for match in map(pattern.match, (line + " " for line in said)) if match]
    assert matches, f"nothing like {pattern.pattern} was printed"
    return matches


def script(python: str, name: str, *arguments: str) -> list[str]:
    return lines([python, f"tests/reference/{name}", *arguments])


def merged_in_llama(python: str) -> dict[str, str]:
    said = [line.rstrip() for line in script(python, "verify_merged.py", str(MERGED), "--llama")]
    cases = (match.groups() for match in map(IN_LLAMA.match, said) if match)
    off = lambda expected, losses: ", ".join(f"{abs(float(loss) - float(expected)):.0e}" for loss in losses)
    return {case: off(expected, losses) for case, expected, *losses in cases}


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--mlx")
    options.add_argument("--llama")
    options = options.parse_args()
    test = ["cargo", "test", "--quiet", "-p", "native", "--features", FEATURES, "--test", "compute", "--", "--nocapture"]
    said = lines([*test, "every_method", "merged_models_score"], INLAY_ADAPTERS=str(ADAPTERS), INLAY_MERGED=str(MERGED))
    trained = [match.groups() for match in map(TRAINED.match, said) if match]
    assert trained, "the test printed no method"
    columns = {
        "PEFT": dict(found(LOADED, script(sys.executable, "adapters.py", str(ADAPTERS)))),
        "merged, transformers": dict(found(IN_TRANSFORMERS, script(sys.executable, "verify_merged.py", str(MERGED)))),
    }
    if options.llama:
        columns["merged GGUF F16, Q8_0, Q4_0, llama.cpp"] = merged_in_llama(options.llama)
        columns["GGUF adapter, llama.cpp"] = dict(found(LOADED, script(options.llama, "gguf_load.py", str(ADAPTERS))))
    if options.mlx:
        columns["MLX adapter, mlx-lm"] = dict(found(LOADED, script(options.mlx, "mlx_load.py", str(ADAPTERS))))
    head = ["case", "gradients", "curve", "merged", *columns]
    print("| " + " | ".join(head) + " |")
    print("|---" * len(head) + "|")
    for case, gradients, curve, merged in trained:
        cells = [column.get(case, "none") for column in columns.values()]
        print("| " + " | ".join([f"`{case}`", gradients, curve, merged, *cells]) + " |")


if __name__ == "__main__":
    main()
