"""Functions with an access of their own: that access is what rules speak of, instead of `execute`.

The table names, for each function of pg_catalog, the access and which argument names the object. An argument that is no
constant leaves the object open: `*`, which only a rule for everything of the kind matches.
"""

from typing import NamedTuple

from pgguard.model.access import Kind, Privilege


class Special(NamedTuple):
    """`argument`: index of the one that names the object, None where none does."""

    privilege: Privilege
    kind: Kind
    argument: int | None = None
    unsettles: bool = False


_P = Privilege

SPECIAL_FUNCTIONS: dict[str, Special] = {
    "set_config": Special(_P.SET, Kind.SETTING, 0, unsettles=True),
    "current_setting": Special(_P.SHOW, Kind.SETTING, 0),
    "nextval": Special(_P.USAGE, Kind.SEQUENCE, 0),
    "currval": Special(_P.USAGE, Kind.SEQUENCE, 0),
    "setval": Special(_P.UPDATE, Kind.SEQUENCE, 0),
    "pg_notify": Special(_P.NOTIFY, Kind.CHANNEL, 0),
    "pg_terminate_backend": Special(_P.SIGNAL, Kind.SERVER),
    "pg_cancel_backend": Special(_P.SIGNAL, Kind.SERVER),
    "pg_reload_conf": Special(_P.ADMIN, Kind.SERVER),
    "pg_rotate_logfile": Special(_P.ADMIN, Kind.SERVER),
    "pg_promote": Special(_P.ADMIN, Kind.SERVER),
    "pg_switch_wal": Special(_P.ADMIN, Kind.SERVER),
    "pg_create_restore_point": Special(_P.ADMIN, Kind.SERVER),
    **{
        name: Special(_P.READ_FILE, Kind.SERVER, 0)
        for name in ("pg_read_file", "pg_read_binary_file", "pg_stat_file", "pg_ls_dir", "pg_read_file_old")
    },
    **{
        name: Special(_P.READ_FILE, Kind.SERVER)
        for name in (
            "pg_ls_logdir", "pg_ls_waldir", "pg_ls_tmpdir", "pg_ls_archive_statusdir", "pg_ls_logicalmapdir",
            "pg_ls_logicalsnapdir", "pg_ls_replslotdir", "pg_ls_summariesdir", "pg_current_logfile",
            "pg_hba_file_rules",
            "pg_ident_file_mappings", "pg_show_all_file_settings",
        )
    },
    "lo_import": Special(_P.READ_FILE, Kind.SERVER, 0),
    "lo_export": Special(_P.WRITE_FILE, Kind.SERVER, 1),
    **{name: Special(_P.READ, Kind.LARGE_OBJECT, 0) for name in ("lo_open", "lo_get")},
    **{
        name: Special(_P.READ, Kind.LARGE_OBJECT)
        for name in ("loread", "lo_lseek", "lo_lseek64", "lo_tell", "lo_tell64", "lo_close")
    },
    **{name: Special(_P.WRITE, Kind.LARGE_OBJECT, 0) for name in ("lo_put", "lo_unlink")},
    **{
        name: Special(_P.WRITE, Kind.LARGE_OBJECT)
        for name in ("lowrite", "lo_truncate", "lo_truncate64", "lo_from_bytea", "lo_creat", "lo_create")
    },
    **{
        name: Special(_P.REPLICATE, Kind.SERVER)
        for name in (
            "pg_create_physical_replication_slot", "pg_create_logical_replication_slot", "pg_drop_replication_slot",
            "pg_logical_slot_get_changes", "pg_logical_slot_peek_changes", "pg_logical_slot_get_binary_changes",
            "pg_logical_slot_peek_binary_changes", "pg_replication_slot_advance", "pg_logical_emit_message",
        )
    },
}  # fmt: skip

BESIDES: dict[str, Special] = {
    "lo_put": Special(_P.READ, Kind.LARGE_OBJECT, 0),
    "lo_export": Special(_P.READ, Kind.LARGE_OBJECT, 0),
    "lo_import": Special(_P.WRITE, Kind.LARGE_OBJECT),
}
"""A second access of the same call. Whoever writes to a large object must be allowed to read it (PostgreSQL source,
inv_open).
"""
