"""The table of mutations fits the code: what it changes is there once, and the tests that it names exist."""

from __future__ import annotations

import pytest

from tests.mutations.catalogue import MUTATIONS, Mutation
from tests.mutations.run import ROOT, mutated
from tests.support import is_a_test


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.breaks)
def test_a_mutation_still_applies(mutation: Mutation) -> None:
    text = (ROOT / mutation.file).read_text()
    changed = mutated(text, mutation)
    assert changed != text
    compile(changed, mutation.file, "exec")
    assert is_a_test(mutation.test)
