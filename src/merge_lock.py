"""For git configurations that call this file: the same as `convline merge-lock`."""

from convline import problems
from convline.commands import merge_lock

if __name__ == "__main__":
    problems.run(merge_lock.main)
