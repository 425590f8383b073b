/**
 * PostgreSQL 18's own parser, compiled to WebAssembly (libpg-query), behind one synchronous call.
 *
 * Guarantees: never throws. A text that exhausts the stack, traps or breaks the module in any way is a failure of that
 * text only: the instance it ran in is thrown away, and the next text meets a fresh one. An instance whose memory grew
 * is thrown away too, since WebAssembly never gives memory back.
 * Does not bound time or nesting: analyse.ts checks length and tokens before, and depth after.
 */
import createModule, { type PgQueryModule } from "libpg-query/wasm/libpg-query.js";
import { err, ok, type Result } from "../../../../protocol/result.ts";
import type { RawStmt } from "libpg-query";

export type ParseFailure =
  | { readonly reason: "syntax"; readonly message: string; /** In characters (code points) from 1. */ readonly position?: number }
  /** The parser ran out of stack. */
  | { readonly reason: "exhausted" }
  /** No instance is ready, or it failed otherwise: the text is refused, and a later one may be parsed. */
  | { readonly reason: "broken"; readonly message: string };

export type Parse = (sql: string) => Result<readonly RawStmt[], ParseFailure>;

/** Instances kept ready besides the one in use: making one takes a turn of the event loop. */
const SPARES = 2;

export async function loadParser(): Promise<Parse> {
  const ready = await Promise.all(Array.from({ length: SPARES + 1 }, instantiate));
  const initialMemory = ready[0]?.HEAPU8.length ?? 0;

  const replace = (module: PgQueryModule): void => {
    const index = ready.indexOf(module);
    if (index >= 0) ready.splice(index, 1);
    // A failure to instantiate leaves one spare fewer; with none left every text is refused, which is the safe way.
    instantiate().then((fresh) => ready.push(fresh), ignore);
  };

  return (sql) => {
    const module = ready[0];
    if (module === undefined) return err({ reason: "broken", message: "the SQL parser is restarting; send the statement again" });
    try {
      const result = parseIn(module, sql);
      if (module.HEAPU8.length > initialMemory) replace(module);
      return result;
    } catch (error) {
      // Whatever was thrown through the module may have left its memory inconsistent.
      replace(module);
      if (error instanceof RangeError) return err({ reason: "exhausted" });
      return err({ reason: "broken", message: "the SQL parser failed on this text" });
    }
  };
}

const ignore = (): void => {};

const instantiate = (): Promise<PgQueryModule> => createModule({ print: ignore, printErr: ignore });

/** struct PgQueryParseResult { char *parse_tree; char *stderr_buffer; PgQueryError *error; } of libpg_query's pg_query.h. */
function parseIn(module: PgQueryModule, sql: string): Result<readonly RawStmt[], ParseFailure> {
  const size = module.lengthBytesUTF8(sql) + 1;
  const text = module._malloc(size);
  if (text === 0) throw new Error("out of memory");
  module.stringToUTF8(sql, text, size);
  const result = module._wasm_parse_query_raw(text);
  if (result === 0) throw new Error("out of memory");
  const tree = module.getValue(result, "*");
  const error = module.getValue(result + 8, "*");
  const parsed = error === 0 ? ok(parsedTree(module.UTF8ToString(tree))) : err(syntaxError(module, error));
  module._wasm_free_parse_result(result);
  module._free(text);
  return parsed;
}

function parsedTree(json: string): readonly RawStmt[] {
  const tree = JSON.parse(json) as { stmts?: readonly RawStmt[] };
  return tree.stmts ?? [];
}

/** struct PgQueryError { char *message, *funcname, *filename; int lineno; int cursorpos; char *context; }. */
function syntaxError(module: PgQueryModule, error: number): ParseFailure {
  const message = module.UTF8ToString(module.getValue(error, "*"));
  const position = module.getValue(error + 16, "i32");
  return position > 0 ? { reason: "syntax", message, position } : { reason: "syntax", message };
}
