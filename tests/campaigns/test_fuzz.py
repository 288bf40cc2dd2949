"""Spoilt requests over raw sockets: no 500, no hang, no stowaway answered, no growth of memory."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.campaigns import spoilt
from tests.plugins.campaign import Campaign
from tests.serving.conftest import Trained
from tests.serving.conftest import bundles as bundles  # noqa: PLC0414 - the same models
from tests.serving.rig import PATIENCE, Publisher, Service, service

pytestmark = pytest.mark.timeout(0)

#: Connections at once in a round; spoilt bodies of each, and spoilt framings, each on its own.
CONNECTIONS, BODIES, FRAMINGS = 8, 100, 15
#: Bytes that each process may grow by after the first rounds.
GROWTH = 40 << 20
WARM = 1


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, bundles: dict[str, Trained]
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("fuzz")
    publisher = Publisher(folder)
    publisher.publish("flights", bundles["lightgbm-1"].folder)
    with service(publisher, folder / "run", "flights", serving_workers=1) as started:
        yield started


@pytest.mark.campaign
def test_spoilt_requests(running: Service, campaign: Campaign) -> None:
    statuses: Counter[int] = Counter()
    sizes: dict[int, int] = {}
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for turn in campaign.rounds(short=4):
            seeds = [turn.random.getrandbits(62) for _ in range(CONNECTIONS)]
            for counted in pool.map(partial(ask, running), seeds):
                statuses += counted
            if not sizes and turn.number >= WARM:
                sizes = resident(running)
    assert set(statuses) <= spoilt.ALLOWED, statuses
    assert statuses[200]
    assert statuses[400]
    asked = campaign.played * CONNECTIONS * (BODIES + FRAMINGS)
    print(f"{asked} spoilt requests: {sorted(statuses.items())}")
    grown = {pid: size - sizes[pid] for pid, size in resident(running).items() if pid in sizes}
    print(f"grown by {grown} bytes")
    if sizes:
        assert sizes.keys() == resident(running).keys(), "a process died"
        assert max(grown.values()) < GROWTH


def ask(running: Service, seed: int) -> Counter[int]:
    """What one connection's share of a round is answered."""
    choose = random.Random(seed)
    statuses = ask_bodies(running, choose, seed)
    for number in range(FRAMINGS):
        statuses += ask_framing(running, choose, f"{seed}.{number}")
    return statuses


def ask_bodies(running: Service, choose: random.Random, number: int) -> Counter[int]:
    """Spoilt bodies in one pipeline, a canary behind each; each gets an answer, in order."""
    statuses: Counter[int] = Counter()
    left = [spoilt.spoilt_content(choose, f"{number}.{i}") for i in range(BODIES)]
    while left:
        data = b"".join(
            body + spoilt.infer(f"canary-{i}", 1).encode() for i, body in enumerate(left)
        )
        got = list(spoilt.answers_in(spoilt.exchange(running.address, data, PATIENCE)))
        statuses.update(answer.status for answer in got)
        for i, answer in enumerate(got[1::2]):
            assert (answer.status, answer.id) == (200, f"canary-{i}"), (left[i], answer)
        assert got, left[0]
        if len(got) % 2:
            # What does not fit is refused together with its connection.
            assert got[-1].status in (413, 431), (left[len(got) // 2], got[-1])
        elif len(got) < 2 * len(left):
            raise AssertionError(f"closed after {left[len(got) // 2 - 1]!r}")
        left = left[(len(got) + 1) // 2 :]
    return statuses


def ask_framing(running: Service, choose: random.Random, name: str) -> Counter[int]:
    """One spoilt framing; what is answered are requests that h11 sees too, in its order."""
    data = spoilt.spoilt_framing(choose, name)
    got = list(spoilt.answers_in(spoilt.exchange(running.address, data, PATIENCE)))
    answered = [answer.id for answer in got if answer.id]
    seen = spoilt.seen_by_h11(data)
    stowed = [each for each in answered if each.startswith("stowaway") and each not in seen]
    assert not stowed, data
    assert len(answered) == len(set(answered)), data
    return Counter(answer.status for answer in got)


def resident(running: Service) -> dict[int, int]:
    """Bytes that each process of the service holds, by its pid."""
    pids = running.processes("pen:")
    return {pid: _rss(pid) for pid in pids}


def _rss(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])
