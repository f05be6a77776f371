"""Compare two runs on the same test images, and say whether the difference is real.

Each is a branch, a tag, a commit, an experiment, or "workspace". What is not on this machine comes
from the remote.
"""

import argparse
import json
import sys

from convline import comparison, runs, stage


def main() -> None:
    """Read the predictions of both, compare them, print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("baseline", nargs="?", default="main")
    parser.add_argument("candidate", nargs="?", default=runs.WORKSPACE)
    formats = parser.add_mutually_exclusive_group()
    formats.add_argument("--md", action="store_true", help="print Markdown")
    formats.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()

    sides = runs.load(options.baseline), runs.load(options.candidate)
    result = comparison.compare(*sides)
    for remark in dict.fromkeys(sides[0].remarks + sides[1].remarks):
        print(f"compare: {remark}", file=sys.stderr)
    if options.json:
        print(json.dumps(comparison.to_json(result), indent=2))
    elif options.md:
        print(comparison.to_markdown(result))
    else:
        print(comparison.to_text(result))


if __name__ == "__main__":
    stage.run(main)
