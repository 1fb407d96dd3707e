"""What the local broker is started with."""

from __future__ import annotations

from infra.local.kafka import cluster_id


def test_a_cluster_id_never_looks_like_an_option() -> None:
    ids = [cluster_id(bytes([first] + [255] * 15)) for first in range(256)]
    assert not any(text.startswith("-") for text in ids)
    assert {len(text) for text in ids} == {22}
    assert len(set(ids)) == 128
