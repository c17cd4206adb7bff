"""Ringfence as it is used: each tool has a rate limit as well, kept in the memory ledger."""

from bench.peers.engines import ringfence
from bench.peers.workload import Decide, Tools


def build(tools: Tools) -> Decide:
    """Return the decision with its rate limit and its reasons."""
    return ringfence.build(tools, rate=True)
