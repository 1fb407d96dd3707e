"""`Prefer: wait=N`: a create that is answered when its video has ended, or after N seconds. RFC 7240."""

from __future__ import annotations

import re

from fastapi import Request

from gateway.api_keys import Caller
from gateway.dependencies import Gateway
from gateway.read_model.rows import Row

LONGEST_S = 60
WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?=[,;]|$)", re.ASCII | re.IGNORECASE)


def preferred_wait(request: Request) -> int | None:
    """Seconds; None where it is not asked for, or not in a way that can be read: a preference is no condition."""
    found = WAIT.search(",".join(request.headers.getlist("prefer")))
    return min(int(found[1]), LONGEST_S) if found else None


async def waited(gateway: Gateway, caller: Caller, row: Row, seconds: int) -> Row:
    """The job at its end, or as it is when the time is up; as it was last seen if it is deleted meanwhile.

    Raises `Problem` 401 once the caller's key is revoked.
    """
    tenant, job, latest = row.state.tenant, row.state.job, row

    async def ended() -> bool:
        nonlocal latest
        found = await gateway.find(tenant, job)
        latest = found or latest
        return found is None or found.state.status.ended

    await gateway.until(caller, job, ended, seconds)
    return latest
