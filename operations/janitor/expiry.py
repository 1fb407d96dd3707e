"""Videos whose time has come, and deletes of videos whose job the coordinator has forgotten."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from operations.gc.references import References
from operations.janitor.outbox import Outbox
from operations.janitor.searches import Search, Searches
from schemas import store_layout
from schemas.stage import Stage

AGAIN_S, AGAIN_EARLIER_S = 30.0, 3600.0
"""Until the coordinator is asked once more. It knows nothing of what was set for videos of before there were classes:
they wait until it has forgotten their jobs."""

log = structlog.get_logger(__name__)


def expire(references: References, outbox: Outbox, searches: Searches, now: float, most: int) -> None:
    """The coordinator deletes the job where it is remembered: one decides. Raises `NotDelivered`."""
    catalogue, forgotten = references.catalogue, []
    for job in catalogue.due(now, most):
        video = catalogue.videos[job]
        catalogue.again(job, now + (AGAIN_S if video.has_class else AGAIN_EARLIER_S))
        if job not in references.jobs:
            forgotten.append(job)
        elif references.jobs[job].deleted_at is None:
            outbox.expired(job, video.partition)
    forget(references, outbox, searches, now, forgotten, "a video has expired")


def answer(references: References, outbox: Outbox, searches: Searches, now: float) -> None:
    """Each delete that the coordinator has passed on: done if the video is this tenant's, else dead-lettered.

    Raises `NotDelivered`.
    """
    catalogue = references.catalogue
    if not catalogue.requests or not catalogue.is_filled:
        return
    owned = {each.job: None for each in catalogue.requests.values() if catalogue.has(each.job, each.tenant)}
    forget(references, outbox, searches, now, owned, "a video is deleted")
    for origin, request in catalogue.requests.items():
        if not catalogue.has(request.job, request.tenant):
            outbox.refuse(origin, request)
        outbox.gone(origin, request.partition)
    outbox.flush()


def forget(
    references: References, outbox: Outbox, searches: Searches, now: float, jobs: Iterable[str], why: str
) -> None:  # fmt: skip
    """Videos of jobs that nobody remembers: the record goes, then the files. Intermediates went with the job.

    Whoever dies between the two leaves an orphan that is old enough for the gc with which the next one begins.
    """
    found = {job: references.catalogue.videos[job] for job in jobs}
    for job, video in found.items():
        outbox.gone(job, video.partition)
        log.info(why, job=job, tenant=video.tenant)
    outbox.flush()
    searches.put(
        Search(now, job, video.tenant, (store_layout.folder(video.tenant, Stage.MUX, "", job),), False)
        for job, video in found.items()
    )
