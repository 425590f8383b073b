/**
 * The statements that `doctor --sql` prints: GRANT, REVOKE, ALTER ROLE for a person to review and run as the owner or a
 * superuser. Names come from the target's catalogue, so each is quoted, and control characters in them become escapes:
 * a name cannot end a comment, a string or a line (GW-22).
 */
import type { ColumnRead, RelationName, Via } from "./posture-facts.ts";

/** C0 and C1 controls, line separators, bidirectional and zero-width characters. */
const UNSAFE = /[\p{Cc}\u2028\u2029\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/u;
const EACH_UNSAFE = new RegExp(UNSAFE, "gu");

/** Manual section 4.1.1; `U&"…"` where a character must not reach a terminal. */
export function identifier(name: string): string {
  const quoted = name.replaceAll('"', '""');
  if (!UNSAFE.test(name)) return `"${quoted}"`;
  const escaped = quoted
    .replaceAll("\\", "\\\\")
    .replaceAll(EACH_UNSAFE, (character) => `\\${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`);
  return `U&"${escaped}"`;
}

export const relation = ({ schema, name }: RelationName): string => `${identifier(schema)}.${identifier(name)}`;

const grantee = (role: string): string => (role === "PUBLIC" ? "PUBLIC" : identifier(role));

/** One line that begins with `--`. */
export const remark = (text: string): string => `-- ${text.replaceAll(EACH_UNSAFE, " ")}`;

/** `REVOKE CREATE ON SCHEMA … FROM …`, one for each grantee; a remark where nobody granted it. */
export function revoke(privilege: string, object: string, via: Via): string[] {
  if (via.length === 0)
    return [remark(`${privilege} on ${object} comes with ownership: give the object to a role that the login is no member of.`)];
  return via.map((role) => `REVOKE ${privilege} ON ${object} FROM ${grantee(role)};`);
}

/**
 * Takes SELECT on some columns of one relation away from whoever gives it to the login. A grantee of the whole relation
 * keeps the other columns by name, since PostgreSQL has no "all but".
 */
export function revokeColumns(reads: readonly ColumnRead[], all: readonly string[], classified: ReadonlySet<string>): string[] {
  const [first] = reads;
  if (first === undefined) return [];
  const object = relation(first);
  const others = all.filter((column) => !classified.has(column)).map(identifier);
  const statements: string[] = [];
  for (const role of new Set(reads.flatMap(({ whole }) => whole))) {
    statements.push(`REVOKE SELECT ON ${object} FROM ${grantee(role)};`);
    if (others.length > 0) statements.push(`GRANT SELECT (${others.join(", ")}) ON ${object} TO ${grantee(role)};`);
  }
  for (const { column, own } of reads) {
    for (const role of own) statements.push(`REVOKE SELECT (${identifier(column)}) ON ${object} FROM ${grantee(role)};`);
  }
  return statements;
}

/** A second login that may read the classified columns and do nothing else. The password is the reader's to set, as a variable of psql. */
export function createClassifiedLogin(
  login: string,
  database: string,
  columns: ReadonlyMap<string, readonly string[]>,
  schemas: readonly string[],
): string[] {
  const role = identifier(login);
  return [
    remark("Set the password first:  \\set classified_password '…'"),
    `CREATE ROLE ${role} LOGIN PASSWORD :'classified_password' NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;`,
    `ALTER ROLE ${role} SET default_transaction_read_only = on;`,
    `GRANT CONNECT ON DATABASE ${identifier(database)} TO ${role};`,
    ...schemas.map((schema) => `GRANT USAGE ON SCHEMA ${identifier(schema)} TO ${role};`),
    ...[...columns].map(([object, names]) => `GRANT SELECT (${names.map(identifier).join(", ")}) ON ${object} TO ${role};`),
  ];
}
