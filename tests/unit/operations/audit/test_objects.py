"""The audit of the store: it names what is promised and missing, or there and promised by nobody."""

from __future__ import annotations

from dataclasses import replace

import pytest

from operations.audit import objects
from operations.audit.objects import StoreListing
from schemas.events.artifacts import Manifest
from schemas.job import JobState, JobStatus
from schemas.stage import Stage
from stages.storage.object_store import Stored
from tests.unit.operations.audit.samples import JOB, NOW, PLACE, VIDEO, job, said

MANIFEST = Manifest(stage=Stage.MUX, key="key", lease=7, objects=(VIDEO,))
WHOLE = StoreListing(
    {VIDEO.key: Stored(VIDEO.size, NOW), f"{PLACE}/manifest.json": Stored(9, NOW)},
    {f"{PLACE}/manifest.json": MANIFEST}, {VIDEO.key: VIDEO.sha256},
)  # fmt: skip


def look(listing: StoreListing, state: JobState) -> list[str]:
    found = [*objects.check_references(state, listing), *objects.check_manifests(listing)]
    return said([*found, *objects.check_orphans(listing, [state], NOW - 60)])


def test_a_store_as_promised() -> None:
    assert look(WHOLE, job()) == []
    assert look(replace(WHOLE, digests={}), job()) == []
    assert look(StoreListing(), job(status=JobStatus.CANCELLED, video=None)) == []


@pytest.mark.parametrize(
    ("listing", "fault"),
    [
        (replace(WHOLE, objects={}), "it is missing"),
        (replace(WHOLE, objects={VIDEO.key: Stored(3, NOW)}), "it has 3 bytes, not 7"),
        (replace(WHOLE, digests={VIDEO.key: "00"}), "it does not match its digest"),
    ],
)
def test_an_object_that_is_not_as_promised(listing: StoreListing, fault: str) -> None:
    assert look(listing, job()) == [
        f"the video of {JOB} is not as promised: {fault}", f"{PLACE}/manifest.json promises it, and {fault}"
    ]  # fmt: skip


def test_a_manifest_that_is_missing_unreadable_or_another() -> None:
    assert look(replace(WHOLE, manifests={}), job()) == [f"the mux output of {JOB} is missing"]
    assert look(replace(WHOLE, manifests={f"{PLACE}/manifest.json": None}), job()) == ["it cannot be read"]
    other = MANIFEST.model_copy(update={"key": "another"})
    assert look(replace(WHOLE, manifests={f"{PLACE}/manifest.json": other}), job()) == [
        f"it is not the mux output of {JOB}"
    ]


def test_an_orphan_is_a_breach_once_it_is_old() -> None:
    left = {"artifacts/acme/encode/k/0": Stored(1, NOW), "artifacts/acme/encode/k/manifest.json": Stored(1, NOW)}
    manifests = {"artifacts/acme/encode/k/manifest.json": Manifest(stage=Stage.ENCODE, key="k", lease=1, objects=())}
    listing = StoreListing(left, manifests)
    assert said(objects.check_orphans(listing, [job()], NOW - 60)) == []
    assert said(objects.check_orphans(listing, [job()], NOW + 60)) == [
        "no manifest names this object", "no job knows this output"
    ]  # fmt: skip
    assert said(objects.check_orphans(WHOLE, [], NOW + 60)) == []
