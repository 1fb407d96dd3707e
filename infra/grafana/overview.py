"""The first screen: is the line healthy, and if not, where to look."""

from __future__ import annotations

from infra.grafana.panels import Dashboard, Panel, Query, Row

RATE = "[$__rate_interval]"


def rate(series: str, *by: str) -> str:
    """Rise of a counter a second, summed over processes."""
    return f"sum by ({', '.join(by)}) (rate({series}{RATE}))" if by else f"sum(rate({series}{RATE}))"


def quantile(share: float, histogram: str, *by: str) -> str:
    """A quantile over all processes. The comparison drops the NaN of a time without traffic."""
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', 'le', *by)}) >= 0"


def share_of(part: str, whole: str) -> str:
    """Nothing, rather than NaN, when there is no whole."""
    return f"{rate(part)} / ({rate(whole)} > 0)"


def tile(title: str, meaning: str, promql: str, unit: str, *thresholds: tuple[float, str], empty: str = "No traffic",
         legend: str = "") -> Panel:  # fmt: skip
    return Panel(title, meaning, (Query(promql, legend),), unit, "stat", thresholds, empty=empty)


def graph(title: str, meaning: str, unit: str, *queries: Query, stacked: bool = False) -> Panel:
    return Panel(title, meaning, queries, unit, stacked=stacked)


HEALTH = Row("Is it healthy", (
    tile("Jobs ended", "Jobs ended a second, whatever their outcome.", rate("latentline_jobs_finished_total"), "ops"),
    tile("Video made", "Seconds of video finished a second.", rate("latentline_video_seconds_total"), "none"),
    tile("Server faults", "Share of ended jobs that failed by our fault; a client's mistake does not count.",
         share_of('latentline_jobs_finished_total{fault="server"}', "latentline_jobs_finished_total"),
         "percentunit", (0.01, "orange"), (0.05, "red")),
    tile("Queue wait, p95", "From when a stage could have run to its dispatch.",
         quantile(0.95, "latentline_queue_wait_seconds"), "s"),
    tile("Job duration, p95", "From acceptance to a job's end.",
         quantile(0.95, "latentline_job_duration_seconds"), "s"),
    tile("Oldest job", "Age since acceptance of the oldest job that has not ended.",
         "max(latentline_oldest_job_age_seconds)", "s"),
    tile("Workers", "Workers that the coordinator hears, by what they can do.",
         "sum by (state) (latentline_workers)", "none", legend="{{state}}", empty="None heard"),
    tile("Targets not answering", "Processes of the line that Prometheus cannot scrape.",
         'count(up{job="latentline"} == 0) or vector(0)', "none", (1, "red"), empty="No targets"),
), across=4, height=4)  # fmt: skip

STAGES = Row("Stages", (
    graph("Stage duration, p95", "From a task's start to its outcome, store included.", "s",
          Query(quantile(0.95, "latentline_stage_duration_seconds", "stage"), "{{stage}}")),
    graph("Queue wait by stage, p95", "From when a stage could have run to its dispatch.", "s",
          Query(quantile(0.95, "latentline_queue_wait_seconds", "stage"), "{{stage}}")),
    graph("Jobs by stage", "Jobs that wait for a slot, and jobs that hold one.", "none",
          Query("sum by (stage) (latentline_jobs_waiting)", "{{stage}} waiting"),
          Query("sum by (stage) (latentline_jobs_running)", "{{stage}} running"), stacked=True),
    graph("Denoise step", "Half and 95 % of the denoise steps are faster than this.", "s",
          Query(quantile(0.5, "latentline_denoise_step_seconds", "model"), "{{model}} p50"),
          Query(quantile(0.95, "latentline_denoise_step_seconds", "model"), "{{model}} p95")),
    graph("Compute", "Seconds that compute children work a second: 1 is one busy child.", "none",
          Query(rate("latentline_compute_seconds_total", "stage"), "{{stage}}"), stacked=True),
    graph("Model load, p95", "Loading one stage's component of a bundle.", "s",
          Query(quantile(0.95, "latentline_model_load_seconds", "model"), "{{model}}")),
), across=3, height=8)  # fmt: skip

LOSSES = Row("What goes wrong", (
    graph("Jobs ended by outcome", "Completed, failed and cancelled jobs a second.", "ops",
          Query(rate("latentline_jobs_finished_total", "outcome", "fault"), "{{outcome}} ({{fault}})"), stacked=True),
    graph("Retries", "Stages sent back to wait, a second.", "ops",
          Query(rate("latentline_retries_total", "stage", "reason") + " > 0", "{{stage}}: {{reason}}")),
    graph("Wasted compute", "Seconds of compute a second that gave nothing a job could use.", "none",
          Query(rate("latentline_wasted_seconds_total", "reason") + " > 0", "{{reason}}"), stacked=True),
    graph("Dead letters", "Records put to `dlq`, a second, by where they came from.", "ops",
          Query(rate("latentline_dead_letters_total", "topic", "reason") + " > 0", "{{topic}}: {{reason}}")),
    graph("Compute children replaced", "A second, by why the last one ended.", "ops",
          Query(rate("latentline_child_restarts_total", "reason") + " > 0", "{{reason}}")),
    graph("Circuit breakers", "1 while most of a stage's tasks fail: dispatch stops but for a probe.", "none",
          Query("max by (stage) (latentline_stage_breaker_open)", "{{stage}}")),
    graph("Saved and ignored", "Denoise tasks that went on from a checkpoint; events seen again and ignored.", "ops",
          Query(rate("latentline_checkpoint_resumes_total"), "resumed"),
          Query(rate("latentline_duplicates_suppressed_total", "where") + " > 0", "duplicate {{where}}")),
), across=3, height=8)  # fmt: skip

