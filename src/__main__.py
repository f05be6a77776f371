"""Convline's commands. Each is a module of convline/commands/: `main`, and a docstring."""

import ast
import importlib
import sys
from difflib import get_close_matches
from pathlib import Path

from convline import problems

FOLDER = Path(__file__).with_name("convline") / "commands"


def main() -> None:
    """Run the command that the command line names, or list them all."""
    files = sorted(FOLDER.glob("[!_]*.py"))
    # import_.py: without the underscore no code could import it
    commands = {path.stem.strip("_").replace("_", "-"): path for path in files}
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print("usage: convline COMMAND [ARGUMENT ...]\n")
        for command, path in commands.items():
            print(f"  {command:<12} {summary(path)}")
        print("\n`convline COMMAND --help` shows the arguments of a command.")
        return
    if name not in commands:
        close = get_close_matches(name, commands, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the commands are {', '.join(commands)}"
        sys.exit(f"convline: there is no command {name!r}; {hint}")
    sys.argv = [f"convline {name}", *arguments]
    # Imported within `run`, which reports what can go wrong there too
    module = f"convline.commands.{commands[name].stem}"
    problems.run(lambda: importlib.import_module(module).main())


def summary(path: Path) -> str:
    """The first line of a module's docstring, read without importing the module."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]


if __name__ == "__main__":
    main()
