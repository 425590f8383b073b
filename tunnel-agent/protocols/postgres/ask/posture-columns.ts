/**
 * Findings about the classified columns: who may read them, who owns their tables, which views show them with their
 * owner's rights. With two logins each of these takes level A away, so it is a `fail`; with one it is how the target is
 * meant to be served, and a `warn` with the way to level A. Pure.
 */
import type { PostureFinding } from "../../../../protocol/posture.ts";
import type { ColumnRead, PostureFacts, RelationName } from "./posture-facts.ts";
import { createClassifiedLogin, identifier, relation, remark, revoke, revokeColumns } from "./posture-sql.ts";

const list = (items: readonly string[]): string =>
  items.length <= 5 ? items.join(", ") : `${items.slice(0, 5).join(", ")} and ${items.length - 5} more`;
const nameOf = ({ schema, name }: RelationName): string => `${schema}.${name}`;

function byRelation<T extends RelationName>(items: readonly T[]): Map<string, T[]> {
  const grouped = new Map<string, T[]>();
  for (const item of items) grouped.set(relation(item), [...(grouped.get(relation(item)) ?? []), item]);
  return grouped;
}

export function columnsFindings(facts: PostureFacts, split: boolean): PostureFinding[] {
  const { classified, ordinary } = facts;
  const login = ordinary.name;
  if (classified.length === 0) {
    return [{ check: "classified-columns", status: "ok", login, message: "no column of the database belongs to a data class", sql: [] }];
  }
  const findings: PostureFinding[] = [ownership(facts, split)];
  if (ordinary.reads.length === 0) {
    return [
      ...findings,
      { check: "classified-columns", status: "ok", login, message: `it may read none of ${classified.length} classified columns`, sql: [] },
    ];
  }
  const columns = ordinary.reads.map((read) => `${nameOf(read)}.${read.column} (${read.class})`);
  const message = `it may read ${ordinary.reads.length} of ${classified.length} classified columns: ${list(columns)}`;
  const withhold = takeAway(facts, ordinary.reads);
  return [
    ...findings,
    split
      ? { check: "classified-columns", status: "fail", login, message: `${message}; so the target has not level A`, sql: withhold }
      : {
          check: "classified-columns",
          status: "warn",
          login,
          message: `${message}; level A is two logins, of which only the second may`,
          sql: [...secondLogin(facts), ...withhold],
        },
  ];
}

function ownership({ ordinary }: PostureFacts, split: boolean): PostureFinding {
  const login = ordinary.name;
  if (ordinary.owns.length === 0)
    return { check: "classified-owner", status: "ok", login, message: "it owns no relation with classified columns", sql: [] };
  return {
    check: "classified-owner",
    status: split ? "fail" : "warn",
    login,
    message: `it owns ${list(ordinary.owns.map(nameOf))}, or is a member of the owner: an owner can always grant itself the columns`,
    sql: ordinary.owns.map((owned) => remark(`ALTER TABLE ${relation(owned)} OWNER TO a role that ${login} is no member of.`)),
  };
}

function takeAway({ classified, columns }: PostureFacts, reads: readonly ColumnRead[]): string[] {
  return [...byRelation(reads)].flatMap(([object, these]) => {
    const own = classified.filter((column) => relation(column) === object);
    return revokeColumns(these, columns.get(own[0]?.oid ?? "") ?? [], new Set(own.map(({ column }) => column)));
  });
}

/** May read every column of the relations that have classified ones, since a projection may name both. */
function secondLogin({ classified, columns, database, ordinary }: PostureFacts): string[] {
  const objects = new Map([...byRelation(classified)].map(([object, [first]]) => [object, columns.get(first?.oid ?? "") ?? []]));
  return createClassifiedLogin(`${ordinary.name}_classified`.slice(0, 63), database, objects, [
    ...new Set(classified.map(({ schema }) => schema)),
  ]);
}

export function viewsFindings({ ordinary, major }: PostureFacts, split: boolean): PostureFinding[] {
  const login = ordinary.name;
  const { views } = ordinary;
  if (views.length === 0) {
    return [
      {
        check: "classified-views",
        status: "ok",
        login,
        message: "it may read no view that shows classified columns with its owner's rights",
        sql: [],
      },
    ];
  }
  return views.map(({ view, kind, reads, via }): PostureFinding => {
    const what = kind === "m" ? "materialized view" : "view";
    const invoker =
      kind === "v" && major >= 15
        ? [remark(`Or let it show no more than its reader may see: ALTER VIEW ${relation(view)} SET (security_invoker = true);`)]
        : [];
    return {
      check: "classified-views",
      status: split ? "fail" : "warn",
      login,
      message: `it may read the ${what} ${nameOf(view)}, which reads ${list(reads)} with its owner's rights`,
      sql: [...revoke("SELECT", `TABLE ${identifier(view.schema)}.${identifier(view.name)}`, via), ...invoker],
    };
  });
}
