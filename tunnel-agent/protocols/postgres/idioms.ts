/**
 * Texts that well-known clients send word for word, whose effect is plain although the analysis, which reads any text,
 * must refuse them. Only the exact text is meant, only that refusal is lifted, and what it does remains policy's to
 * allow.
 */
import type { AnalysedSql, Effect } from "./sql/types.ts";

interface Idiom {
  /** The refusal that it lifts. */
  readonly hazard: string;
  readonly effects: readonly Effect[];
}

const SETS: Effect = { action: "pg:set", object: { type: "target" } };

const IDIOMS: ReadonlyMap<string, Idiom> = new Map([
  // pg_dump since CVE-2024-7348: narrows what its own session may touch, where the server has the parameter.
  [
    "SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'",
    { hazard: "PG-28", effects: [SETS] },
  ],
]);

export function withIdiom(sql: string, analysed: AnalysedSql): AnalysedSql {
  const idiom = IDIOMS.get(sql);
  const [statement, second] = analysed.statements;
  if (idiom === undefined || statement === undefined || second !== undefined || statement.forbidden?.hazard !== idiom.hazard)
    return analysed;
  return { ...analysed, statements: [{ ...statement, effects: [...statement.effects, ...idiom.effects], forbidden: undefined }] };
}
