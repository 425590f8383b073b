/**
 * SQL text in, facts out: what each statement does, to which objects, how it changes the session, and what of the text
 * may be kept. See types.ts for the words.
 *
 * Guarantees: never throws; what does not parse exactly, is too long, too deep or names something with more than 63 bytes
 * is refused; a statement's effects are the union over its whole tree; an unknown node is forbidden. Work is bounded by
 * MAX_SQL_BYTES, MAX_SQL_TOKENS and MAX_AST_DEPTH.
 * Does not look into the catalogue: views, triggers, rules, row security, and functions of one row written as a column
 * are the target's own rights to guard.
 */
import type { RawStmt } from "libpg-query";
import { MAX_AST_DEPTH, MAX_SQL_BYTES, MAX_SQL_EFFECTS, MAX_SQL_TOKENS } from "../../../../protocol/limits.ts";
import { err, ok, unreachable, type Result } from "../../../../protocol/result.ts";
import { effectKey, Facts } from "./facts.ts";
import { rereading, tokenize, type Token } from "./lexer.ts";
import { NODES } from "./nodes.ts";
import { loadParser, type Parse, type ParseFailure } from "./parser.ts";
import { sketchOf } from "./sketch/statement.ts";
import type { Sketch } from "./sketch/types.ts";
import { shapeOf, withoutSecrets, withoutSecretsInBodies } from "./shape.ts";
import { depthOf, unwrap } from "./tree.ts";
import { spansOf } from "./spans.ts";
import type { AnalysedSql, AnalyseSql, SqlRefusal, Statement } from "./types.ts";
import { Walk } from "./walk.ts";

/** PostgreSQL cuts longer names to it, so two of the client's would be one of the server's (PG-45). */
const MAX_IDENTIFIER_BYTES = 63;
/** Characters that the parser's lexer may read again (`rereading` in lexer.ts): some 20 ms. */
const MAX_REREADING = 100_000_000;
/** Characters of an identifier that a refusal shows. */
const MAX_SHOWN = 80;

const UNKNOWN_SKETCH: Sketch = { kind: "opaque", sentence: "the gateway does not know this statement" };

/** Loads the parser; afterwards analysis is synchronous. */
export async function loadSqlParser(): Promise<AnalyseSql> {
  const parse = await loadParser();
  return (sql, serverMajor) => analyse(parse, sql, serverMajor);
}

function analyse(parse: Parse, sql: string, serverMajor: number | undefined): Result<AnalysedSql, SqlRefusal> {
  if (sql.length > MAX_SQL_BYTES) return err({ reason: "too-long", bytes: utf8Length(sql), limit: MAX_SQL_BYTES });
  const bytes = utf8Length(sql);
  if (bytes > MAX_SQL_BYTES) return err({ reason: "too-long", bytes, limit: MAX_SQL_BYTES });
  if (!sql.isWellFormed()) return err({ reason: "unparsable", message: "the text is not well-formed Unicode" });
  const nul = sql.indexOf("\0");
  if (nul >= 0) return err({ reason: "unparsable", message: "the text contains a NUL character", position: characters(sql, nul) + 1 });

  const tokens = tokenize(sql, MAX_SQL_TOKENS);
  if (tokens.length > MAX_SQL_TOKENS) return err({ reason: "too-long", bytes, limit: MAX_SQL_BYTES, tokens: tokens.length });
  for (const token of tokens) {
    if (token.kind === "spliced-string") {
      const position = characters(sql, token.start) + 1;
      return err({ reason: "unparsable", message: "a string that goes on after a comment is not accepted; write it as one", position });
    }
    if (isTooLongName(sql, token)) {
      return err({ reason: "identifier-too-long", identifier: sql.slice(token.start, Math.min(token.end, token.start + MAX_SHOWN)) });
    }
  }
  if (rereading(sql, tokens) > MAX_REREADING) {
    return err({ reason: "unparsable", message: "there are too many operator characters in a row" });
  }

  const parsed = parse(sql);
  if (!parsed.ok) return err(refusalOf(parsed.error, sql, tokens));
  const limit = 2 * MAX_AST_DEPTH;
  if (depthOf(parsed.value, limit) > limit) return err({ reason: "too-deep", limit: MAX_AST_DEPTH });
  if (!agreesOnStatements(parsed.value, sql, tokens)) {
    return err({ reason: "unparsable", message: "it is not certain where the statements of this text end" });
  }
  try {
    return ok(facts(parsed.value, sql, tokens, serverMajor));
  } catch (error) {
    // Within the limit the walk needs little stack; how much the caller has left is not known here.
    if (error instanceof RangeError) return err({ reason: "too-deep", limit: MAX_AST_DEPTH });
    throw error;
  }
}

/**
 * Our lexer and the parser's must see the same statements: each has its own `;` or the end of the text after it, and none
 * within, but for the bodies of rules and of SQL functions. A trick that hides a statement in what one of them takes for a
 * string shows here (PG-45).
 */
