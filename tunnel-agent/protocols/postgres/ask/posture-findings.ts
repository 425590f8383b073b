/**
 * Judges what posture-facts.ts found. Pure. `fail` is what makes every other guarantee void (superuser, REPLICATION, a role
 * that can give itself more: THREATS principle 3), and what takes level A away where two logins are configured; the rest
 * is `warn`. Where a check finds nothing, it says so with `ok`, so that a reader sees that it was looked for.
 */
import type { PostureFinding } from "../../../../protocol/posture.ts";
import type { PostureFacts, RoleFacts } from "./posture-facts.ts";
import { columnsFindings, viewsFindings } from "./posture-columns.ts";
import { identifier, remark, revoke } from "./posture-sql.ts";

/** Predefined roles (manual section 22.5) whose members can become superuser through the server's files or programs. */
const ESCALATING = new Set(["pg_execute_server_program", "pg_read_server_files", "pg_write_server_files"]);
/** Predefined roles that see or do more than a job should. */
const BROAD = new Set([
  "pg_read_all_data",
  "pg_write_all_data",
  "pg_monitor",
  "pg_read_all_settings",
  "pg_read_all_stats",
  "pg_stat_scan_tables",
  "pg_signal_backend",
  "pg_checkpoint",
  "pg_maintain",
  "pg_create_subscription",
  "pg_signal_autovacuum_worker",
]);
/** SET ROLE, and CREATEROLE's new limits (release notes of 16). */
const NARROW_CREATEROLE = 16;

const list = (items: readonly string[]): string =>
  items.length <= 5 ? items.join(", ") : `${items.slice(0, 5).join(", ")} and ${items.length - 5} more`;

/** The facts of a superuser say nothing: it may do everything, so the rest is looked at once it is none. */
export function judge(facts: PostureFacts): PostureFinding[] {
  const split = facts.unmasked !== undefined;
  return [
    ...judgeRole(facts, facts.ordinary),
    ...(facts.ordinary.superuser ? [] : [...columnsFindings(facts, split), ...viewsFindings(facts, split)]),
    ...(facts.unmasked === undefined ? [] : judgeUnmasked(facts, facts.unmasked)),
  ];
}

function judgeRole(facts: PostureFacts, role: RoleFacts): PostureFinding[] {
  const attributes = attributeFindings(facts, role);
  if (role.superuser) return attributes;
  return [...attributes, ...membershipFindings(role), ...reachFindings(facts, role)];
}

/** The second login reads; whatever else it may do is excess. */
function judgeUnmasked(facts: PostureFacts, role: RoleFacts): PostureFinding[] {
  const findings = judgeRole(facts, role).filter(({ check }) => check !== "temporary" && check !== "plpgsql");
  if (role.superuser) return findings;
  const writes: PostureFinding =
    role.writes === 0
      ? { check: "writes", status: "ok", login: role.name, message: "it can change no table", sql: [] }
      : {
          check: "writes",
          status: "warn",
          login: role.name,
          message: `it may change ${role.writes} ${role.writes === 1 ? "table" : "tables"}, though it is there to read classified columns`,
          sql: [remark(`Revoke INSERT, UPDATE, DELETE and TRUNCATE from ${role.name} and from the roles that it is a member of.`)],
        };
  return [...findings, writes];
}

interface Attribute {
  readonly check: string;
  readonly has: boolean;
  readonly status: "warn" | "fail";
  readonly clause: string;
  readonly why: string;
}

function attributeFindings({ major }: PostureFacts, role: RoleFacts): PostureFinding[] {
  const attributes: readonly Attribute[] = [
    {
      check: "superuser",
      has: role.superuser,
      status: "fail",
      clause: "NOSUPERUSER",
      why: "is superuser: no privilege, mask or policy holds it",
    },
    {
      check: "replication",
      has: role.replication,
      status: "fail",
      clause: "NOREPLICATION",
      why: "has REPLICATION: it can read the whole cluster's data from the log",
    },
    { check: "bypassrls", has: role.bypassRls, status: "warn", clause: "NOBYPASSRLS", why: "has BYPASSRLS: row security does not hold it" },
    {
      check: "createrole",
      has: role.createRole,
      status: major < NARROW_CREATEROLE ? "fail" : "warn",
      clause: "NOCREATEROLE",
      why:
        major < NARROW_CREATEROLE
          ? "has CREATEROLE: before PostgreSQL 16 it can make itself a member of any role but superusers"
          : "has CREATEROLE: it can make logins that outlive the session",
    },
    {
      check: "createdb",
      has: role.createDatabase,
      status: "warn",
      clause: "NOCREATEDB",
      why: "has CREATEDB: it can make databases of its own",
    },
  ];
  return attributes.map(({ check, has, status, clause, why }): PostureFinding => {
    if (!has) return { check, status: "ok", login: role.name, message: `it has ${clause}`, sql: [] };
    return {
      check,
      status,
      login: role.name,
      message: `the login ${role.name} ${why}`,
      sql: [`ALTER ROLE ${identifier(role.name)} ${clause};`],
    };
  });
}

