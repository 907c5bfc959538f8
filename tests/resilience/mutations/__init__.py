"""Mechanisms of the protocol, each taken out by patching this process; production code has no switch for it.

A mutation names the scenarios that notice. One that nobody notices is a
mechanism that nobody needs, or a test that is missing.
"""

from __future__ import annotations

from tests.resilience.mutations import (
    in_background,
    in_doubt,
    in_postgres,
    in_redis,
    in_servers,
    in_watching,
    of_expiry,
    of_rights,
    of_tasks,
)
from tests.resilience.mutations.patching import Mutation

MUTATIONS: tuple[Mutation, ...] = (
    *in_redis.MUTATIONS,
    *in_postgres.MUTATIONS,
    *in_doubt.MUTATIONS,
    *in_servers.MUTATIONS,
    *of_tasks.MUTATIONS,
    *of_rights.MUTATIONS,
    *in_background.MUTATIONS,
    *in_watching.MUTATIONS,
    *of_expiry.MUTATIONS,
)