function agreesOnStatements(parsed: readonly RawStmt[], sql: string, tokens: readonly Token[]): boolean {
  let separated = 0;
  let open = false;
  for (const { kind, start } of tokens) {
    if (kind === "comment") continue;
    if (kind !== "punctuation" || sql[start] !== ";") open = true;
    else if (open) {
      separated++;
      open = false;
    }
  }
  if (open) separated++;
  const nests = parsed.some(({ stmt }) => stmt !== undefined && ("RuleStmt" in stmt || "CreateFunctionStmt" in stmt));
  return nests ? separated >= parsed.length : separated === parsed.length;
}

function facts(parsed: readonly RawStmt[], sql: string, tokens: readonly Token[], serverMajor: number | undefined): AnalysedSql {
  const statements: Statement[] = [];
  const effects = new Set<string>();
  let secrets: Facts["secrets"] = "none";
  const spans = spansOf(parsed, sql);
  for (const [index, { stmt }] of parsed.entries()) {
    const found = new Facts();
    const node = stmt === undefined ? undefined : unwrap(stmt);
    const walk = new Walk({ nodes: NODES, facts: found, serverMajor });
    if (node === undefined) found.forbid("unknown", "The gateway does not know this statement.");
    else walk.node(node[0], node[1]);
    const sketch = node === undefined ? UNKNOWN_SKETCH : sketchOf(node[0], node[1]);
    const statement = found.statement(node?.[0] ?? "unknown", spans[index] ?? [0, sql.length], sketch);
    for (const effect of statement.effects) effects.add(effectKey(effect));
    if (effects.size > MAX_SQL_EFFECTS) found.forbid("PG-56", `The text touches more than ${MAX_SQL_EFFECTS} objects.`);
    statements.push({ ...statement, forbidden: found.forbidden });
    if (found.secrets === "literals" || secrets === "none") secrets = found.secrets;
  }
  return { statements, shape: shapeOf(sql, tokens), redacted: redact(sql, tokens, secrets) };
}

function redact(sql: string, tokens: readonly Token[], secrets: Facts["secrets"]): string {
  switch (secrets) {
    case "none":
      return sql;
    case "bodies":
      return withoutSecretsInBodies(sql, tokens);
    case "literals":
      return withoutSecrets(sql, tokens);
    default:
      return unreachable(secrets);
  }
}

/** Quotes do not count; of a U&"…" name the escapes do, so that a few names are refused that would just fit. */
function isTooLongName(sql: string, { kind, start, end }: Token): boolean {
  if (end - start <= MAX_IDENTIFIER_BYTES / 3) return false;
  switch (kind) {
    case "name":
      return utf8Length(sql.slice(start, end)) > MAX_IDENTIFIER_BYTES;
    case "quoted-name":
      return utf8Length(sql.slice(start + 1, end - 1).replaceAll('""', '"')) > MAX_IDENTIFIER_BYTES;
    case "unicode-name":
      return utf8Length(sql.slice(start + 3, end - 1)) > MAX_IDENTIFIER_BYTES;
    default:
      return false;
  }
}

function refusalOf(failure: ParseFailure, sql: string, tokens: readonly Token[]): SqlRefusal {
  switch (failure.reason) {
    case "exhausted":
      return { reason: "too-deep", limit: MAX_AST_DEPTH };
    case "broken":
      return { reason: "unparsable", message: failure.message };
    case "syntax": {
      const message = withoutQuotedText(failure.message);
      if (failure.position === undefined) return { reason: "unparsable", message };
      const at = utf16Index(sql, failure.position - 1);
      const token = tokens.find(({ end }) => end > at);
      const shown = token === undefined || !isPrintable(token) ? "" : ` at or near "${sql.slice(token.start, token.end)}"`;
      return { reason: "unparsable", message: message + shown, position: failure.position };
    }
    default:
      return unreachable(failure);
  }
}

/** What the parser quotes may be a literal, and with it a secret; names and signs are put back from the tokens. */
function withoutQuotedText(message: string): string {
  const near = message.indexOf(" at or near ");
  return (near < 0 ? message : message.slice(0, near)).replaceAll(/"[^"]*"/g, '"…"');
}

const isPrintable = ({ kind, start, end }: Token): boolean =>
  end - start <= MAX_IDENTIFIER_BYTES && (kind === "name" || kind === "operator" || kind === "punctuation");

const encoder = new TextEncoder();

function utf8Length(text: string): number {
  return /[\u0080-\uffff]/.test(text) ? encoder.encode(text).length : text.length;
}

/** Code points before a UTF-16 index. */
const characters = (text: string, index: number): number => Array.from(text.slice(0, index)).length;

/** The UTF-16 index of a code point. */
function utf16Index(text: string, character: number): number {
  let index = 0;
  for (let left = character; left > 0 && index < text.length; left--) index += (text.codePointAt(index) ?? 0) > 0xffff ? 2 : 1;
  return index;
}
