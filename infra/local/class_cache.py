"""Kafka's classes, loaded and linked ahead of time: a broker starts in half of the time.

The Java of the wheel comes without an archive of classes, so each start reads and checks ten thousand of them anew.
`make setup` runs a broker once and lets Java keep what it has loaded (JEP 483). Without that file, or with one that
does not fit, Java starts as it always did.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from infra.local.access import BrokerAccess
from infra.local.cache import filling
from infra.local.kafka import Kafka, classes_ahead
from infra.local.ports import choose
from infra.local.process import Process, tail

WRITES_WITHIN_S = 120.0


def keep_classes() -> Path:
    """The file with the classes of a broker that has started and left; made once.

    Raises `RuntimeError` when that broker does not start, or keeps nothing.
    """
    target = classes_ahead()
    with filling(target.parent) as folder, TemporaryDirectory(prefix="latentline-kafka-") as temporary:
        if folder is not None:
            _run_once(folder / target.name, Path(temporary))
    return target


def _run_once(target: Path, temporary: Path) -> None:
    port, controller = choose([0, 0])
    broker = Kafka(temporary / "data", temporary, temporary / "log", str(temporary), port, controller, BrokerAccess())
    broker.prepare()
    java, *argv = broker.process.argv
    broker.process = Process("kafka", [java, f"-XX:AOTCacheOutput={target}", *argv], broker.process.log, str(temporary))
    broker.process.start()
    try:
        broker.wait()
    finally:
        broker.process.stop(WRITES_WITHIN_S)
    if not target.exists():
        raise RuntimeError(f"Java kept no classes:\n{tail(broker.process.log)}")


if __name__ == "__main__":
    try:
        print(keep_classes())
    except RuntimeError as error:
        # Nothing is missing without them: no ground for a setup to fail.
        print(f"{error}\nA broker starts without them all the same.", file=sys.stderr)
