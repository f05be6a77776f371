"""Compare two runs on the same test images, and say whether the difference is significant.

Each is the last run of a branch, tag, commit or experiment, or of "workspace". Predictions that are
not on this machine come from the remote.
"""

import argparse
import json
import sys

from convline import revisions
from convline.evaluation import comparison, results


def main() -> None:
    """Read the predictions of both, compare them, print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("baseline", nargs="?", default="main")
    parser.add_argument("candidate", nargs="?", default=revisions.WORKSPACE)
    formats = parser.add_mutually_exclusive_group()
    formats.add_argument("--md", action="store_true", help="print Markdown")
    formats.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()

    sides = results.load(options.baseline), results.load(options.candidate)
    result = comparison.compare(*sides)
    for remark in dict.fromkeys(sides[0].remarks + sides[1].remarks):
        print(f"compare: {remark}", file=sys.stderr)
    if options.json:
        print(json.dumps(comparison.to_json(result), indent=2))
    elif options.md:
        print(comparison.to_markdown(result))
    else:
        print(comparison.to_text(result))
