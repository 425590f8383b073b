/**
 * The corpus of test/vectors/postgres/sql, and analyses written in its notation (README.md there).
 */
import { readdirSync, readFileSync } from "node:fs";
import { parse } from "yaml";
import { unreachable, type Result } from "../../../protocol/result.ts";
import type { AnalysedSql, PgObject, SessionEffect, SqlRefusal } from "../../../tunnel-agent/protocols/postgres/sql/types.ts";

export interface Case {
  readonly sql: string;
  readonly expected: readonly string[];
  readonly serverMajor: number | undefined;
}

export interface CorpusFile {
  readonly name: string;
  readonly hazard: string;
  readonly cases: readonly Case[];
}

const DIRECTORY = new URL("../../vectors/postgres/sql/", import.meta.url);

export const corpus: readonly CorpusFile[] = readdirSync(DIRECTORY)
  .filter((name) => name.endsWith(".yaml"))
  .map((name) => {
    const file = parse(readFileSync(new URL(name, DIRECTORY), "utf8")) as { hazard: string; cases: [string, string, number?][] };
    const cases = file.cases.map(([sql, expected, serverMajor]) => ({
      sql,
      expected: expected === "" ? [] : expected.split(/, (?=pg:|[!~]|copy |refused )/).sort(),
      serverMajor,
    }));
    return { name, hazard: file.hazard, cases };
  });

export const allCases: readonly Case[] = corpus.flatMap(({ cases }) => cases);

/** An analysis in the corpus's notation, sorted. */
export function written(result: Result<AnalysedSql, SqlRefusal>): string[] {
  if (!result.ok) return [`refused ${result.error.reason}`];
  const facts = new Set<string>();
  // Session effects keep their number and order within the set's sorting.
  const session: string[] = [];
  for (const statement of result.value.statements) {
    for (const { action, object } of statement.effects) facts.add(action + place(object));
    if (statement.forbidden !== undefined) facts.add(`!${statement.forbidden.hazard}`);
    if (statement.copy !== undefined) facts.add(`copy ${statement.copy}`);
    session.push(...statement.session.map((effect) => state(effect)));
  }
  return [...facts, ...session].sort();
}

function place(object: PgObject): string {
  switch (object.type) {
    case "target":
      return "";
    case "schema":
      return ` schema ${object.name}`;
    case "table":
    case "function": {
      const schema = object.schema === undefined ? "" : `${object.schema}.`;
      return ` ${schema}${object.name}${object.type === "function" ? "()" : ""}`;
    }
    default:
      return unreachable(object);
  }
}

function state(effect: SessionEffect): string {
  switch (effect.kind) {
    case "discard-all":
      return "~discard-all";
    case "transaction":
      return `~transaction ${effect.what}`;
    case "search-path":
      return ["~search-path", ...effect.schemas].join(" ");
    case "prepare":
    case "execute":
    case "deallocate":
    case "declare-cursor":
    case "use-cursor":
    case "close-cursor":
      return `~${effect.kind} ${effect.name ?? "*"}`;
    default:
      return unreachable(effect);
  }
}
