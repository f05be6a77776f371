"""Measure what a training pays for several devices: a step on one and on two, and the exchange.

Two devices are virtual ones on the CPU, in one process or in two on this machine. They share the
cores that one device has alone, so no speed-up can show: only what the exchange costs. Run on an
otherwise idle machine, from anywhere, with the project's environment; MNIST comes from where the
stage fetch gets it. Writes benchmarks/scaling.md.
"""

import argparse
import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping

from side_by_side import copy_of_project, recipe, report, table

# Adds up an array of so many float32 over all devices, as a step does with gradients: the
# milliseconds that it takes at best
EXCHANGE = """
import sys, time
sys.path.insert(0, "src")
sys.argv = ["src/exchange.py", *sys.argv[1:]]
from convline import backend, devices, processes
from convline.backend import BackendParams

def main():
    settings = BackendParams(backend="jax", threads=2)
    backend.choose(settings, 2)
    backend.configure(settings)
    share = devices.split(2)
    import jax, keras, numpy as np
    mesh = keras.distribution.distribution().device_mesh.backend_mesh
    spread, same = (
        jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
        for axes in (("batch",), ())
    )
    total = jax.jit(lambda array: array.sum(axis=0), out_shardings=same)
    local = np.ones((len(share.mine), int(sys.argv[1])), np.float32)
    array = jax.make_array_from_process_local_data(spread, local)
    seconds = []
    for _ in range(int(sys.argv[2])):
        start = time.perf_counter()
        total(array).block_until_ready()
        seconds.append(time.perf_counter() - start)
    if share.first:
        print(1e3 * min(seconds))

processes.run(main)
"""
SIZES = {"tutorial": 93_322, "ResNet-50": 25_600_000}  # weights
WAYS = {"2 devices, 1 process": 1, "2 devices, 2 processes": 2}


def main() -> None:
    """Train the tutorial's recipe each way, exchange arrays, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=50, help="of each exchange; default 50")
    repeats = parser.parse_args().repeats
    with copy_of_project() as project:
        folder = str(project.path)
        for stage in ("fetch", "preprocess"):
            project.stage(stage)
        steps = []
        for label, devices, count in (
            ("1 device", 1, 1),
            *((label, 2, count) for label, count in WAYS.items()),
        ):
            changes = {"epochs": 3, "backend": "jax", "devices": devices}
            project.set_params(**recipe("tutorial") | changes)
            output = together(["src/train.py"], folder, count)
            found = re.findall(r"(\d+)ms/step.*? loss: ([\d.e-]+)", output)
            steps.append([label, min((ms for ms, _ in found), key=int), found[-1][1]])
            print(*steps[-1], flush=True)
        exchanges = []
        for name, size in SIZES.items():
            command = ["-c", EXCHANGE, str(size), str(repeats)]
            times = [float(together(command, folder, count).split()[-1]) for count in WAYS.values()]
            exchanges.append(
                [name, f"{4 * size / 1e6:.1f}", *(f"{milliseconds:.2f}" for milliseconds in times)]
            )
            print(*exchanges[-1], flush=True)
    report(
        "scaling",
        "Several devices on one machine",
        "Dataset mnist, recipe tutorial, batches of 64, 2 threads in each process. Milliseconds of "
        "a step in the best of three epochs, as Keras prints them, and the loss of the last.",
        table(["", "ms a step", "loss"], steps),
        "Milliseconds of an exchange: the sum of two arrays of as many bytes as a network has "
        f"gradients, the best of {repeats}.",
        table(["gradients of", "MB", *WAYS], exchanges),
    )


def together(command: list[str], folder: str, count: int) -> str:
    """Run a Python script in as many processes: what the first one prints."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]

    def variables(number: int) -> Mapping[str, str]:
        if count == 1:
            return {}
        return {
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{port}",
            "KERAS_DISTRIBUTION_NUM_PROCESSES": str(count),
            "KERAS_DISTRIBUTION_PROCESS_ID": str(number),
        }

    members = [
        subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env=os.environ | variables(number),
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    outputs = [member.communicate()[0] for member in members]
    if any(member.returncode for member in members):
        sys.exit(f"{command} failed")
    return outputs[0]


if __name__ == "__main__":
    main()
