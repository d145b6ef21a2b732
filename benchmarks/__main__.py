"""All benchmarks, or the named ones, one after the other.

    python -m benchmarks [supervision|control|wake|router|slugs|watch]… [--quick] [--markdown]

Each is a program of its own, with options of its own: `python -m benchmarks.supervision --help`.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from collections.abc import Mapping, Sequence

from benchmarks.measure import unwind_on_sigterm

# What makes each of them quick: to see that it works, not to be believed.
QUICK: Mapping[str, Sequence[str]] = {
    "supervision": ["--quick"],
    "control": ["--quick"],
    "wake": ["--quick"],
    "router": ["--rounds", "1", "--seconds", "1"],
    "slugs": ["--rounds", "1", "--files", "1000", "--megabytes", "20"],
    "watch": ["--quick"],
}
TABLES = frozenset({"supervision", "control", "wake"})  # those that can print them to be pasted


def command(name: str, *, quick: bool, markdown: bool) -> list[str]:
    """What runs one of them."""
    return [
        *(sys.executable, "-m", f"benchmarks.{name}"),
        *(QUICK[name] if quick else []),
        *(["--markdown"] if markdown and name in TABLES else []),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them; 1 when one of them failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("names", nargs="*", metavar="|".join(QUICK), help="default: all")
    parser.add_argument("--quick", action="store_true", help="few rounds, and small")
    parser.add_argument("--markdown", action="store_true", help="tables to paste")
    given = parser.parse_args(arguments)
    for name in given.names:
        if name not in QUICK:
            parser.error(f"there is no benchmark {name!r}: {', '.join(QUICK)}")
    failed = []
    for name in given.names or QUICK:
        if importlib.util.find_spec(f"benchmarks.{name}") is None:
            print(f"\n## {name}: not here", flush=True)
            continue
        print(f"\n## {name}\n", flush=True)
        line = command(name, quick=given.quick, markdown=given.markdown)
        with subprocess.Popen(line) as running:
            try:
                status = running.wait()
            except BaseException:  # it ends its contestants
                running.terminate()
                raise
        if status != 0:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    unwind_on_sigterm()
    sys.exit(main())
