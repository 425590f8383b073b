/**
 * Grants → Cedar text. A grant becomes one permit, and a second one for what it implies: `connect` to the target,
 * and for Postgres `pg:session` (BEGIN, SHOW, …). A grant that needs approval implies an unapproved `connect`, so
 * that the session opens and the command is what is held; `actions: [connect]` with an approval holds the session.
 *
 *     tables:    Table only.       `public.orders`, `public.*`, `public.audit_*`
 *     schemas:   the schema itself, its tables and its functions.
 *     functions: Function only.
 *     classes:   DataClass only, which `unmask` alone is asked of.
 *     none:      everything in the target.
 */
import { err, ok, type Result } from "../../protocol/result.ts";
import { cedarEntity, cedarPattern, cedarString } from "../cedar/text.ts";
import { parseName, type NamePart } from "../resource.ts";
import type { Grant, IdentityFile } from "./identity.ts";

export interface GrantPolicy {
  readonly id: string;
  readonly text: string;
}

export interface GrantFault {
  /** Inside the grant. */
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

const conjunction = (clauses: readonly string[]): string => (clauses.length === 0 ? "" : `\nwhen { ${clauses.join(" && ")} }`);
const anyOf = (clauses: readonly string[]): string => (clauses.length === 1 ? (clauses[0] ?? "") : `(${clauses.join(" || ")})`);

function nameTest(part: NamePart): string {
  return part.pattern ? `resource.name like ${cedarPattern(part.text)}` : `resource.name == ${cedarString(part.text)}`;
}

/** `schema.name` and `schema.*` of one entity type. */
function membersTest(type: "Table" | "Function", entries: readonly string[], key: string): Result<string, GrantFault> {
  const tests: string[] = [];
  for (const [index, entry] of entries.entries()) {
    const parts = parseName(type === "Function" && entry.endsWith("()") ? entry.slice(0, -2) : entry);
    if (!parts.ok) return err({ path: [key, index], message: parts.error });
    const [schema, name, more] = parts.value;
    if (schema === undefined || name === undefined || more !== undefined || schema.pattern) {
      return err({ path: [key, index], message: `write ${type.toLowerCase()}s as schema.name or schema.*, with the schema's exact name` });
    }
    const inSchema = `resource.schema == ${cedarString(schema.text)}`;
    tests.push(name.pattern && name.text === "*" ? inSchema : `(${inSchema} && ${nameTest(name)})`);
  }
  return ok(`(resource is ${type} && ${anyOf(tests)})`);
}

function schemasTest(entries: readonly string[]): Result<string, GrantFault> {
  const tests: string[] = [];
  for (const [index, entry] of entries.entries()) {
    const parts = parseName(entry);
    if (!parts.ok) return err({ path: ["schemas", index], message: parts.error });
    const [schema, more] = parts.value;
    if (schema === undefined || more !== undefined || schema.pattern) {
      return err({ path: ["schemas", index], message: "write a schema's exact name; for some of its tables use tables:" });
    }
    const value = cedarString(schema.text);
    tests.push(`(resource is Schema && resource.name == ${value})`);
    tests.push(`(resource is Table && resource.schema == ${value})`, `(resource is Function && resource.schema == ${value})`);
  }
  return ok(anyOf(tests));
}

/** Which targets: a scope for one name, clauses for more. */
function targetScope(grant: Grant): { readonly scope: string; readonly clauses: readonly string[] } {
  const [only, ...others] = grant.target ?? [];
  if (only !== undefined && others.length === 0) return { scope: `resource in ${cedarEntity("Target", only)}`, clauses: [] };
  if (grant.target !== undefined) {
    return { scope: "resource", clauses: [`resource in [${grant.target.map((target) => cedarEntity("Target", target)).join(", ")}]`] };
  }
  const selectors = [
    ...(grant.targets?.environment === undefined ? [] : [cedarEntity("Environment", grant.targets.environment)]),
    ...(grant.targets?.labels ?? []).map((label) => cedarEntity("Label", label)),
  ];
  return { scope: "resource", clauses: selectors.map((selector) => `resource in ${selector}`) };
}

const actionList = (actions: readonly string[]): string =>
  `action in [${actions.map((action) => cedarEntity("Action", action)).join(", ")}]`;

const ASKED_OF_THE_TARGET: ReadonlySet<string> = new Set(["connect", "target:inspect"]);

/** The permits of one grant; `number` counts from 1. */
export function grantPolicies(identity: string, grant: Grant, number: number): Result<readonly GrantPolicy[], GrantFault> {
  const principal = `principal == ${cedarEntity("Identity", identity)}`;
  const id = `identity/${identity}#${grant.id ?? `grant-${number}`}`;
  const where = targetScope(grant);
  const members: string[] = [];
  for (const [key, entries] of [
    ["tables", grant.tables],
    ["schemas", grant.schemas],
    ["functions", grant.functions],
  ] as const) {
    if (entries === undefined) continue;
    const test = key === "schemas" ? schemasTest(entries) : membersTest(key === "tables" ? "Table" : "Function", entries, key);
    if (!test.ok) return test;
    members.push(test.value);
  }
  if (grant.classes !== undefined) {
    members.push(`(resource is DataClass && ${anyOf(grant.classes.map((each) => `resource.name == ${cedarString(each)}`))})`);
  }
  const expiry = grant.expires === undefined ? [] : [`context.now < datetime(${cedarString(grant.expires)})`];
  const consent = (grant.approval ?? []).map((group) => `context.approvals.contains(${cedarString(group)})`);
  const annotations = [
    ...(grant.approval === undefined ? [] : [`@approval(${cedarString(grant.approval.join(", "))})`]),
    ...(grant.approval_min === undefined ? [] : [`@approval_min("${grant.approval_min}")`]),
    ...(grant.approval_ttl === undefined ? [] : [`@approval_ttl("${grant.approval_ttl}s")`]),
    ...(grant.hold_in_transaction === undefined ? [] : [`@hold_in_transaction("${grant.hold_in_transaction}")`]),
    ...(grant.reason === undefined ? [] : [`@reason(${cedarString(grant.reason)})`]),
  ];
  // These and `pg:session` are asked of the target, which no narrowing to its members covers.
  const onTarget = grant.actions.filter((action) => ASKED_OF_THE_TARGET.has(action));
  const rest = grant.actions.filter((action) => !ASKED_OF_THE_TARGET.has(action));
  const permit = (policyId: string, notes: readonly string[], actions: readonly string[], clauses: readonly string[]): GrantPolicy => ({
    id: policyId,
    text: `${notes.map((note) => `${note}\n`).join("")}permit (${principal}, ${actionList(actions)}, ${where.scope})${conjunction([...where.clauses, ...clauses])};`,
  });
  const policies: GrantPolicy[] = [];
  if (rest.length > 0) {
    policies.push(permit(id, annotations, rest, [...(members.length === 0 ? [] : [anyOf(members)]), ...expiry, ...consent]));
  }
  if (onTarget.length > 0) policies.push(permit(rest.length === 0 ? id : `${id}/connect`, annotations, onTarget, [...expiry, ...consent]));
  const implied = [
    ...(rest.length === 0 || onTarget.includes("connect") ? [] : ["connect"]),
    ...(rest.some((action) => action.startsWith("pg:")) ? ["pg:session"] : []),
  ];
  if (implied.length > 0) policies.push(permit(`${id}/implied`, [], implied, expiry));
  return ok(policies);
}

/** `gateway: [policy:publish, …]`. */
export function gatewayPolicy(identity: IdentityFile): GrantPolicy | undefined {
  if (identity.gateway.length === 0) return undefined;
  const principal = `principal == ${cedarEntity("Identity", identity.declaration.name)}`;
  return {
    id: `identity/${identity.declaration.name}#gateway`,
    text: `permit (${principal}, ${actionList(identity.gateway)}, resource is Gateway);`,
  };
}
