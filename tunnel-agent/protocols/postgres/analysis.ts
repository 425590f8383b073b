/**
 * Keeps the analysis of recent texts of one target, for all its connections: a job connects, says the same few things
 * and leaves. Bounded in number and in characters; long texts are analysed anew each time.
 */
import { ok, type Result } from "../../../protocol/result.ts";
import { withIdiom } from "./idioms.ts";
import type { AnalysedSql, AnalyseSql, SqlRefusal } from "./sql/types.ts";

const MAX_TEXTS = 2000;
/** Characters of a text that is kept. */
export const MAX_KEPT_TEXT = 8 * 1024;

export class AnalysisCache {
  readonly #analyse: AnalyseSql;
  /** Least recently used first. */
  readonly #kept = new Map<string, Result<AnalysedSql, SqlRefusal>>();
  #serverMajor: number | undefined;

  constructor(analyse: AnalyseSql) {
    this.#analyse = analyse;
  }

  /** Of the target's last connection; undefined before the first. */
  get serverMajor(): number | undefined {
    return this.#serverMajor;
  }

  analyse(sql: string, serverMajor: number | undefined): Result<AnalysedSql, SqlRefusal> {
    // One target has one version, until somebody upgrades it.
    if (serverMajor !== this.#serverMajor) this.#kept.clear();
    this.#serverMajor = serverMajor;
    const before = this.#kept.get(sql);
    if (before !== undefined) {
      this.#kept.delete(sql);
      this.#kept.set(sql, before);
      return before;
    }
    const read = this.#analyse(sql, serverMajor);
    // A parser that is restarting refuses what it will take the next time: only what is certain is kept.
    if (!read.ok) return read;
    const analysed = ok(withIdiom(sql, read.value));
    if (sql.length > MAX_KEPT_TEXT) return analysed;
    if (this.#kept.size >= MAX_TEXTS) this.#kept.delete(this.#kept.keys().next().value ?? "");
    this.#kept.set(sql, analysed);
    return analysed;
  }
}
