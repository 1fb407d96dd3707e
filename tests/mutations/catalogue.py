"""What is broken, how, and which test is expected to fail. `old` occurs exactly once in its file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """`breaks`: in words. `test`: a pytest node id."""

    breaks: str
    file: str
    old: str
    new: str
    test: str


CORE = "streams/coordinator/core"
SMALL_LINES = "tests/sim/test_scenarios.py::test_small_lines_under_faults[0]"

MUTATIONS = (
    # -- the store: what exists, exists whole ----------------------------------------------------------------------
    Mutation(
        "an outcome before its manifest", "stages/execution/execute.py",
        "        return store.publish(folder, manifest, replaces=stale_etag(store, folder, task))\n",
        "        place = f'{folder}/manifest.json'\n"
        "        ref = ArtifactRef(stage=task.stage, key=task.key, manifest_key=place, etag='soon')\n"
        "        return Published(manifest, ref)\n",
        "tests/store/test_execute.py::test_a_task_is_computed_once_and_then_answered_from_its_manifest",
    ),
    Mutation(
        "a manifest before its objects", "stages/execution/execute.py",
        '    with watch.part("put"):\n        objects = tuple(store.put(folder, blob) for blob in output.objects)\n',
        '    with watch.part("put"):\n'
        "        objects = (store.put(folder, output.objects[0]),)\n"
        "        store.publish(folder, Manifest(\n"
        "            stage=task.stage, key=task.key, lease=task.lease, objects=objects, bit_class=made.bit_class,\n"
        "        ))\n"
        "        objects = tuple(store.put(folder, blob) for blob in output.objects)\n",
        "tests/store/test_execute.py::test_an_upload_that_is_cut_leaves_no_output",
    ),
    Mutation(
        "the last writer of a manifest wins", "stages/storage/object_store.py",
        '{"If-None-Match": "*"}', "{}",
        "tests/store/test_conformance.py::test_of_eight_racers_one_wins_and_all_report_it[seaweedfs]",
    ),
    Mutation(
        "no digest is checked", "stages/storage/artifacts.py",
        " or sha256(data) != ref.sha256:", ":",
        "tests/store/test_conformance.py::test_corrupt_and_missing_objects_are_found[seaweedfs]",
    ),
    Mutation(
        "a condemned output is an answer", "stages/execution/execute.py",
        " or found.ref.etag == task.condemned_etag:", ":",
        "tests/store/test_execute.py::test_a_condemned_etag_is_computed_again_and_replaced",
    ),
    Mutation(
        "a torn checkpoint is accepted", "stages/storage/checkpoints.py",
        "if data is not None and sha256(data) == digest:", "if data is not None:",
        "tests/store/test_conformance.py::test_highest_valid_checkpoint_wins_and_two_are_kept[seaweedfs]",
    ),
    Mutation(
        "a checkpoint of another bit class is resumed", "stages/storage/checkpoints.py",
        "/checkpoint/{bit_class}/", "/checkpoint/",
        "tests/store/test_execute.py::test_a_checkpoint_is_found_in_its_own_bit_class_alone",
    ),
    Mutation(
        "a stage key forgets a field", "schemas/stage_keys.py",
        '"guidance_scale", ', "",
        "tests/unit/schemas/test_stage_keys.py::test_a_field_changes_its_stage_and_those_after_it",
    ),
    # -- the coordinator: one end a job, memory behind the log -----------------------------------------------------
    Mutation(
        "an aborted turn stays in memory", f"{CORE}/state/ledger.py",
        "            overlay.rollback()\n", "            overlay.commit()\n",
        "tests/sim/test_core.py::test_a_dropped_overlay_leaves_no_trace",
    ),
    Mutation(
        "the service acts on memory after an abort", "streams/coordinator/service/cell.py",
        "        self.ledger.rollback()\n", "        self.ledger.commit()\n",
        "tests/broker/test_transactions.py::test_an_aborted_transaction_leaves_no_trace_and_is_done_again",
    ),
    Mutation(
        "input offsets outside the transaction", "streams/kafka/transactions.py",
        "            if offsets:\n", "            if False:\n",
        "tests/broker/test_coordinator.py::test_a_job_ends_once_and_offsets_move_with_its_results",
    ),
    Mutation(
        "a second Done completes again", f"{CORE}/transitions.py",
        "    if state.status.ended or record is None or record.key != key or record.artifact is not None:\n",
        "    if record is None or record.key != key:\n",
        "tests/sim/test_core.py::test_a_job_goes_through_four_stages_to_one_completion",
    ),
    Mutation(
        "a repeated prompt runs again", f"{CORE}/intake.py",
        "    known = ledger.known(job)\n", "    known = None\n",
        "tests/sim/test_core.py::test_a_replayed_prompt_is_a_no_op_and_another_body_a_conflict",
    ),
    Mutation(
        "a stub is dropped early", f"{CORE}/state/ledger.py",
        " or retention_start(known) >= before:", ":",
        "tests/sim/test_operators.py::test_a_job_whose_cancel_has_overtaken_it_is_remembered_from_its_own_end",
    ),
    Mutation(
        "an ended job stays whole in memory", f"{CORE}/state/ledger.py",
        "            if state is not None and state.status.ended:\n",
        "            if state is not None and state.version < 0:\n",
        "tests/sim/test_ended.py::test_of_an_ended_job_the_coordinator_keeps_no_state[finished]",
    ),
    Mutation(
        "a takeover begins lease numbers anew where all jobs have ended", f"{CORE}/state/ledger.py",
        "        self.raise_lease(job.newest_lease)\n", "",
        "tests/sim/test_ended.py::test_lease_numbers_go_on_after_a_takeover_where_all_jobs_have_ended",
    ),
    Mutation(
        "a cancel is forgotten", f"{CORE}/intake.py",
        "    ledger.put(state, now, cancel_reason=asked.reason)\n", "",
        "tests/sim/test_asked_ends.py::test_cancel_ends_a_waiting_job_at_once_and_asks_the_worker_of_a_running_one",
    ),
    Mutation(
        "a retry does not wait for its delay", f"{CORE}/placement.py",
        "    if not retry.is_due(due, now):\n", "    if False:\n",
        "tests/sim/test_found.py::test_a_retry_is_not_forgotten_when_the_clock_is_set_back",
    ),
    # -- leases, silence, suspicion --------------------------------------------------------------------------------
    Mutation(
        "a failure under a void lease counts", f"{CORE}/outcomes.py",
        "    if state.lease is None or state.lease.number != outcome.lease:\n        withdraw_suspicion",
        "    if state.lease is None:\n        withdraw_suspicion",
        "tests/sim/test_leases.py::test_a_failure_under_a_void_lease_changes_nothing",
    ),
    Mutation(
        "good work under a void lease is thrown away", f"{CORE}/outcomes.py",
        "    if isinstance(outcome, Done):\n",
        "    if isinstance(outcome, Done) and state.lease is not None and state.lease.number == outcome.lease:\n",
        "tests/sim/test_leases.py::test_good_work_under_a_void_lease_counts_and_stops_its_successor",
    ),
    Mutation(
        "leases expire during an own pause", f"{CORE}/membership.py",
        "    if event.after_gap:\n", "    if False:\n",
        "tests/sim/test_leases.py::test_our_own_pause_convicts_nobody",
    ),
    Mutation(
        "work is placed before the workers were heard", f"{CORE}/placement.py",
        "    if ledger.is_held:\n", "    if False:\n",
        SMALL_LINES,
    ),
    Mutation(
        "lease numbers begin anew after a takeover", f"{CORE}/state/ledger.py",
        '        if seen > (self.numbers.get("lease") or 0):\n', "        if False:\n",
        "tests/sim/test_found.py::test_lease_numbers_go_on_when_all_jobs_of_old_are_forgotten",
    ),
    Mutation(
        "a drain counts as suspicion", f"{CORE}/membership.py",
        "suspect and not view.is_leaving", "suspect",
        "tests/sim/test_leases.py::test_the_loss_of_a_worker_that_was_draining_is_no_suspicion",
    ),
    Mutation(
        "a poison job is never stopped", f"{CORE}/membership.py",
        "        if state.stages[stage].lost_alone >= policy.suspicion_limit:\n", "        if False:\n",
        "tests/sim/test_core.py::test_a_job_that_kills_every_worker_is_stopped_at_the_limit",
    ),
    Mutation(
        "progress clears no suspicion", f"{CORE}/poison.py",
        "    if step is None or step <= record.checkpoints.get(bit_class, 0):\n", "    if True:\n",
        "tests/sim/test_scenarios.py"
        "::test_a_long_job_outlives_ten_lost_nodes_while_it_gets_on_and_a_poison_job_is_stopped",
    ),
    # -- the worker ------------------------------------------------------------------------------------------------
    Mutation(
        "the child begins before its Started is delivered", "streams/worker/loop/leases.py",
        "        self.reporter.outcome(outcomes.started(held, self.worker), traceparent)\n",
        "        self.reporter.outcome(outcomes.started(held, self.worker), traceparent)\n"
        "        self.compute.send(Run(task, traceparent))\n",
        "tests/unit/streams/worker/test_leases.py::test_the_child_gets_a_task_only_when_its_started_is_delivered",
    ),
    Mutation(
        "a lease is unlisted before its outcome is delivered", "streams/worker/loop/leases.py",
        "        self.held.change(held.task.lease, phase=Phase.REPORTING)\n",
        "        self.held.delivered(held.task.lease)\n",
        "tests/unit/streams/worker/test_leases.py::test_a_lease_is_listed_until_its_outcome_is_delivered",
    ),
    Mutation(
        "a draining worker takes tasks", "streams/worker/loop/worker.py",
        "        if self.draining_until is not None:\n            self.leases.decline(",
        "        if False:\n            self.leases.decline(",
        "tests/unit/streams/worker/test_leaving.py::test_a_draining_worker_takes_nothing_and_hands_over_what_does_not_fit",
    ),
    # -- the audit -------------------------------------------------------------------------------------------------
    Mutation(
        "the audit compares no digests", "operations/audit/objects.py",
        "        if self.digests.get(ref.key, ref.sha256) != ref.sha256:\n", "        if False:\n",
        "tests/unit/operations/audit/test_objects.py::test_an_object_that_is_not_as_promised",
    ),
    Mutation(
        "the audit lets a second completion pass", "operations/audit/completions.py",
        "        if len(ends) > 1:\n", "        if False:\n",
        "tests/unit/operations/audit/test_completions.py::test_each_ended_job_has_exactly_one_completion",
    ),
)  # fmt: skip
