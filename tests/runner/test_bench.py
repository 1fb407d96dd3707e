"""The figures of the benchmarks of checkpoints and previews are what their page says that they are."""

from __future__ import annotations

import torch

from tests.bench import preview
from tests.bench.checkpoint import EARLIEST, LATEST, Run, cuts, figures_of
from tests.bench.kills import Loss
from tests.bench.report import Spread

ONES, ZEROS = torch.ones(2), torch.zeros(2)
BARE, SAVED = Run(20.0, 10.0, ONES, ()), Run(21.0, 11.0, ONES, (3, 6, 9))


def loss(redone: float, latents: torch.Tensor = ONES) -> Loss:
    return Loss(12, 9, 10.0, redone, {"detect": 8.0, "all": 9.0}, 0.5, latents)


def test_a_seed_draws_a_cut_from_each_part_of_the_denoise() -> None:
    drawn = cuts(1, 4, 1000)
    assert drawn == cuts(1, 4, 1000) != cuts(2, 4, 1000)
    bounds = [1000 * (EARLIEST + (LATEST - EARLIEST) * part / 4) for part in range(5)]
    assert all(low - 1 <= cut <= high for low, cut, high in zip(bounds, sorted(drawn), bounds[1:], strict=False))


def test_figures_are_ratios_of_what_was_measured() -> None:
    figures = figures_of([(BARE, SAVED)], [BARE, BARE], [loss(1.0), loss(2.0)])
    assert figures["checkpoint_price"] == Spread.of([1.05])
    assert figures["checkpoint_cpu_price"] == Spread.of([1.1])
    assert figures["redone_share"] == 3.0 / 20.0
    assert figures["interval_s"] == Spread.of([21.0 / 4])
    assert (figures["bit_equal"], figures["compared"]) == (True, 3)
    assert figures["recovery_s"] == {"detect": Spread.of([8.0, 8.0]), "all": Spread.of([9.0, 9.0])}


def test_one_other_bit_anywhere_is_not_equal() -> None:
    assert figures_of([(BARE, SAVED)], [BARE], [loss(1.0, ZEROS)])["bit_equal"] is False
    assert figures_of([(BARE, Run(21.0, 11.0, ZEROS, (3,)))], [BARE], [loss(1.0)])["bit_equal"] is False


def test_the_price_of_previews_is_by_pairs_and_each_figure_is_on_the_page() -> None:
    bare, dear = preview.Run(10.0, 8.0, 0), preview.Run(10.1, 8.2, 7)
    figures = preview.figures_of([(bare, dear), (bare, bare), (bare, dear)])
    assert figures["preview_price"] == Spread.of([1.01, 1.0, 1.01])
    assert figures["preview_cpu_price"] == Spread.of([8.2 / 8.0, 1.0, 8.2 / 8.0])
    assert figures["previews"] == 7
    assert len(preview.shown(figures).splitlines()) == 2 + len(figures)
