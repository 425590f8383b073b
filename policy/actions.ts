/**
 * The one table of actions: what each is asked of, which groups hold it, and a sentence for people.
 * schema.ts, the linter and docs/policy.md are made from it; protocol rooms use its names and nothing else.
 *
 * An action that is not here is denied. Adding one here makes it grantable, so add it with the code that asks for it.
 */
import type { Resource } from "./types.ts";

export type ResourceType = Resource["type"];

export interface ActionEntry {
  /** What a request may ask it of. */
  readonly on: readonly ResourceType[];
  /** Groups that a grant may name instead of it. */
  readonly groups: readonly string[];
  readonly sentence: string;
}

const TARGET = ["target"] as const;
const GATEWAY = ["gateway"] as const;
const TABLE = ["table"] as const;
const FUNCTION = ["function"] as const;
/** Relations (tables, views, sequences, indexes, foreign tables) are `table`; types, collations and the like are their `schema`; roles, databases, extensions the `target`. */
const ANY_OBJECT = ["target", "schema", "table", "function"] as const;

export const ACTIONS = {
  // ── any target ──
  connect: { on: TARGET, groups: [], sentence: "open a session to the target" },
  "target:inspect": {
    on: TARGET,
    groups: [],
    sentence: "see what the agent's logins may do at the target, and how to mend it: `sallyport doctor`",
  },

  unmask: { on: ["class"], groups: [], sentence: "see a data class's values as they are in the target" },

  // ── Postgres: data ──
  "pg:session": {
    on: TARGET,
    groups: ["pg:read", "pg:all"],
    sentence: "harmless session statements: BEGIN, COMMIT, SHOW, SET of safe parameters, DEALLOCATE, CLOSE",
  },
  "pg:select": { on: TABLE, groups: ["pg:read", "pg:all"], sentence: "read rows: SELECT, TABLE, COPY … TO STDOUT" },
  "pg:inspect": {
    on: TABLE,
    groups: ["pg:admin", "pg:all"],
    sentence:
      "read a catalogue relation that shows other people's data: pg_stats, pg_stat_activity, pg_stat_statements, … (with pg:select)",
  },
  "pg:insert": { on: TABLE, groups: ["pg:write", "pg:all"], sentence: "add rows: INSERT, COPY … FROM STDIN, MERGE's inserts" },
  "pg:update": {
    on: TABLE,
    groups: ["pg:write", "pg:all"],
    sentence: "change rows: UPDATE, ON CONFLICT DO UPDATE, MERGE's updates, SELECT … FOR UPDATE",
  },
  "pg:delete": { on: TABLE, groups: ["pg:write", "pg:all"], sentence: "remove rows: DELETE, MERGE's deletes" },
  "pg:lock": { on: TABLE, groups: ["pg:write", "pg:all"], sentence: "LOCK TABLE" },
  "pg:truncate": {
    on: ["target", "table"],
    groups: ["pg:ddl", "pg:all"],
    sentence: "empty a table: TRUNCATE; with CASCADE also asked of the target",
  },

  // ── Postgres: definitions ──
  "pg:create": { on: ANY_OBJECT, groups: ["pg:ddl", "pg:all"], sentence: "CREATE of any object, SELECT INTO, CREATE TABLE AS" },
  "pg:alter": {
    on: ANY_OBJECT,
    groups: ["pg:ddl", "pg:all"],
    sentence: "ALTER of any object, RENAME, SET SCHEMA, OWNER TO, ENABLE TRIGGER",
  },
  "pg:drop": { on: ANY_OBJECT, groups: ["pg:ddl", "pg:all"], sentence: "DROP of any object, DROP OWNED" },
  "pg:comment": { on: ANY_OBJECT, groups: ["pg:ddl", "pg:all"], sentence: "COMMENT ON, SECURITY LABEL" },
  "pg:maintain": {
    on: ["target", "schema", "table"],
    groups: ["pg:maintenance", "pg:all"],
    sentence: "VACUUM, ANALYZE, CLUSTER, REFRESH MATERIALIZED VIEW",
  },
  "pg:reindex": { on: ["target", "schema", "table"], groups: ["pg:maintenance", "pg:all"], sentence: "REINDEX" },
  "pg:import": { on: ["target", "schema"], groups: ["pg:ddl", "pg:all"], sentence: "IMPORT FOREIGN SCHEMA" },

  // ── Postgres: code whose effects the gateway cannot see ──
  "pg:call": {
    on: FUNCTION,
    groups: ["pg:execute", "pg:all"],
    sentence: "run a function that is not on the harmless list, or CALL a procedure",
  },
  "pg:do": { on: TARGET, groups: ["pg:execute", "pg:all"], sentence: "run an anonymous code block: DO" },

  // ── Postgres: the session and other sessions ──
  "pg:set": { on: TARGET, groups: ["pg:all"], sentence: "SET or RESET of a parameter that is not on the safe list" },
  "pg:listen": { on: TARGET, groups: ["pg:messages", "pg:all"], sentence: "LISTEN, UNLISTEN" },
  "pg:notify": { on: TARGET, groups: ["pg:messages", "pg:all"], sentence: "NOTIFY, pg_notify" },

  // ── Postgres: rights and the server ──
  "pg:grant": { on: ANY_OBJECT, groups: ["pg:admin", "pg:all"], sentence: "GRANT, ALTER DEFAULT PRIVILEGES … GRANT" },
  "pg:revoke": { on: ANY_OBJECT, groups: ["pg:admin", "pg:all"], sentence: "REVOKE, ALTER DEFAULT PRIVILEGES … REVOKE" },
  "pg:role": {
    on: TARGET,
    groups: ["pg:admin", "pg:all"],
    sentence: "CREATE, ALTER or DROP ROLE, SET ROLE, SET SESSION AUTHORIZATION, REASSIGN OWNED",
  },
  "pg:system": { on: TARGET, groups: ["pg:admin", "pg:all"], sentence: "ALTER SYSTEM, ALTER DATABASE … SET, server-wide functions" },
  "pg:checkpoint": { on: TARGET, groups: ["pg:admin", "pg:all"], sentence: "CHECKPOINT" },
  "pg:load": { on: TARGET, groups: ["pg:admin", "pg:all"], sentence: "LOAD a shared library" },
  "pg:copy-file": { on: TARGET, groups: ["pg:admin", "pg:all"], sentence: "COPY to or from a file of the server" },
  "pg:copy-program": { on: TARGET, groups: ["pg:admin", "pg:all"], sentence: "COPY to or from a program on the server" },

  // ── the gateway itself ──
  "policy:read": { on: GATEWAY, groups: ["gateway:read", "gateway:admin"], sentence: "read bundles and their history" },
  "policy:publish": { on: GATEWAY, groups: ["gateway:admin"], sentence: "publish or roll back a bundle" },
  "session:read": {
    on: GATEWAY,
    groups: ["gateway:read", "gateway:admin"],
    sentence: "read everybody's sessions, commands, recordings and refusals",
  },
  "session:kill": { on: GATEWAY, groups: ["gateway:admin"], sentence: "end a live session" },
  "approval:read": {
    on: GATEWAY,
    groups: ["gateway:admin"],
    sentence: "read everybody's approvals, with whole statements and parameters as they would run",
  },
  "identity:read": { on: GATEWAY, groups: ["gateway:read", "gateway:admin"], sentence: "list identities and their state" },
  "identity:revoke": { on: GATEWAY, groups: ["gateway:admin"], sentence: "revoke or restore an identity" },
  "agent:read": { on: GATEWAY, groups: ["gateway:read", "gateway:admin"], sentence: "list agents" },
  "agent:enrol": { on: GATEWAY, groups: ["gateway:admin"], sentence: "make an enrolment token" },
  "agent:revoke": { on: GATEWAY, groups: ["gateway:admin"], sentence: "revoke an agent" },
} as const satisfies Record<string, ActionEntry>;

