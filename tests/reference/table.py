"""Prints what every adapter method was held to, as a table: each cell is a run.

    python tests/reference/table.py [--mlx PYTHON] [--llama PYTHON]

The engine's tests take the first gradients and the curve of 20 steps beside PEFT's, merge, and write the exports; PEFT
loads these here, and mlx-lm and llama.cpp in the environments that `mlx_load.py` and `gguf_load.py` say. A column whose
environment is not given is left out.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ADAPTERS = ROOT / "target" / "adapters"
FEATURES = "engine/cpu,engine/threads,engine/reader"
TRAINED = re.compile(r"^(\S+)\s+gradients within (\S+), curve within (\S+), merged (?:within )?(.+)$")
LOADED = re.compile(r"^(\S+)\s+.*off by (\S+?);? ")


def lines(command: list[str], **environment: str) -> list[str]:
    run = subprocess.run(command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, text=True)
    if run.returncode:
        sys.exit(run.stdout)
    return run.stdout.splitlines()


def loaded(python: str, script: str) -> dict[str, str]:
    found = (LOADED.match(line + " ") for line in lines([python, f"tests/reference/{script}", str(ADAPTERS)]))
    return {match[1]: match[2] for match in found if match}


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--mlx")
    options.add_argument("--llama")
    options = options.parse_args()
    test = ["cargo", "test", "--quiet", "-p", "engine", "--features", FEATURES, "--test", "compute", "--", "--nocapture"]
    trained = lines([*test, "every_method"], INLAY_ADAPTERS=str(ADAPTERS))
    trained = [match.groups() for match in map(TRAINED.match, trained) if match]
    assert trained, "the test printed no method"
    columns = {"PEFT": loaded(sys.executable, "adapters.py")}
    if options.llama:
        columns["llama.cpp, adapter"] = loaded(options.llama, "gguf_load.py")
    if options.mlx:
        columns["MLX, adapter"] = loaded(options.mlx, "mlx_load.py")
    head = ["case", "gradients", "curve", "merged", *columns]
    print("| " + " | ".join(head) + " |")
    print("|---" * len(head) + "|")
    for case, gradients, curve, merged in trained:
        cells = [column.get(case, "has no such form") for column in columns.values()]
        print("| " + " | ".join([f"`{case}`", gradients, curve, merged, *cells]) + " |")


if __name__ == "__main__":
    main()
