# ruff: noqa: INP001  # a script, not part of a package
"""Derive the baseline's allowlists from the catalogs of running PostgreSQL servers, one of each major version.

    python tools/baseline.py DSN [DSN ...] > pgguard/policy/baseline.yaml

What begins with a pattern of LEFT_OUT is left out, each group for its reason, and so is what SQL cannot call (functions
of internal and cstring arguments but those that TABLESAMPLE names, triggers). All others are listed by name: so a
function of a later PostgreSQL is not harmless until it is listed. Review the difference by hand before committing it.
"""

import asyncio
import re
import sys

import asyncpg

LEFT_OUT = {
    "read or write files of the server": (
        "pg_read_", "pg_stat_file", "pg_ls_", "pg_file_", "pg_hba_", "pg_ident_", "pg_current_logfile", "pg_logdir",
        "pg_import_system", "pg_show_all_file", "pg_config", "pg_control_", "pg_get_loaded_modules",
    ),
    "large objects": ("lo_", "loread", "lowrite", "be_lo"),
    "run SQL text, or read what their arguments name": (
        ".*_to_xml", "ts_stat", "ts_rewrite", "cursor_to_", "query_to_",
    ),
    "other sessions, or the whole server": (
        "pg_stat_", "pg_stat$", "pg_terminate", "pg_cancel", "pg_reload", "pg_rotate", "pg_promote", "pg_switch",
        "pg_create_restore", "pg_start_", "pg_stop_", "pg_backup", "pg_wal_", "pg_is_wal", "pg_get_wal",
        "pg_last_(wal|committed)", "pg_current_wal", "pg_available_wal", "pg_log_", "pg_blocking", "pg_safe_snapshot",
        "pg_isolation_test", "pg_lock_status", "pg_get_shmem", "pg_get_dsm", "pg_get_backend_memory",
        "pg_get_process_memory", "pg_prepared_xact", "pg_get_multixact", "pg_get_aios", "pg_get_wait_events",
        "pg_export_snapshot", "pg_nextoid",
    ),
    "replication": (
        "pg_logical", "pg_replication", "pg_create_(physical|logical)", "pg_copy_(physical|logical)",
        "pg_drop_replication", "pg_sync_replication", "pg_get_replication", "pg_get_publication", "pg_get_replica",
        "pg_show_replication", "pg_subscription", "pg_walfile", "pg_split_walfile", "binary_upgrade", ".*_slot",
        ".*_origin",
    ),
    "data of sequences (judged as usage, select and update)": (
        "nextval", "currval", "lastval", "setval", "pg_sequence_last", "pg_get_sequence_data",
    ),
    "accesses of their own (set, show, notify)": ("set_config", "current_setting", "pg_notify"),
    "change the catalog or statistics": (
        "pg_restore_", "pg_clear_", "pg_extension_config_dump", "pg_event_trigger", "pg_set_", "pg_replace_",
    ),
    "consume transaction numbers": ("txid_current$", "pg_current_xact_id$"),
    "locks and waiting, which can stop others": ("pg_advisory", "pg_try_advisory", "pg_sleep"),
    "maintain indexes and storage, or show where it is": (
        "brin_(summarize|desummarize)", "gin_clean_pending_list", "pg_relation_filenode", "pg_filenode_relation",
        "pg_relation_filepath", "pg_tablespace_databases", "currtid",
    ),
}  # fmt: skip
KEPT = frozenset({"pg_advisory_unlock_all"})
"""Begins with a pattern above, and is harmless: drivers' pools call it to reset a session."""
RELATIONS_LEFT_OUT = {
    "samples of what tables hold": ("pg_statistic", "pg_statistic_ext_data", "pg_stats.*"),
    "data of sequences": ("pg_sequences",),
    "passwords and secrets": (
        "pg_authid", "pg_shadow", "_?pg_user_mapping.*", "user_mapping_options", "pg_subscription.*",
    ),
    "large objects": ("pg_largeobject",),
    "other sessions: what they run, hold and wait for": (
        "pg_stat_.*", "pg_statio_.*", "pg_locks", "pg_prepared_xacts", "pg_aios", "pg_wait_events",
    ),
    "the server's files, memory and settings of others": (
        "pg_file_settings", "pg_hba_file_rules", "pg_ident_file_mappings", "pg_config", "pg_backend_memory_contexts",
        "pg_shmem_allocations.*", "pg_dsm_.*", "pg_db_role_setting",
    ),
    "replication": ("pg_replication_.*",),
}  # fmt: skip
COLUMNS = {
    "user-mappings": ("pg_catalog.pg_user_mappings", "umid srvid srvname umuser usename"),
    "subscriptions": (
        "pg_catalog.pg_subscription",
        (
            "oid subdbid subname subowner subenabled subbinary substream subtwophasestate subdisableonerr"
            " subpasswordrequired subrunasowner subfailover subslotname subsynccommit subpublications suborigin"
            " subskiplsn"
        ),
    ),
}
"""Of relations that are left out, the columns that psql's \\deu and \\dRs read, and that hold no secret."""
SETTINGS_LEFT_OUT = {
    "change how text is read": "standard_conforming_strings, backslash_quote, escape_string_warning, array_nulls",
    "change whose rights count": "role, session_authorization",
    "reach code, files or the log": "local_preload_libraries, dynamic_library_path, log_*",
    "belong to pgguard, to extensions or to the server": "pgguard.* but pgguard.reason, all names with a dot, the rest",
}
ROLES = """
  - name: baseline/roles
    who: everyone
    allow: select
    on:
      table:
        - pg_catalog.pg_roles
        - pg_catalog.pg_user
    columns:
      except: [rolconfig, useconfig]
""".removeprefix("\n")
"""Who there is, without the settings that were stored for them: some put secrets there."""
SETTINGS = """
all application_name bytea_output check_function_bodies client_encoding client_min_messages constraint_exclusion
cursor_tuple_fraction datestyle default_statistics_target default_table_access_method default_tablespace
default_text_search_config default_toast_compression default_transaction_deferrable default_transaction_isolation
default_transaction_read_only enable_* extra_float_digits force_parallel_mode from_collapse_limit geqo*
idle_in_transaction_session_timeout idle_session_timeout intervalstyle jit join_collapse_limit lc_messages lc_monetary
lc_numeric lc_time lock_timeout maintenance_work_mem max_parallel_* pgguard.reason plan_cache_mode
quote_all_identifiers random_page_cost row_security search_path seq_page_cost session_characteristics
statement_timeout synchronize_seqscans synchronous_commit temp_buffers temp_tablespaces timezone
timezone_abbreviations transaction
transaction_deferrable transaction_isolation transaction_read_only transaction_snapshot transaction_timeout work_mem
xmlbinary xmloption
"""
FUNCTIONS = """
select n.nspname, p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname in ('pg_catalog', 'information_schema')
  and (
    p.prorettype = 'tsm_handler'::regtype and p.proname <> 'tsm_handler_in'
    or not '{internal,cstring}'::regtype[] && p.proargtypes::regtype[]
  )
  and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype, 'internal'::regtype, 'cstring'::regtype)
group by 1, 2
"""
RELATIONS = """
select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('pg_catalog', 'information_schema') and c.relkind in ('r', 'v')
"""


