"""Dashboards, scrape configuration and the page of metrics agree with the catalogue and with the stack."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from infra.grafana import generate
from infra.grafana.overview import HEALTH, OVERVIEW
from infra.grafana.panels import Panel, Query
from infra.grafana.queries import TARGET_LABELS, InvalidQuery, metrics_of
from infra.local.plan import Plan
from infra.local.services import SERVICES
from runtime.metrics import CATALOGUE

PROJECT = generate.PROJECT
PANELS = [panel for row in OVERVIEW.rows for panel in row.panels]
DASHBOARD: dict[str, Any] = orjson.loads((PROJECT / "infra/grafana/overview.json").read_bytes())


def test_the_committed_files_are_as_generated() -> None:
    assert generate.stale() == []


def test_a_stale_or_missing_file_is_told(tmp_path: Path) -> None:
    for path, content in generate.files().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    assert generate.stale(tmp_path) == []
    (tmp_path / "docs/metrics.md").write_text("# edited by hand\n")
    (tmp_path / "infra/grafana/overview.json").unlink()
    assert sorted(map(str, generate.stale(tmp_path))) == ["docs/metrics.md", "infra/grafana/overview.json"]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_every_panel_names_its_metrics(panel: Panel) -> None:
    (made,) = [made for made in DASHBOARD["panels"] if made["title"] == panel.title]
    names = {row.name for query in panel.queries for row in metrics_of(query.promql)}
    assert names
    assert all(f"`{name}`" in made["description"] for name in names)
    assert [target["expr"] for target in made["targets"]] == [query.promql for query in panel.queries]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("sum(rate(latentline_jobs_finished_total[5m])", "unclosed|expected|unexpected"),
        ("latentline_jobs_finish_total", "'latentline_jobs_finish_total' is no series"),
        ("latentline_queue_wait_seconds", "is no series"),
        ("some_exporter_total", "is no series"),
        ('latentline_jobs_waiting{model="tiny"}', "has no label 'model'"),
        ('latentline_jobs_waiting{stage="encoding"}', "has no stage 'encoding', only encode, denoise, decode, mux"),
        ("sum by (model) (latentline_jobs_waiting)", "groups by 'model'"),
    ],
)
def test_a_query_for_what_does_not_exist_stops_generation(query: str, problem: str) -> None:
    with pytest.raises(InvalidQuery, match=problem):
        replace(PANELS[0], queries=(Query(query),)).to_json(1, {})


def test_a_query_gives_its_metrics_through_functions_and_operators() -> None:
    query = 'rate(latentline_retries_total{stage=~"en.*"}[$__rate_interval]) / on (stage) latentline_jobs_running'
    assert [row.name for row in metrics_of(query)] == ["latentline_retries_total", "latentline_jobs_running"]


def test_what_an_operator_must_see_is_on_the_first_screen() -> None:
    first = {row.name for panel in HEALTH.panels for query in panel.queries for row in metrics_of(query.promql)}
    assert first >= {
        "latentline_jobs_finished_total",
        "latentline_video_seconds_total",
        "latentline_queue_wait_seconds",
        "latentline_job_duration_seconds",
        "latentline_oldest_job_age_seconds",
        "latentline_workers",
        "up",
    }
    assert {panel.kind for panel in HEALTH.panels} == {"stat"}


def test_core_panels_only_and_no_two_in_one_place() -> None:
    assert {panel["type"] for panel in DASHBOARD["panels"]} == {"row", "stat", "timeseries"}
    taken = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_datasource_is_a_variable() -> None:
    (variable,) = DASHBOARD["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == ("datasource", "datasource", "prometheus")
    used = {panel["datasource"]["uid"] for panel in DASHBOARD["panels"] if panel["type"] != "row"}
    assert used == {"${datasource}"}


def test_prometheus_scrapes_what_up_writes(tmp_path: Path) -> None:
    config = yaml.safe_load((PROJECT / "infra/prometheus/prometheus.yml").read_text())
    (scraped,) = config["scrape_configs"]
    (files,) = scraped["file_sd_configs"][0]["files"]
    assert scraped["job_name"] == "latentline"
    assert (PROJECT / "infra/prometheus" / files).resolve() == PROJECT / ".latentline" / "prometheus-targets.json"
    targets: list[dict[str, Any]] = Plan.draw(tmp_path).scrape_targets()
    assert {target["labels"]["service"] for target in targets} == {service.name for service in SERVICES}


def test_no_metric_has_a_label_that_scraping_adds() -> None:
    clashing = {row.name for row in CATALOGUE.values() for label in row.labels if label.name in TARGET_LABELS}
    assert clashing == set()


@pytest.mark.parametrize("path", ["datasources/prometheus.yml", "dashboards/latentline.yml"])
def test_provisioning_files_are_of_grafanas_first_version(path: str) -> None:
    assert yaml.safe_load((PROJECT / "infra/grafana/provisioning" / path).read_text())["apiVersion"] == 1