STANDSTILL = Row("What stands still", (
    graph("Jobs beside a free worker", "For how long jobs have waited though a worker that fits is free.", "s",
          Query("max by (stage) (latentline_standstill_seconds)", "{{stage}}")),
    graph("Jobs that no worker serves", "For how long jobs have waited with a model that no worker serves.", "s",
          Query("max by (stage) (latentline_unserved_seconds)", "{{stage}}")),
    graph("Held by an open transaction", "For how long nobody can read a topic on; records behind.", "s",
          Query("max by (topic) (latentline_stable_offset_held_seconds)", "{{topic}}"),
          Query("max by (topic) (latentline_stable_offset_lag_records)", "{{topic}} records")),
    graph("Loops", "Since the last turn of each loop.", "s",
          Query("max by (service, loop) (latentline_turn_age_seconds)", "{{service}} {{loop}}")),
), across=4, height=8)  # fmt: skip

STORE = Row("Store", (
    graph("Store requests, p95", "One request to the store.", "s",
          Query(quantile(0.95, "latentline_store_request_seconds", "operation"), "{{operation}}")),
    graph("Store requests by outcome", "Requests to the store a second.", "ops",
          Query(rate("latentline_store_request_seconds_count", "outcome"), "{{outcome}}"), stacked=True),
    graph("Moved", "Bytes to and from the store a second.", "Bps",
          Query(rate("latentline_artifact_bytes_total", "kind", "operation"), "{{operation}} {{kind}}"), stacked=True),
), across=3, height=8)  # fmt: skip

PROCESSES = Row("Coordinator, workers, views", (
    graph("Coordinator", "Instances by what they are; exactly one a cell is active.", "none",
          Query("sum by (state) (latentline_coordinator_state)", "{{state}}"), stacked=True),
    graph("Transactions", "From the first produce of a batch to its commit; batches rolled back a second.", "s",
          Query(quantile(0.5, "latentline_transaction_seconds"), "p50"),
          Query(quantile(0.95, "latentline_transaction_seconds"), "p95"),
          Query(rate("latentline_transaction_aborts_total"), "aborts a second")),
    graph("Workers' own words", "Worker processes by the state that they are in.", "none",
          Query("sum by (state) (latentline_worker_state)", "{{state}}"), stacked=True),
    graph("Views behind", "Committed records that the views have not taken in.", "none",
          Query("max by (topic) (latentline_views_lag_records)", "{{topic}}")),
), across=4, height=8)  # fmt: skip

GATEWAY = Row("HTTP gateway", (
    graph("Requests", "Requests a second, by route.", "ops",
          Query(rate("latentline_http_request_seconds_count", "route") + " > 0", "{{route}}"), stacked=True),
    graph("Answers", "Answers a second; 5xx are ours.", "ops",
          Query(rate("latentline_http_request_seconds_count", "answer") + " > 0", "{{answer}}"), stacked=True),
    graph("Time to answer, p95", "From a request to the begin of its answer.", "s",
          Query(quantile(0.95, "latentline_http_request_seconds", "route"), "{{route}}")),
    graph("Event streams", "Streams that are open.", "none", Query("sum(latentline_http_streams)", "open")),
), across=4, height=8)  # fmt: skip

NOTIFIER = Row("Webhooks", (
    graph("Attempts", "Requests to receivers a second; `none`: no answer.", "ops",
          Query(rate("latentline_webhook_attempts_total", "answer") + " > 0", "{{answer}}"), stacked=True),
    graph("Deliveries ended", "A second, by how.", "ops",
          Query(rate("latentline_webhook_deliveries_total", "outcome") + " > 0", "{{outcome}}"), stacked=True),
    graph("Deliveries pending", "Deliveries that have not ended.", "none",
          Query("sum(latentline_webhook_pending)", "pending")),
    graph("Oldest delivery", "Age of the oldest delivery that has not ended; endpoints disabled meanwhile.", "s",
          Query("max(latentline_webhook_oldest_pending_seconds)", "age"),
          Query("sum(increase(latentline_webhook_endpoints_disabled_total[$__range]))", "disabled")),
), across=4, height=8)  # fmt: skip

OVERVIEW = Dashboard(
    "latentline-overview",
    "latentline / Overview",
    "Generated by `python -m infra.grafana.generate`; edit infra/grafana/overview.py instead.",
    (HEALTH, STAGES, LOSSES, STANDSTILL, STORE, PROCESSES, GATEWAY, NOTIFIER),
)
