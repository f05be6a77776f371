"""Devices: how many a process has, and what they are called; test_several_devices.py trains."""

import os

import pytest

import inprocess
from convline import backend, devices, processes
from convline.backend import BackendParams
from convline.problems import Problem


def place(monkeypatch: pytest.MonkeyPatch, number: int, count: int) -> None:
    """Let this process be one of several, as far as it knows."""
    monkeypatch.setattr(processes, "_here", processes.Place(number, count))


def test_one_device_needs_no_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that XLA computes as it does where nobody asks for devices."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    backend.choose(BackendParams(backend="jax", threads=2))
    assert os.environ["XLA_FLAGS"] == "--xla_gpu_deterministic_ops=true"


def test_processes_share_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices.flags(6) == "--xla_force_host_platform_device_count=6"
    place(monkeypatch, 1, 3)
    assert devices.flags(6) == "--xla_force_host_platform_device_count=2"
    for count in (1, 2, 4):
        with pytest.raises(Problem, match=f"devices is {count}, which 3 processes cannot share"):
            devices.flags(count)


def test_the_first_process_writes() -> None:
    assert devices.ALONE.first
    assert devices.Share(4, range(2), 2).first
    assert not devices.Share(4, range(2, 4), 2).first


CODE = """
from convline import backend, devices
from convline.backend import BackendParams
from convline.problems import Problem

settings = BackendParams(backend="jax", threads=1)
backend.choose(settings, 2)
backend.configure(settings)
try:
    devices.split(3)
except Problem as problem:
    print(problem)
print(devices.split(2), devices.of_first(b"content"))
import keras
dense = keras.layers.Dense(1)
dense.build((None, 2))
print(len(dense.kernel.value.sharding.device_set))
devices.join()
dense = keras.layers.Dense(1)
dense.build((None, 2))
print(len(dense.kernel.value.sharding.device_set))
"""


def test_weights_are_on_every_device_that_shares() -> None:
    assert inprocess.run(CODE, KERAS_BACKEND="jax").splitlines() == [
        "params.yaml: devices is 3, but JAX finds 2 and not 3: cpu:0, cpu:1",
        "2 devices in 1 process b'content'",
        "2",
        "1",
    ]
