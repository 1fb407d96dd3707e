"""Grafana's dashboards, generated from the metric catalogue."""
