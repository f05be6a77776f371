"""What the environment's Python does whenever it starts, from a copy in site-packages.

Stages call `python`: the environment's programs come first on PATH, activated or not.
"""

import os
import sys

programs = os.path.join(sys.prefix, "bin")
others = os.environ.get("PATH", os.defpath).split(os.pathsep)
os.environ["PATH"] = os.pathsep.join([programs, *(path for path in others if path != programs)])
