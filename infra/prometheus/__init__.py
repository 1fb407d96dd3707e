"""Prometheus' configuration, and the catalogue of metrics for people."""
