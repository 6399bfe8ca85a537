"""The attacked lab: superusers behind tight rules, canaries planted, and a superuser beside the proxy who looks on."""

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pgguard.lab.lab import Lab, Plan

from .siege import Siege
from .world import HERE, Canaries, write_world


@pytest.fixture(scope="package")
def canaries() -> Canaries:
    return Canaries()


@pytest.fixture(scope="package")
def besieged(servers: Path, canaries: Canaries) -> Iterator[Lab]:
    folder = servers / "siege"
    folder.mkdir()
    plan = Plan(
        folder,
        sql=(write_world(folder, canaries),),
        rules=HERE / "rules",
        directory=HERE / "people.yaml",
        settings=("directory.refresh=0.5",),
        postgres_settings={
            "wal_level": "logical",
            "max_prepared_transactions": "10",
            "shared_preload_libraries": "pg_stat_statements",
            "autovacuum": "off",
        },
    )
    with Lab(plan) as lab:
        yield lab


@pytest.fixture(scope="package")
def siege(besieged: Lab, canaries: Canaries) -> Iterator[Siege]:
    before = dict(os.environ)
    os.environ.update({k: v for k, v in besieged.environment("mallory").items() if k.startswith("KRB5")})
    outside = besieged.folder / "outside"
    outside.mkdir()
    outside.chmod(0o777)
    direct = psycopg.connect(besieged.postgres.dsn("shop"), autocommit=True)
    victim = psycopg.connect(besieged.postgres.dsn("shop", "victim"), autocommit=True)
    victim.execute(f"select '{canaries.of['activity']}'".encode())
    (besieged.postgres.data / "canary.txt").write_text(canaries.of["file"])
    try:
        with Siege(besieged, canaries, direct, outside) as running:
            yield running
    finally:
        victim.close()
        direct.close()
        os.environ.clear()
        os.environ.update(before)
