"""Put what the demo prints into the README: ``make demo | python scripts/update_readme.py``."""

from __future__ import annotations

import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- demo -->", "<!-- /demo -->"


def table(printed: str) -> str:
    """From the model's line to the standard deviation of the clusters."""
    lines = printed.splitlines()
    first = next(i for i, line in enumerate(lines) if "   link: " in line)
    last = next(i for i, line in enumerate(lines) if line.startswith("Standard deviation"))
    return "\n".join(line.rstrip() for line in lines[first : last + 1])


def main() -> None:
    before, _, rest = README.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    block = f"{BEGIN}\n```text\n{table(sys.stdin.read())}\n```\n{END}"
    README.write_text(before + block + after, "utf-8")


if __name__ == "__main__":
    main()
