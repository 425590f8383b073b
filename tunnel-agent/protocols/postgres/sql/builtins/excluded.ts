/**
 * Which functions of pg_catalog are not harmless, and why. scripts/postgres-builtins.ts takes the catalogue of real
 * servers, drops what these groups name and what is VOLATILE without being listed below, and writes catalogue.ts.
 *
 * What is dropped here needs `pg:call` on `pg_catalog.NAME` unless functions.ts gives it a meaning of its own.
 */

export interface ExclusionGroup {
  readonly why: string;
  /** Whole names of functions. */
  readonly names: RegExp;
}

export const EXCLUDED: readonly ExclusionGroup[] = [
  {
    why: "They run SQL that is given as text or read a table or cursor that is given by name, so the analysis cannot see what (PG-35).",
    names: /^(query|table|schema|database|cursor)_to_xml(schema|_and_xmlschema)?$|^ts_(stat|rewrite)$/,
  },
  { why: "They take a type by name and run its input function, a domain's CHECK included.", names: /^pg_input_(is_valid|error_info)$/ },
  {
    why: "They show what other sessions run, or counters of them (PG-40).",
    names: /^pg_stat_get_.*$|^pg_(lock_status|prepared_xact|get_aios)$/,
  },
  { why: "They print the planner's samples of column values (PG-40).", names: /^pg_mcv_list_.*$/ },
  {
    why: "Replication: slots hold back the log, and reading one returns whole rows (PG-24).",
    names: /^pg_.*(replication|slot|logical|origin).*$/,
  },
  {
    why: "They show the server's files and configuration.",
    names: /^pg_(config|hba_file_rules|ident_file_mappings|show_all_file_settings|current_logfile|get_loaded_modules)$/,
  },
  { why: "Large objects are tables of their own, written and read by functions (PG-29).", names: /^(lo_.*|loread|lowrite)$/ },
  { why: "Parts of the server that only the server calls.", names: /^(fmgr_.*_validator|pg_event_trigger_.*|binary_upgrade_.*)$/ },
  {
    why: "Values that are kept in sequences; nextval and setval write (PG-38).",
    names: /^(nextval|setval|currval|lastval|pg_sequence_last_value|pg_get_sequence_data)$/,
  },
];

/** VOLATILE, and yet nothing but a value: random numbers, clocks, sizes, and facts about this very session. */
export const HARMLESS_VOLATILE: ReadonlySet<string> = new Set(
  `random random_normal setseed array_sample array_shuffle gen_random_uuid uuidv4 uuidv7 clock_timestamp timeofday current_query
  pg_is_in_recovery pg_is_wal_replay_paused pg_last_wal_receive_lsn pg_last_wal_replay_lsn pg_last_xact_replay_timestamp
  pg_current_wal_lsn pg_current_wal_insert_lsn pg_current_wal_flush_lsn pg_xact_status txid_status pg_jit_available
  pg_database_size pg_relation_size pg_table_size pg_indexes_size pg_total_relation_size pg_tablespace_size
  pg_partition_tree pg_partition_ancestors pg_collation_actual_version pg_database_collation_actual_version
  pg_notification_queue_usage`.split(/\s+/),
);

export const isExcluded = (name: string): boolean => EXCLUDED.some((group) => group.names.test(name));
