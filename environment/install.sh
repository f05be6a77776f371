#!/bin/sh
# Runs install.py with the Python that the variable PYTHON names, or else with the first supported
# one on PATH. If that belongs to an environment, its base Python is used.
set -- "$1" "$PYTHON"
[ "$2" ] || set -- "$1" python3 python3.13 python3.12 python3.11
lock=$1
shift
for python; do
	base=$("$python" -c 'import sys
assert (3, 11) <= sys.version_info < (3, 14)
print(sys._base_executable)' 2>/dev/null) && exec "$base" -I environment/install.py "$lock"
done
echo "make: Python 3.11, 3.12 or 3.13 is needed${PYTHON:+, and $PYTHON is not one}; if it is not on" \
	"PATH, say make PYTHON=/path/to/python" >&2
exit 1
