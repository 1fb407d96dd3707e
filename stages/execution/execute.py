"""One task from start to end: answered from its manifest where there is one, else fetched, computed, delivered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from schemas import store_layout
from schemas.errors import ForeignObject, InputLost, Preempted, StoreUnavailable
from schemas.events.artifacts import Manifest
from schemas.events.tasks import Task
from stages.contract import Context, StageRunner
from stages.results import Made, Result
from stages.storage.artifacts import ArtifactStore, ManifestUnreadable, Published


class Undelivered(StoreUnavailable):
    """The output is computed and the store is away: `made` can be delivered later, and by another process."""

    def __init__(self, made: Made, why: str) -> None:
        self.made = made
        super().__init__(why)


class Stopwatch:
    def __init__(self, parts: Mapping[str, float] | None = None) -> None:
        self.parts = dict(parts or {})

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            self.parts[name] = self.parts.get(name, 0.0) + time.monotonic() - start


def execute(task: Task, runner: StageRunner, store: ArtifactStore, context: Context, bit_class: str) -> Result:
    """Raises what the stage raises, `InputLost`, `StoreUnavailable`, and `Undelivered` once the output is computed."""
    watch = Stopwatch()
    folder = store.folder_of(task)
    with watch.part("find"):
        found = hit(store, folder, task)
    if found is not None:
        return result_of(found, 0.0, watch, reused=True)
    with watch.part("get"):
        inputs = fetch(store, runner, task)
    with watch.part("compute"):
        output = runner.run(task, inputs, context)
    context.raise_if_interrupted()
    made = Made(task, output, bit_class, watch.parts)
    try:
        return deliver(store, made, lambda: raise_if_cancelled(context))
    except StoreUnavailable as error:
        raise Undelivered(made, str(error)) from error


def raise_if_cancelled(context: Context) -> None:
    """Whoever is only to leave hands over what is finished. Raises `Cancelled`."""
    with suppress(Preempted):
        context.raise_if_interrupted()


def deliver(store: ArtifactStore, made: Made, check: Callable[[], None] = lambda: None) -> Result:
    """Objects up, manifest last. What is there already stays, so it may be called again after `StoreUnavailable`.

    `check` is called before the manifest is put, and raises where nobody wants the output any more.
    """
    watch = Stopwatch(made.timings)
    published = upload(store, made, watch, check)
    return result_of(published, watch.parts["compute"], watch, resumed_from_step=made.output.resumed_from_step)


def hit(store: ArtifactStore, folder: str, task: Task) -> Published | None:
    """An earlier output of the same key, if it was not condemned and all of it is there."""
    try:
        found = store.find(folder)
    except ManifestUnreadable:
        return None
    if found is None or found.ref.key != task.key or found.ref.etag == task.condemned_etag:
        return None
    return found if all(store.exists(ref) for ref in found.manifest.objects) else None


def fetch(store: ArtifactStore, runner: StageRunner, task: Task) -> dict[str, bytes]:
    if not runner.reads:
        return {}
    upstream = task.upstream
    if upstream is None:
        raise ValueError(f"the task of {task.stage} names no upstream output")
    folder = store_layout.folder(task.tenant, upstream.stage, upstream.key, task.job)
    if not store_layout.holds(folder, upstream.manifest_key):
        raise ForeignObject(f"{upstream.manifest_key} is not the {upstream.stage} output of tenant {task.tenant}")
    manifest = store.read_manifest(upstream)
    try:
        return {name: store.read(manifest.find(name), upstream) for name in runner.reads}
    except KeyError as error:
        raise InputLost(upstream.stage, upstream.key, upstream.etag, str(error)) from None


def upload(store: ArtifactStore, made: Made, watch: Stopwatch, check: Callable[[], None]) -> Published:
    task, output, folder = made.task, made.output, store.folder_of(made.task)
    with watch.part("put"):
        objects = tuple(store.put(folder, blob) for blob in output.objects)
    manifest = Manifest(
        stage=task.stage, key=task.key, lease=task.lease, objects=objects, facts=dict(output.facts),
        bit_class=made.bit_class, seconds=watch.parts["compute"],
    )  # fmt: skip
    check()
    with watch.part("publish"):
        return store.publish(folder, manifest, replaces=stale_etag(store, folder, task))


def stale_etag(store: ArtifactStore, folder: str, task: Task) -> str | None:
    """The etag of a manifest that is there and is no hit: condemned, torn, or short of its objects."""
    try:
        found = store.find(folder)
    except ManifestUnreadable as error:
        return error.etag
    if found is None or hit(store, folder, task) is not None:
        return None
    return found.ref.etag


def result_of(
    found: Published, seconds: float, watch: Stopwatch, *, reused: bool = False, resumed_from_step: int | None = None
) -> Result:
    manifest = found.manifest
    return Result(
        found.ref, manifest.objects, seconds, reused, resumed_from_step, dict(watch.parts), dict(manifest.facts)
    )  # fmt: skip
