"""Tests' processes are forked where they can be, and behave as new ones."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

import inprocess
from conftest import Project
from fork_server import NEW

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="only Linux has the fork server"
)


def write(project: Project, code: str) -> tuple[str, str]:
    """The command that runs `code` as a script of the project."""
    (project.path / "src/probe.py").write_text(code)
    return "python", "src/probe.py"


def test_a_script_is_forked(clone: Project) -> None:
    """Also after a test has chosen the backend of its own process."""
    command = write(clone, "import sys\nprint('tensorflow' in sys.modules)")
    inprocess.configure()
    assert clone.run(*command).stdout == "True\n"
    assert clone.run(*command, PYTHON="").stdout == "True\n"  # which make exports


@pytest.mark.parametrize("different", [NEW, {"PYTHONHASHSEED": "1"}, {"TF_NUM_THREADS": "1"}])
def test_what_a_fork_would_not_notice_starts_anew(
    clone: Project, different: dict[str, str]
) -> None:
    command = write(clone, "import sys\nprint('tensorflow' in sys.modules)")
    assert clone.run(*command, ok=True, **different).stdout == "False\n"


def test_other_limits_start_anew(clone: Project) -> None:
    write(clone, "import sys\nprint('tensorflow' in sys.modules)")
    limited = clone.run("bash", "-c", "ulimit -n 99; exec python src/probe.py")
    assert limited.stdout == "False\n"


@pytest.mark.parametrize("environment", [{}, NEW], ids=["forked", "new"])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import sys; sys.exit(7)", (7, "", "")),
        ("import sys; sys.exit('so')", (1, "", "so\n")),
        ("import atexit; atexit.register(print, 'end'); print('begin')", (0, "begin\nend\n", "")),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", (-signal.SIGKILL, "", "")),
        ("import helper; print(helper.__file__ == __file__)", (0, "False\n", "")),
        ("import os, sys; print(os.getcwd() == sys.argv[1])", (0, "True\n", "")),
    ],
)
def test_a_fork_ends_as_a_new_process_does(
    clone: Project, environment: dict[str, str], code: str, expected: tuple[int, str, str]
) -> None:
    (clone.path / "src/helper.py").touch()
    command = write(clone, code)
    result = clone.run(*command, os.path.realpath(clone.path), ok=False, **environment)
    assert (result.returncode, result.stdout, result.stderr) == expected


@pytest.mark.parametrize("environment", [{}, NEW], ids=["forked", "new"])
def test_code_after_c_runs_as_in_a_new_process(clone: Project, environment: dict[str, str]) -> None:
    code = "import sys; print(sys.argv, sys.path[0], __name__, 'tensorflow' in sys.modules)"
    forked = not environment
    found = clone.run("python", "-c", code, "a", "-b", ok=True, **environment).stdout
    assert found == f"['-c', 'a', '-b']  __main__ {forked}\n"
    error = clone.run("python", "-c", "1 / 0", ok=False, **environment)
    assert (error.returncode, error.stderr.splitlines()[-1]) == (
        1,
        "ZeroDivisionError: division by zero",
    )


def test_a_fork_ends_with_its_client(clone: Project) -> None:
    command = write(clone, "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)")
    with subprocess.Popen(
        command,
        cwd=clone.path,
        env=clone.environment,
        stdout=subprocess.PIPE,
    ) as client:
        assert client.stdout
        process = int(client.stdout.readline())
        client.kill()
        assert process != client.pid
        assert client.stdout.read() == b""  # at its end, which the fork would hold open


def test_keras_on_another_backend_is_noticed(clone: Project) -> None:
    command = write(clone, "import os\nos.environ['KERAS_BACKEND'] = 'jax'")
    result = clone.run(*command, ok=False)
    assert (result.returncode, result.stderr) == (
        1,
        "Keras is on TensorFlow in a fork: run this with **fork_server.NEW\n",
    )


def test_what_a_copy_s_shell_has_stays_there(clone: Project, tmp_path: Path) -> None:
    """Or a test that forks nothing would do so for all that follow."""
    copy = clone.copy(tmp_path / "copy")
    copy.shell |= NEW
    assert clone.shell == {}
