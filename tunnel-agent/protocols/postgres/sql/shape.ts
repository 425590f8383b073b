/**
 * What may be kept of SQL text. `shapeOf` puts placeholders for literals, so that the same command with other values
 * has the same shape; `withoutSecrets` keeps the text and replaces string literals where they are known to be secrets.
 *
 * Not pg_query_normalize: that leaves the literals of utility statements (EXECUTE, COMMENT, ALTER SYSTEM, …) and every
 * comment in place, and grows memory by a gigabyte on a long list.
 */
import type { Token, TokenKind } from "./lexer.ts";
import { tokenize } from "./lexer.ts";

/** What is unterminated may be a string as well. */
const isLiteral = (kind: TokenKind): boolean => kind === "string" || kind === "spliced-string" || kind === "error";

const MASK = "'[secret]'";

/** Literals become `$n` (after the text's own parameters), comments go, white space is one space. */
export function shapeOf(text: string, tokens: readonly Token[]): string {
  let next = 1;
  for (const { kind, start, end } of tokens) {
    if (kind === "parameter") next = Math.max(next, Number(text.slice(start + 1, end)) + 1);
  }
  const parts: string[] = [];
  let before = 0;
  let spaced = true;
  for (const { kind, start, end } of tokens) {
    const comment = kind === "comment";
    if (!spaced && (start > before || comment)) {
      parts.push(" ");
      spaced = true;
    }
    before = end;
    if (comment) continue;
    parts.push(isLiteral(kind) || kind === "number" ? `$${next++}` : text.slice(start, end));
    spaced = false;
  }
  return parts.join("").trimEnd();
}

/** Every string literal of the text as `'[secret]'`, and comments away: for statements whose literals may be secrets. */
export function withoutSecrets(text: string, tokens: readonly Token[]): string {
  let out = "";
  let before = 0;
  for (const { kind, start, end } of tokens) {
    if (!isLiteral(kind) && kind !== "comment") continue;
    out += text.slice(before, start) + (kind === "comment" ? " " : MASK);
    before = end;
  }
  return out + text.slice(before);
}

/**
 * A body of code in a string (DO, CREATE FUNCTION) may itself hold `PASSWORD '…'` or a connection string. When it
 * speaks of such things, the strings inside a dollar-quoted body are masked, and any other body as a whole.
 */
export function withoutSecretsInBodies(text: string, tokens: readonly Token[]): string {
  let out = "";
  let before = 0;
  for (const { kind, start, end } of tokens) {
    if (!isLiteral(kind)) continue;
    const literal = text.slice(start, end);
    if (!speaksOfSecrets(literal)) continue;
    out += text.slice(before, start) + maskedBody(literal);
    before = end;
  }
  return out + text.slice(before);
}

function maskedBody(literal: string): string {
  if (!literal.startsWith("$")) return MASK;
  const tag = literal.slice(0, literal.indexOf("$", 1) + 1);
  const body = literal.slice(tag.length, literal.length - tag.length);
  return tag + withoutSecrets(body, tokenize(body)) + tag;
}

const SECRET_WORDS = ["password", "passwd", "secret", "connection", "dblink", "user mapping", "sslkey", "passfile"];

/** Whether text that is itself code might set a credential. */
export function speaksOfSecrets(text: string): boolean {
  const lower = text.toLowerCase();
  return SECRET_WORDS.some((word) => lower.includes(word));
}
