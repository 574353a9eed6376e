"""How long jobs take together on so many cores."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Job:
    """One job.

    Attributes
    ----------
    seconds : float
    threads : int
    after : tuple of int
        Jobs that have to be done before, by their places in the list.
    priority : int
        Of jobs that could begin, the one with the highest does; then the first in the list.
    """

    seconds: float
    threads: int = 1
    after: tuple[int, ...] = field(default=())
    priority: int = 0


def wall_seconds(jobs: Sequence[Job], cores: int) -> float:
    """Return when the last job ends, if each begins as soon as it may and enough cores are free.

    List scheduling [1]_: a free core takes the first job that fits. A job with more threads than cores takes all.

    References
    ----------
    .. [1] R. L. Graham, Bounds on multiprocessing timing anomalies, SIAM Journal on Applied Mathematics 17 (1969)
       416-429.
    """
    waiting = [len(set(job.after)) for job in jobs]
    followers: list[list[int]] = [[] for _ in jobs]
    for index, job in enumerate(jobs):
        for before in set(job.after):
            followers[before].append(index)
    # By threads, so that a job that does not fit is not looked at again and again.
    ready: dict[int, list[tuple[int, int]]] = {}
    running: list[tuple[float, int, int]] = []
    now, free = 0.0, cores

    def add(index: int) -> None:
        threads = max(1, min(jobs[index].threads, cores))
        heapq.heappush(ready.setdefault(threads, []), (-jobs[index].priority, index))

    for index, count in enumerate(waiting):
        if not count:
            add(index)
    while True:
        while fitting := [
            (queue[0], threads) for threads, queue in ready.items() if queue and threads <= free
        ]:
            (_, index), threads = min(fitting)
            heapq.heappop(ready[threads])
            free -= threads
            heapq.heappush(running, (now + jobs[index].seconds, index, threads))
        if not running:
            return now
        now, index, threads = heapq.heappop(running)
        free += threads
        for follower in followers[index]:
            waiting[follower] -= 1
            if not waiting[follower]:
                add(follower)