function membershipFindings(role: RoleFacts): PostureFinding[] {
  const findings = role.memberships.flatMap((membership): PostureFinding[] => {
    const { role: other, set, inherits, admin } = membership;
    const powers = [
      ...(membership.superuser ? ["superuser"] : []),
      ...(membership.replication ? ["REPLICATION"] : []),
      ...(membership.createRole ? ["CREATEROLE"] : []),
      ...(ESCALATING.has(other) ? ["the server's files or programs"] : []),
    ];
    const sql = membership.direct
      ? [`REVOKE ${identifier(other)} FROM ${identifier(role.name)};`]
      : [remark(`${other} comes with another role of ${role.name}: revoke that one.`)];
    const become = set ? "may become" : inherits ? "has the rights of" : "is a member of";
    const about = { login: role.name, sql };
    if (powers.length > 0) {
      return [{ ...about, check: "escalation", status: "fail", message: `it ${become} ${other}, which has ${powers.join(" and ")}` }];
    }
    if (admin) {
      return [
        {
          ...about,
          check: "escalation",
          status: "fail",
          message: `it has ADMIN OPTION on ${other}: it can grant that role, to itself too`,
        },
      ];
    }
    const message = BROAD.has(other)
      ? `it ${become} ${other}, which sees or does more than its own tables need`
      : `it ${become} ${other}, whose rights count as its own`;
    return [{ ...about, check: "membership", status: "warn", message }];
  });
  return findings.length > 0
    ? findings
    : [{ check: "membership", status: "ok", login: role.name, message: "it is a member of no other role", sql: [] }];
}

/** What it can reach or make beyond the tables. */
function reachFindings({ database, databaseOwnerName }: PostureFacts, role: RoleFacts): PostureFinding[] {
  const login = role.name;
  const findings: PostureFinding[] = [];
  const say = (check: string, found: boolean, message: string, sql: () => string[], fine: string): void => {
    findings.push(found ? { check, status: "warn", login, message, sql: sql() } : { check, status: "ok", login, message: fine, sql: [] });
  };
  say(
    "database-owner",
    role.databaseOwner,
    `it owns the database ${database}, or is a member of its owner ${databaseOwnerName}: it can change the database's settings and schemas`,
    () => [remark(`ALTER DATABASE ${identifier(database)} OWNER TO a role that ${login} is no member of.`)],
    "it does not own the database",
  );
  const { definers, schemas, temporary, untrusted, languages } = role;
  say(
    "security-definer",
    definers.length > 0,
    `it may run ${definers.length} SECURITY DEFINER ${definers.length === 1 ? "function" : "functions"}, which act with their owner's rights: ${list(definers.map(({ signature, owner }) => `${signature} of ${owner}`))}`,
    () => definers.flatMap(({ signature, via }) => revoke("EXECUTE", `FUNCTION ${signature}`, via)),
    "it may run no SECURITY DEFINER function",
  );
  say(
    "schema-create",
    schemas.length > 0,
    `it may create objects in ${list(schemas.map(({ schema }) => schema))}: a function of its own there can take the place of another's`,
    () => schemas.flatMap(({ schema, via }) => revoke("CREATE", `SCHEMA ${identifier(schema)}`, via)),
    "it may create objects in no schema",
  );
  say(
    "temporary",
    temporary !== null,
    "it may make temporary tables, which can keep what was read and shadow what is named",
    () => revoke("TEMPORARY", `DATABASE ${identifier(database)}`, temporary ?? []),
    "it may make no temporary tables",
  );
  const plpgsql = languages.find(({ name }) => name === "plpgsql");
  say(
    "plpgsql",
    plpgsql !== undefined,
    "it may write code in plpgsql: DO blocks run statements that nobody outside the server sees",
    () => revoke("USAGE", "LANGUAGE plpgsql", plpgsql?.via ?? []),
    "it may write no plpgsql",
  );
  say(
    "untrusted-language",
    untrusted.length > 0,
    `it may run functions in untrusted languages, which act as the server's own user: ${list(untrusted.map(({ signature, language }) => `${signature} (${language})`))}`,
    () => untrusted.flatMap(({ signature, via }) => revoke("EXECUTE", `FUNCTION ${signature}`, via)),
    "it may run no function in an untrusted language",
  );
  return findings;
}
