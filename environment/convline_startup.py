"""What the environment's Python does whenever it starts, from a copy in site-packages.

Stages call `python`: the environment's programs come first on PATH, activated or not.

Scripts of the project import modules beside them. If PYTHONSAFEPATH or the option -P keeps the
script's folder off sys.path, it is put back, and child processes do not inherit the variable. In a
copy made by `dvc exp run`, that is the copy's folder.
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
