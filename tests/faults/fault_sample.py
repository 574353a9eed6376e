"""Which of the injected faults a call of pytest tries: all, or a sample drawn by a seed that the header shows.

Tests with the marker ``fault_grid(sample=N)`` cost seconds each. Of those of one module with the same marker a sample
takes N; ``group`` tells two such sets apart. The seed also decides on the moments at which tests interrupt, so that the
same seed tries the same again.
"""

from __future__ import annotations

import os
import random
import secrets
from collections import defaultdict

import pytest

SEED = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults", "injected faults (tests/faults)")
    group.addoption(
        "--faults",
        choices=("sample", "all"),
        default=os.environ.get("VLMTSC_FAULTS", "sample"),
        help="all: the whole grid; sample (default): some of it, drawn by the seed; also $VLMTSC_FAULTS",
    )
    group.addoption(
        "--faults-seed",
        type=int,
        default=os.environ.get("VLMTSC_FAULTS_SEED"),
        help="decides on the sample and on random moments; default: another one each time; also $VLMTSC_FAULTS_SEED",
    )


def pytest_configure(config: pytest.Config) -> None:
    given = config.getoption("--faults-seed")
    config.stash[SEED] = secrets.randbelow(10**6) if given is None else int(given)
    os.environ["VLMTSC_FAULTS_SEED"] = str(
        config.stash[SEED]
    )  # the processes of pytest-xdist draw the same sample


def pytest_report_header(config: pytest.Config) -> str:
    return f"injected faults: --faults={config.getoption('--faults')} --faults-seed={config.stash[SEED]}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--faults") == "all":
        return
    groups: dict[tuple[str, str, int], list[pytest.Item]] = defaultdict(list)
    for item in items:
        marker = item.get_closest_marker("fault_grid")
        if marker is not None:
            module, group = item.nodeid.partition("::")[0], marker.kwargs.get("group", "")
            groups[module, group, marker.kwargs["sample"]].append(item)
    left_out: set[pytest.Item] = set()
    for (module, group, size), cases in groups.items():
        drawn = random.Random(f"{config.stash[SEED]} {module} {group}").sample(cases, min(size, len(cases)))
        left_out |= set(cases) - set(drawn)
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


def moments(request: pytest.FixtureRequest) -> random.Random:
    """Give the random numbers of one test: of the seed and the test's name."""
    return random.Random(f"{request.config.stash[SEED]} {request.node.name}")
