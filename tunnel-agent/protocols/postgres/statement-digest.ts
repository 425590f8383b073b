/**
 * The canonical digest of a statement (docs/protocol.md, "Plans"): SHA-256 over its tokens as they are written, without
 * comments, white space and a final semicolon. psql sends a file's statements one by one and without their comments, a
 * driver sends them as they stand: what is the same statement has the same digest, and nothing else has.
 *
 * Sound because PostgreSQL's lexer ends with the same tokens (sql/lexer.ts is compared with it): equal tokens are equal
 * statements. Names keep their case and their quotes, so two spellings of one name are two statements: strict, never lax.
 */
import { createHash } from "node:crypto";
import { tokenize, type Token } from "./sql/lexer.ts";

const DOMAIN = "sallyport-statement-v1";

export const isComment = ({ kind }: Token): boolean => kind === "comment";

/** Of one statement's text, which parsed. Lower-case hex. */
export function statementDigest(text: string): string {
  const hash = createHash("sha256").update(DOMAIN);
  const tokens = tokenize(text).filter((token) => !isComment(token));
  while (tokens.length > 0 && isSemicolon(text, tokens.at(-1))) tokens.pop();
  // Each with its length before it: no two lists of tokens run together to one text.
  for (const { start, end } of tokens) {
    const token = text.slice(start, end);
    hash.update(`\n${Buffer.byteLength(token)}:${token}`);
  }
  return hash.digest("hex");
}

function isSemicolon(text: string, token: Token | undefined): boolean {
  return token?.kind === "punctuation" && text[token.start] === ";";
}
