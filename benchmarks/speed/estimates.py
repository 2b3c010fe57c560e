"""Compares estimates of memory with measured resident memory on a CPU, in every execution.

    python -m benchmarks.speed.estimates [--cases classify:tiny:1536 ...] [--out FILE.json]

A case is task, preset and side of a square image. Each execution runs three steps in a process of its own
(`fit profile-memory --method measure`). Its peak is the peak of resident memory (VmHWM) beyond Python with torch; the
estimate is that of the same step, beside the libraries that this process had before its model was built.
Cases that the file of `--out` already has are kept, so that you can run the comparison in pieces.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.support.machine import save_results

CASES = (
    "classify:debug:2048", "classify:tiny:1536", "classify:small:1024",
    "segment:debug:2048", "segment:mini:1536", "segment:tiny:1024",
    "diffusion:debug:2048", "diffusion:tiny:1024", "diffusion:small:768",
    "autoregressive:debug:1024", "autoregressive:tiny:768", "autoregressive:small:512",
)  # fmt: skip


def measured_rows(case: str, precision: str) -> list[dict[str, Any]]:
    """Measure one case: all executions of a training step and of a pass."""
    task, preset, res = case.split(":")
    command = [sys.executable, "-m", "fitcli", "profile-memory", "--task", task, "--preset", preset, "--res", res,
               "--device", "cpu", "--precision", precision, "--method", "measure", "--json"]  # fmt: skip
    document = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return [
        {
            "execution": row["execution"],
            "mode": row["mode"],
            "measured_bytes": row["peak_bytes"],
            "estimated_bytes": row["estimated_like_bytes"],
            "promised_bytes": row["needed_bytes"],
        }
        for row in document["rows"]
        if row["method"] == "measure"
    ]


def markdown(cases: dict[str, list[dict[str, Any]]]) -> str:
    """Return a table: a line per case and mode, a column per execution, measured MiB and difference of the estimate."""
    lines = []
    for case, rows in cases.items():
        for mode in ("train", "infer"):
            cells = [
                f"{row['execution']}: {row['measured_bytes'] >> 20} MiB "
                f"{row['estimated_bytes'] / row['measured_bytes'] - 1:+.1%}"
                for row in rows
                if row["mode"] == mode
            ]
            lines.append(f"| {case} | {mode} | {'; '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=list(CASES), help="task:preset:side")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    cases: dict[str, list[dict[str, Any]]] = {}
    if options.out is not None and options.out.exists():
        cases = json.loads(options.out.read_text())["cases"]
    for case in options.cases:
        if case not in cases:
            cases[case] = measured_rows(case, options.precision)
            print(markdown({case: cases[case]}), flush=True)
            if options.out is not None:
                save_results(options.out, ["torch"], {"precision": options.precision, "cases": cases})


if __name__ == "__main__":
    main()
