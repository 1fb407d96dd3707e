"""Seeded faults on a real line under load, then the audit: `make chaos SEED=1 JOBS=500 MINUTES=20`.

`workload` and `schedule` are drawn from the seed and are pure; `victims` hits real processes, `measure` reads what
came of it, `run` puts them together.
"""
