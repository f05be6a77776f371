"""Measure what a step pays for several devices: its computing, and the exchange of gradients.

Two devices are virtual ones on the CPU, in one process or in two on this machine. They share the
cores that one device has alone, so no speed-up can show. Run on an otherwise idle machine, from
anywhere, with the project's environment. Writes benchmarks/scaling.md.
"""

import argparse
import os
import subprocess
import sys

from side_by_side import REPOSITORY, copy_of_project, recipe, report, table

sys.path += [str(REPOSITORY / "src"), str(REPOSITORY / "tests")]
import jobs
import servers

# Prints the milliseconds, at best, of a step of the network of params.yaml on 64 images or, if
# argv[3] is not 0, of adding up arrays of so many float32, one from each device
MEASURE = """
import sys, time
sys.path.insert(0, "src")
count, rounds, size = map(int, sys.argv[1:])
sys.argv = ["src/measure.py"]
from convline import backend, devices, processes
from convline.backend import BackendParams

def main():
    settings = BackendParams(backend="jax", threads=2)
    backend.choose(settings, count)
    backend.configure(settings)
    share = devices.split(count)
    import jax, keras, numpy as np
    from convline import network
    if size:
        mesh = keras.distribution.distribution().device_mesh.backend_mesh
        spread, same = (
            jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
            for axes in (("batch",), ())
        )
        total = jax.jit(lambda array: array.sum(axis=0), out_shardings=same)
        local = np.ones((len(share.mine), size), np.float32)
        array = jax.make_array_from_process_local_data(spread, local)
        measured = lambda: total(array).block_until_ready()
    else:
        model = network.load("convnet").build((28, 28, 1), 10)
        model.compile(optimizer="rmsprop", loss="categorical_crossentropy")
        images = np.zeros((64 * len(share.mine) // count, 28, 28, 1), np.uint8)
        labels = np.eye(10, dtype=np.float32)[np.zeros(len(images), int)]
        measured = lambda: float(model.train_on_batch(images, labels))
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        measured()
        seconds.append(time.perf_counter() - start)
    if share.first:
        print(1e3 * min(seconds))

processes.run(main)
"""
# The devices and processes of each way
WAYS = {"1 device": (1, 1), "2 devices, 1 process": (2, 1), "2 devices, 2 processes": (2, 2)}
SIZES = {"the tutorial's network": 93_322, "ResNet-50": 25_600_000}  # weights


def main() -> None:
    """Measure a step each way, and exchanges, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="of each measurement; default 100")
    rounds = parser.parse_args().rounds
    with copy_of_project() as project:
        project.set_params(**recipe("tutorial"))

        def row(label: str, size: int) -> list[str]:
            cells = [
                f"{milliseconds(str(project.path), *way, rounds, size):.2f}"
                if not size or way[0] > 1
                else ""
                for way in WAYS.values()
            ]
            print(label, *cells, flush=True)
            return [label, *cells]

        rows = [row("a step of the tutorial's network, 64 images", 0)]
        for name, size in SIZES.items():
            megabytes = 4 * size / 1e6
            rows.append(row(f"an exchange of the gradients of {name}, {megabytes:.1f} MB", size))
    report(
        "scaling",
        "Several devices on one machine",
        f"Milliseconds, the best of {rounds}, with 2 threads in each process. The exchange between "
        "processes is Gloo's, over the loopback interface. A step has its own exchange.",
        table(["", *WAYS], rows),
    )


def milliseconds(folder: str, devices: int, processes: int, rounds: int, size: int) -> float:
    """What MEASURE prints, in as many processes."""
    port = servers.free_port()
    members = [
        subprocess.Popen(
            [sys.executable, "-c", MEASURE, str(devices), str(rounds), str(size)],
            cwd=folder,
            env=os.environ | jobs.variables(number, processes, port),
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    outputs = [member.communicate()[0] for member in members]
    if any(member.returncode for member in members):
        sys.exit("a process has failed; see above")
    return float(outputs[0].split()[-1])


if __name__ == "__main__":
    main()
