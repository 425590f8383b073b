/**
 * Grants that do not do what they seem to: actions that never apply to what the grant narrows to, grants that another
 * one covers (so that an approval is never asked for), and grants that a forbid always takes away.
 */
import { ACTION_GROUPS, actionEntry, expandAction, isActionGroup, type ResourceType } from "../actions.ts";
import type { Grant, IdentityFile } from "../bundle/identity.ts";
import type { PolicySource } from "../cedar/source.ts";
import { coversPattern, matchesPattern } from "../pattern.ts";
import { problem } from "../problem.ts";
import { parseName, type NamePart } from "../resource.ts";
import type { Problem } from "../types.ts";

/** What a grant reaches; undefined: everything in the target. */
function reachedTypes(grant: Grant): readonly ResourceType[] | undefined {
  if (grant.tables === undefined && grant.schemas === undefined && grant.functions === undefined && grant.classes === undefined)
    return undefined;
  return [
    ...(grant.classes === undefined ? [] : (["class"] as const)),
    ...(grant.schemas === undefined ? [] : (["schema", "table", "function"] as const)),
    ...(grant.tables === undefined ? [] : (["table"] as const)),
    ...(grant.functions === undefined ? [] : (["function"] as const)),
  ];
}

function lintReach(identity: IdentityFile, grant: Grant, index: number): readonly Problem[] {
  const types = reachedTypes(grant);
  if (types === undefined) return [];
  return grant.actions.flatMap((action, at) => {
    const applies = expandAction(action).some((name) => actionEntry(name)?.on.some((type) => types.includes(type)));
    // Implied by every grant, so naming it beside tables is no mistake.
    if (applies || action === "connect" || action === "target:inspect" || action === "pg:session") return [];
    const on = isActionGroup(action) ? ACTION_GROUPS[action] : `asked of a ${actionEntry(action)?.on.join(" or a ") ?? "target"}`;
    const message = `${action} never applies here: it is ${on}, and this grant is narrowed by ${["tables", "schemas", "functions", "classes"].filter((key) => Object.hasOwn(grant, key)).join(", ")}; write it as a grant of its own`;
    return [problem("error", "grant-nothing", identity.declaration.file, message, identity.locate(["grants", index, "actions", at]))];
  });
}

const like = (pattern: NamePart, name: NamePart): boolean => {
  if (!pattern.pattern) return !name.pattern && pattern.text === name.text;
  return name.pattern ? coversPattern(pattern.text, name.text) : matchesPattern(pattern.text, name.text);
};

/** Every name of `narrow` is in `wide`, of one key; names were read before, so what cannot be read covers nothing. */
function namesCover(
  wide: readonly string[] | undefined,
  narrow: readonly string[] | undefined,
  schemas: readonly string[] | undefined,
): boolean {
  const read = (text: string): readonly NamePart[] => {
    const parts = parseName(text.replace(/\(\)$/, ""));
    return parts.ok ? parts.value : [];
  };
  return (narrow ?? []).every((text) => {
    const [schema, name] = read(text);
    if (schema === undefined) return false;
    if (schemas?.some((each) => read(each)[0]?.text === schema.text) === true) return true;
    return (wide ?? []).some((other) => {
      const [otherSchema, otherName] = read(other);
      if (otherSchema?.text !== schema.text) return false;
      return name === undefined || otherName === undefined ? name === otherName : like(otherName, name);
    });
  });
}

function targetsCover(wide: Grant, narrow: Grant): boolean {
  if (wide.target !== undefined) return narrow.target?.every((target) => wide.target?.includes(target)) === true;
  return JSON.stringify(wide.targets) === JSON.stringify(narrow.targets);
}

/** Whatever `narrow` permits, `wide` permits too, at any time and with no more consent. */
function grantCovers(wide: Grant, narrow: Grant): boolean {
  const actions = new Set(wide.actions.flatMap((action) => expandAction(action)));
  const everything = reachedTypes(wide) === undefined;
  return (
    (wide.approval === undefined ||
      (JSON.stringify(wide.approval) === JSON.stringify(narrow.approval) &&
        (wide.approval_min ?? 1) <= (narrow.approval_min ?? 1) &&
        wide.approval_ttl === narrow.approval_ttl &&
        (wide.hold_in_transaction ?? "refuse") === (narrow.hold_in_transaction ?? "refuse"))) &&
    (wide.expires === undefined || (narrow.expires !== undefined && wide.expires >= narrow.expires)) &&
    targetsCover(wide, narrow) &&
    narrow.actions.flatMap((action) => expandAction(action)).every((action) => actions.has(action)) &&
    (everything ||
      (reachedTypes(narrow) !== undefined &&
        (narrow.classes ?? []).every((each) => wide.classes?.includes(each) === true) &&
        namesCover(wide.schemas, narrow.schemas, wide.schemas) &&
        namesCover(wide.tables, narrow.tables, wide.schemas) &&
        namesCover(wide.functions, narrow.functions, wide.schemas)))
  );
}

function lintShadows(identity: IdentityFile): readonly Problem[] {
  return identity.grants.flatMap((grant, index) => {
    const by = identity.grants.findIndex(
      (other, at) => at !== index && grantCovers(other, grant) && (at < index || !grantCovers(grant, other)),
    );
    const wide = identity.grants[by];
    if (wide === undefined) return [];
    const unasked = grant.approval !== undefined && wide.approval === undefined;
    const message = unasked
      ? `grant ${by + 1} permits all of this without consent, so ${grant.approval?.join(" and ")} would never be asked: narrow that grant`
      : `grant ${by + 1} permits all of this already: remove one of them`;
    return [problem("warning", "grant-shadowed", identity.declaration.file, message, grant.place)];
  });
}

/** Forbids without a condition, for everybody and everywhere. */
function lintForbidden(identity: IdentityFile, policies: readonly PolicySource[]): readonly Problem[] {
  const blanket = policies.filter(
    ({ effect, json }) => effect === "forbid" && json.conditions.length === 0 && json.principal.op === "All" && json.resource.op === "All",
  );
  const forbidden = new Map<string, string>();
  for (const policy of blanket) {
    const scope = policy.json.action;
    const named =
      scope.op === "in"
        ? "entities" in scope
          ? scope.entities
          : [scope.entity]
        : scope.op === "==" && "entity" in scope
          ? [scope.entity]
          : [];
    for (const entity of named)
      for (const action of expandAction("__entity" in entity ? entity.__entity.id : entity.id)) forbidden.set(action, policy.id);
  }
  return identity.grants.flatMap((grant, index) =>
    grant.actions.flatMap((action, at) => {
      const all = expandAction(action);
      const by = all.every((each) => forbidden.has(each)) ? forbidden.get(all[0] ?? "") : undefined;
      if (by === undefined) return [];
      return [
        problem(
          "warning",
          "grant-forbidden",
          identity.declaration.file,
          `${by} forbids ${action} to everybody: this grant gives nothing`,
          identity.locate(["grants", index, "actions", at]),
        ),
      ];
    }),
  );
}

export function lintGrants(identity: IdentityFile, policies: readonly PolicySource[]): readonly Problem[] {
  return [
    ...identity.grants.flatMap((grant, index) => lintReach(identity, grant, index)),
    ...lintShadows(identity),
    ...lintForbidden(identity, policies),
  ];
}