def harmless(name: str) -> bool:
    if not re.fullmatch(r"[a-z_0-9]+", name):
        return False
    return name in KEPT or not any(re.match(p, name) for patterns in LEFT_OUT.values() for p in patterns)


def secret(relation: str) -> bool:
    return any(re.fullmatch(p, relation) for patterns in RELATIONS_LEFT_OUT.values() for p in patterns)


def head() -> str:
    """What stands above the rules: where they come from, and what is left out for which reason."""

    def reasons(groups: dict[str, tuple[str, ...]]) -> str:
        return "".join(f"#   {reason}: {', '.join(patterns)}\n" for reason, patterns in groups.items())

    return (
        "# What every client needs to work at all: allow rules for everyone. Derived by tools/baseline.py from the\n"
        "# catalogs of PostgreSQL 13 to 18, reviewed by hand. Whatever is not listed is not allowed.\n"
        "# Catalogs left out, by regular expression of their names:\n"
        f"{reasons(RELATIONS_LEFT_OUT)}"
        "# Functions left out, by how their names begin:\n"
        f"{reasons(LEFT_OUT)}"
        "# Settings left out:\n"
        f"{''.join(f'#   {reason}: {what}{chr(10)}' for reason, what in SETTINGS_LEFT_OUT.items())}"
    )


async def names(dsn: str) -> tuple[set[str], set[str]]:
    """The harmless functions and relations of one server."""
    connection = await asyncpg.connect(dsn)
    functions = await connection.fetch(FUNCTIONS)
    relations = await connection.fetch(RELATIONS)
    await connection.close()
    kept = {f"{schema}.{name}" for schema, name in functions if harmless(name)}
    return kept, {
        f"{schema}.{name}" for schema, name in relations if not secret(name) and name not in {"pg_roles", "pg_user"}
    }


def rule(name: str, privilege: str, kind: str, patterns: list[str], columns: str = "") -> str:
    listed = "".join(f"        - {pattern}\n" for pattern in patterns)
    head = f"  - name: baseline/{name}\n    who: everyone\n    allow: {privilege}\n    on:\n      {kind}:\n"
    named = "".join(f"      - {column}\n" for column in columns.split())
    return head + listed + (f"    columns:\n{named}" if named else "")


async def main(dsns: list[str]) -> None:
    found = [await names(dsn) for dsn in dsns]
    functions = sorted(set().union(*(some for some, _ in found)))
    relations = sorted(set().union(*(some for _, some in found)))
    sys.stdout.write(
        head()
        + "rules:\n"
        + rule("connect", "connect", "database", ['"*"'])
        + rule("catalogs", "select", "table", relations)
        + ROLES
        + "".join(rule(name, "select", "table", [table], columns) for name, (table, columns) in COLUMNS.items())
        + rule("functions", "execute", "function", functions)
        + rule("settings", "set", "setting", sorted(SETTINGS.split()))
        + rule("show", "show", "setting", ['"*"'])
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
