"""The few kinds of panel that our dashboards use, as Grafana's JSON (schema 41, core panels only)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from infra.grafana.queries import metrics_of

WIDTH = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class Query:
    """A PromQL query and how its series are called in the legend."""

    promql: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """A tile or a graph. `unit` is Grafana's word; `thresholds` colour only panels that carry a judgement."""

    title: str
    meaning: str
    queries: tuple[Query, ...]
    unit: str
    kind: Literal["stat", "timeseries"] = "timeseries"
    thresholds: tuple[tuple[float, str], ...] = ()
    stacked: bool = False
    empty: str = "No traffic"

    def to_json(self, number: int, position: dict[str, int]) -> dict[str, Any]:
        """Raises `InvalidQuery` for a query that asks for what does not exist."""
        names = dict.fromkeys(row.name for query in self.queries for row in metrics_of(query.promql))
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": f"{self.meaning} Metric: {', '.join(f'`{name}`' for name in names)}.",
            "datasource": DATASOURCE,
            "gridPos": position,
            "targets": [_target(query, letter) for query, letter in zip(self.queries, "ABCDEFGH", strict=False)],
            "fieldConfig": {"defaults": self._defaults(), "overrides": []},
            "options": _STAT_OPTIONS if self.kind == "stat" else _GRAPH_OPTIONS,
        }

    def _defaults(self) -> dict[str, Any]:
        steps: list[dict[str, Any]] = [{"color": "green" if self.thresholds else "text", "value": None}]
        steps += [{"color": color, "value": value} for value, color in self.thresholds]
        defaults: dict[str, Any] = {
            "unit": self.unit,
            "min": 0,
            "noValue": self.empty,
            "thresholds": {"mode": "absolute", "steps": steps},
        }
        if self.kind == "timeseries":
            stacking = {"mode": "normal" if self.stacked else "none", "group": "A"}
            defaults["custom"] = {"fillOpacity": 30 if self.stacked else 0, "stacking": stacking, "spanNulls": False}
        return defaults


@dataclass(frozen=True)
class Row:
    """Panels side by side under a heading, `across` of them to a line."""

    title: str
    panels: tuple[Panel, ...]
    across: int
    height: int


@dataclass(frozen=True)
class Dashboard:
    uid: str
    title: str
    about: str
    rows: tuple[Row, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.about,
            "tags": ["latentline"],
            "schemaVersion": 41,
            "version": 1,
            "editable": False,
            "refresh": "10s",
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser",
            "templating": {"list": [_DATASOURCE_VARIABLE]},
            "annotations": {"list": []},
            "links": [],
            "panels": self._panels(),
        }

    def _panels(self) -> list[dict[str, Any]]:
        placed: list[dict[str, Any]] = []
        top = 0
        for row in self.rows:
            placed.append(_heading(row.title, len(placed) + 1, top))
            top += 1
            width = WIDTH // row.across
            for place, panel in enumerate(row.panels):
                line, column = divmod(place, row.across)
                position = {"x": column * width, "y": top + line * row.height, "w": width, "h": row.height}
                placed.append(panel.to_json(len(placed) + 1, position))
            top += -(-len(row.panels) // row.across) * row.height
        return placed


def _target(query: Query, letter: str) -> dict[str, Any]:
    legend = query.legend or "__auto"
    return {"refId": letter, "expr": query.promql, "legendFormat": legend, "datasource": DATASOURCE, "range": True}


def _heading(title: str, number: int, top: int) -> dict[str, Any]:
    position = {"x": 0, "y": top, "w": WIDTH, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": position, "panels": []}


_DATASOURCE_VARIABLE = {
    "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus",
    "current": {}, "hide": 0, "refresh": 1, "multi": False, "includeAll": False, "options": [],
}  # fmt: skip
_STAT_OPTIONS = {
    "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    "colorMode": "value", "graphMode": "area", "textMode": "auto", "justifyMode": "auto", "orientation": "auto",
}  # fmt: skip
_GRAPH_OPTIONS = {
    "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
    "tooltip": {"mode": "multi", "sort": "desc"},
}
