"""What the environment's Python does whenever it starts, from a copy in site-packages.

Stages call `python`: the environment's programs come first on PATH, activated or not.

A script of the project imports what lies beside it. Where PYTHONSAFEPATH or the option -P has
Python leave out the script's folder, it is put back, and children get no such variable. It is the
folder of the script that runs: that of a copy, where `dvc exp run` made one.
"""

import os
import sys

programs = os.path.join(sys.prefix, "bin")
others = os.environ.get("PATH", os.defpath).split(os.pathsep)
os.environ["PATH"] = os.pathsep.join([programs, *(path for path in others if path != programs)])

os.environ.pop("PYTHONSAFEPATH", None)
if sys.flags.safe_path and os.path.isfile(sys.argv[0]):
    folder = os.path.dirname(os.path.realpath(sys.argv[0]))
    if os.path.isdir(os.path.join(folder, "../src/convline")):
        sys.path.insert(0, folder)
