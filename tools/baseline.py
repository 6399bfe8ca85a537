"""Derive the baseline's allowlists from the catalogs of running PostgreSQL servers.

    python tools/baseline.py DSN [DSN ...] > pgguard/policy/baseline.yaml

Names that match LEFT_OUT are left out, each group with its reason; everything else of pg_catalog's functions and
relations is listed by name, so that a function of a later PostgreSQL is not harmless until it is listed. Review the
difference by hand before committing it.
"""

import asyncio
import re
import sys

import asyncpg

LEFT_OUT = {
    "reads or writes files of the server": r"pg_(read|stat_file|ls_|file_|hba_|ident_|current_logfile|logdir|import_)|lo_(import|export)",
    "large objects": r"lo_|loread|lowrite|be_lo",
    "runs SQL text, or reads what its arguments name": r".*_to_xml|.*_to_xmlschema|.*_to_xml_and_xmlschema|ts_stat|ts_rewrite|cursor_to_.*|query_to_.*",
    "other sessions, or the whole server": r"pg_(stat_|terminate|cancel|reload|rotate|promote|switch|create_restore|start_|stop_|backup|wal_|is_wal|get_wal|last_wal|current_wal|current_xlog|log_|blocking|safe_snapshot|isolation_test|lock_status|get_shmem|get_backend_memory|show_all_file|show_replication|config|control_|prepared_xact|get_multixact|stat)",
    "replication": r"pg_(logical|replication|create_(physical|logical)|copy_(physical|logical)|drop_replication|sync_replication|get_replication|get_publication|get_replica|sequence_last|subscription|walfile|split_walfile|get_sequence_data)|.*slot.*|pg_show_replication.*|binary_upgrade.*",
    "changes settings, sequences, snapshots, or statistics": r"set_config|nextval|currval|lastval|setval|pg_export_snapshot|pg_notify|pg_(restore|clear)_(relation|attribute)_stats|pg_extension_config_dump|pg_nextoid|pg_stop_making_pinned_objects|pg_collation_actual_version|pg_event_trigger.*|txid_current$|pg_current_xact_id$",
    "locks and waiting: they can stop others": r"pg_(try_)?advisory.*|pg_sleep.*",
    "index and storage maintenance": r"brin_(summarize|desummarize).*|gin_clean_pending_list|pg_relation_filenode|pg_filenode_relation|pg_relation_filepath|pg_partition_.*internal|currtid.*",
    "current_setting is `show`": r"current_setting",
}
RELATIONS_LEFT_OUT = re.compile(
    r"pg_statistic|pg_statistic_ext_data|pg_stats.*|pg_authid|pg_shadow|pg_user_mapping.*|pg_largeobject.*|pg_stat_.*|pg_statio_.*|pg_file_settings"
    r"|pg_hba_file_rules|pg_ident_file_mappings|pg_subscription.*|pg_replication_.*|pg_locks|pg_prepared_xacts|pg_config"
    r"|pg_backend_memory_contexts|pg_shmem_allocations.*|pg_db_role_setting|pg_aios|pg_wait_events|pg_dist.*"
)
SETTINGS = """
all application_name bytea_output check_function_bodies client_encoding client_min_messages constraint_exclusion
cursor_tuple_fraction datestyle default_statistics_target default_table_access_method default_tablespace
default_text_search_config default_toast_compression default_transaction_deferrable default_transaction_isolation
default_transaction_read_only deadlock_timeout enable_* extra_float_digits force_parallel_mode from_collapse_limit geqo*
idle_in_transaction_session_timeout idle_session_timeout intervalstyle jit join_collapse_limit lc_messages lc_monetary
lc_numeric lc_time lock_timeout maintenance_work_mem max_parallel_* options_ pgguard.reason plan_cache_mode quote_all_identifiers
random_page_cost row_security search_path seq_page_cost session_characteristics statement_timeout synchronize_seqscans
synchronous_commit temp_buffers temp_tablespaces timezone timezone_abbreviations transaction transaction_deferrable
transaction_isolation transaction_read_only transaction_snapshot transaction_timeout work_mem xmlbinary xmloption
"""


def harmless(name: str) -> bool:
    return not any(re.fullmatch(f"(?:{pattern})(?:.*)" if pattern.endswith(")") else pattern, name) or re.match(pattern, name) for pattern in LEFT_OUT.values())


async def names(dsn: str) -> tuple[set[str], set[str]]:
    connection = await asyncpg.connect(dsn)
    functions = await connection.fetch(
        "select distinct proname from pg_proc where pronamespace = 'pg_catalog'::regnamespace"
    )
    relations = await connection.fetch(
        "select relname from pg_class where relnamespace = 'pg_catalog'::regnamespace and relkind in ('r', 'v')"
    )
    await connection.close()
    return {row[0] for row in functions}, {row[0] for row in relations}


def listed(kind: str, found: list[str]) -> str:
    return f"      {kind}:\n" + "".join(f"        - {name}\n" for name in found)


async def main(dsns: list[str]) -> None:
    functions: set[str] = set()
    relations: set[str] = set()
    for dsn in dsns:
        some_functions, some_relations = await names(dsn)
        functions |= some_functions
        relations |= some_relations
    kept = sorted(f for f in functions if harmless(f) and re.fullmatch(r"[a-z_0-9]+", f))
    catalogs = sorted(r for r in relations if not RELATIONS_LEFT_OUT.fullmatch(r))
    print("# What every client needs to work at all. Made by tools/baseline.py and reviewed by hand; left out are, as")
    print("# functions whose names match:")
    for reason, pattern in LEFT_OUT.items():
        print(f"#   {reason}: {pattern}"[:400])
    print("rules:")
    print("  - name: baseline/connect\n    who: everyone\n    allow: connect\n    on: {database: '*'}")
    print("  - name: baseline/catalogs\n    who: everyone\n    allow: select\n    on:")
    print("      table:\n" + "".join(f"        - pg_catalog.{name}\n" for name in catalogs) + "        - information_schema.*", end="\n")
    print("  - name: baseline/functions\n    who: everyone\n    allow: execute\n    on:")
    print(listed("function", [f"pg_catalog.{name}" for name in kept]), end="")
    print("  - name: baseline/settings\n    who: everyone\n    allow: set\n    on:")
    print(listed("setting", sorted(SETTINGS.split())), end="")
    print("  - name: baseline/show\n    who: everyone\n    allow: show\n    on: {setting: '*'}")


asyncio.run(main(sys.argv[1:]))
