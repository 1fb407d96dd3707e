"""Nobody is in another's way: what is sent when some receivers are slow."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from webhooks.delivery.queue import AT_ONCE_OF_ONE, AT_ONCE_TO_ONE, DeliveryScheduler, Destination

SLOW, QUICK, FOREIGN = Destination("slow", "acme"), Destination("quick", "acme"), Destination("foreign", "globex")


def taken(due: DeliveryScheduler, now: float) -> list[str]:
    return [delivery for delivery, _ in due.take(now)]


def test_nothing_is_sent_before_its_time_and_nothing_twice() -> None:
    due = DeliveryScheduler()
    due.add("later", QUICK, 10.0)
    due.add("now", QUICK, 5.0)
    assert taken(due, 4.0) == []
    assert taken(due, 5.0) == ["now"]
    assert taken(due, 5.0) == []
    assert taken(due, 10.0) == ["later"]
    assert due.under_way == 2


def test_a_slow_receiver_holds_up_itself_alone() -> None:
    due = DeliveryScheduler()
    for number in range(1000):
        due.add(f"slow-{number:04}", SLOW, 0.0)
    assert len(taken(due, 1.0)) == AT_ONCE_TO_ONE
    due.add("quick", QUICK, 1.0)
    due.add("foreign", FOREIGN, 1.0)
    assert set(taken(due, 1.0)) == {"quick", "foreign"}
    due.done(SLOW, 2.0)
    assert taken(due, 2.0) == [f"slow-{AT_ONCE_TO_ONE:04}"]


def test_a_tenant_with_many_slow_receivers_leaves_room_for_others() -> None:
    due, ways = DeliveryScheduler(), [Destination(f"receiver-{number}", "acme") for number in range(50)]
    for way in ways:
        due.add(way.receiver, way, 0.0)
    due.add("foreign", FOREIGN, 0.5)
    began = taken(due, 1.0)
    assert len(began) == AT_ONCE_OF_ONE + 1
    assert "foreign" in began
    seen = set(began)
    for way in ways:
        if way.receiver in seen:
            due.done(way, 2.0)
            seen |= set(taken(due, 2.0))
    assert seen == {way.receiver for way in ways} | {"foreign"}


def test_one_who_asks_for_patience_gets_it() -> None:
    due = DeliveryScheduler()
    due.add("a", QUICK, 0.0)
    due.pause(QUICK, 30.0)
    due.add("b", QUICK, 1.0)
    assert taken(due, 29.0) == []
    assert taken(due, 30.0) == ["a", "b"]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=60), st.randoms(use_true_random=False))
def test_everything_is_sent_once_whoever_is_slow(added: list[tuple[int, int]], random: Any) -> None:
    due, under_way, sent = DeliveryScheduler(), list[Destination](), list[str]()
    for number, (receiver, at) in enumerate(added):
        due.add(str(number), Destination(f"r{receiver}", f"t{receiver % 2}"), float(at))
    for now in range(10, 10 + 2 * len(added) + 2):
        for delivery, way in due.take(float(now)):
            sent.append(delivery)
            under_way.append(way)
        if under_way:
            due.done(under_way.pop(random.randrange(len(under_way))), float(now))
    assert sorted(sent) == sorted(str(number) for number in range(len(added)))
    assert len(due) == due.under_way == len(under_way) == 0
