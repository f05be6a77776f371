"""For git hooks that look for this file: the same as `convline pushed`."""

from convline import problems
from convline.commands import pushed

if __name__ == "__main__":
    problems.run(pushed.main)