export type ActionName = keyof typeof ACTIONS;

/** Groups of actions, for grants and for `action in Action::"…"` in Cedar. Never asked for themselves. */
export const ACTION_GROUPS = {
  "pg:read": "pg:select and pg:session",
  "pg:write": "pg:insert, pg:update, pg:delete, pg:lock",
  "pg:ddl": "pg:create, pg:alter, pg:drop, pg:truncate, pg:comment, pg:import",
  "pg:maintenance": "pg:maintain, pg:reindex",
  "pg:execute": "pg:call, pg:do: code whose effects the gateway cannot see",
  "pg:messages": "pg:listen, pg:notify",
  "pg:admin":
    "rights, roles and the server: pg:grant, pg:revoke, pg:role, pg:system, pg:checkpoint, pg:load, pg:copy-file, pg:copy-program, pg:inspect",
  "pg:all": "every Postgres action",
  "gateway:read": "policy:read, session:read, identity:read, agent:read",
  "gateway:admin": "every action on the gateway",
} as const satisfies Record<string, string>;

export type ActionGroup = keyof typeof ACTION_GROUPS;

export const isAction = (text: string): text is ActionName => Object.hasOwn(ACTIONS, text);
export const isActionGroup = (text: string): text is ActionGroup => Object.hasOwn(ACTION_GROUPS, text);

/** The table's entry, with the wide types that code walking the table wants; undefined for what it does not hold. */
export function actionEntry(name: string): ActionEntry | undefined {
  return isAction(name) ? ACTIONS[name] : undefined;
}

/** A group's actions, in the table's order; an action's own name alone; nothing for an unknown name. */
export function expandAction(name: string): readonly ActionName[] {
  if (isAction(name)) return [name];
  return (Object.keys(ACTIONS) as ActionName[]).filter((action) => actionEntry(action)?.groups.includes(name));
}
