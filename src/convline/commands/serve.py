"""Serve a model: a page to try it, predictions over HTTP, the Open Inference Protocol.

It is the exported model of the workspace, of a revision, or of a stage of the model registry. The
model is replaced while the server runs, as soon as the file or the registry changes.
"""

import argparse
import signal
from pathlib import Path

from convline.commands import card
from convline.problems import Problem
from convline.serving import connections, log
from convline.serving.app import application
from convline.serving.current import Current, File, Revision, Served, Source, Stage
from convline.serving.description import Descriptions
from convline.serving.limits import Limits
from convline.serving.metrics import Metrics


def main() -> None:
    """Load the model, listen, answer until a signal comes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on, this machine's")
    parser.add_argument("--port", type=int, default=8000, help="0: any that is free")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", type=Path, help="an exported model, model.onnx")
    which.add_argument("--rev", help="a branch, tag, commit or experiment")
    which.add_argument("--stage", help="of the model registry: the version that is in it")
    arguments = parser.parse_args()

    source: Source = File()
    if arguments.model:
        source = File(arguments.model)
    elif arguments.rev is not None:
        source = Revision(arguments.rev)
    elif arguments.stage is not None:
        source = Stage(arguments.stage)
    listener = connections.listener(arguments.host, arguments.port)
    log.configure()
    metrics, limits = Metrics(), Limits()

    def report(news: Served | Problem) -> None:
        if isinstance(news, Problem):
            metrics.refused.inc()
            log.event("warning", "model refused", reason=str(news))
        else:
            metrics.uses(news)
            log.event("info", "model in use", **news.named)

    current = Current(source, report)
    describe = Descriptions(card.card).of
    host, port = listener.getsockname()[:2]
    print(f"http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
    # uvicorn raises the signal once more after it has finished
    signal.signal(signal.SIGTERM, lambda *_: None)
    server = connections.server(application(current, metrics, limits, describe), limits, metrics)
    server.run(sockets=[listener])
