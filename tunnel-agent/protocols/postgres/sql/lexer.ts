/**
 * Tokens of SQL text: where strings, names, numbers and comments begin and end. The rules are those of PostgreSQL's
 * own lexer (manual section 4.1, scan.l) with standard_conforming_strings on, which the gateway enforces (PG-45).
 *
 * Guarantees: total (any text has tokens; what is unterminated is an `error` token up to the end), one pass, linear time.
 * The tests compare it with libpg-query's scanner, token by token. It is for counting, masking and measuring names;
 * what a statement does is decided from the parse tree alone.
 */

import { unreachable } from "../../../../protocol/result.ts";

export type TokenKind =
  | "name"
  /** `"…"` */
  | "quoted-name"
  /** `U&"…"` */
  | "unicode-name"
  /** Any form: '…', E'…', B'…', X'…', U&'…', $tag$…$tag$, with their continuation lines. */
  | "string"
  /** A string that goes on after a line comment: PostgreSQL joins the parts, libpg-query takes them for two strings. */
  | "spliced-string"
  | "number"
  /** `$1` */
  | "parameter"
  | "comment"
  | "operator"
  /** One of `,()[].;:` */
  | "punctuation"
  | "error";

export interface Token {
  readonly kind: TokenKind;
  /** UTF-16 indexes into the text; `end` is exclusive. */
  readonly start: number;
  readonly end: number;
}

/** Class of each ASCII character; anything beyond ASCII may begin a name. */
const SPACE = 1;
const LETTER = 2;
const DIGIT = 3;
const OPERATOR = 4;
const PUNCTUATION = 5;
const CLASS = new Uint8Array(128);
for (const c of " \t\n\r\f\v") CLASS[c.charCodeAt(0)] = SPACE;
for (const c of "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_") CLASS[c.charCodeAt(0)] = LETTER;
for (const c of "0123456789") CLASS[c.charCodeAt(0)] = DIGIT;
for (const c of "~!@#^&|`?+-*/%<>=") CLASS[c.charCodeAt(0)] = OPERATOR;
for (const c of ",()[].;:") CLASS[c.charCodeAt(0)] = PUNCTUATION;

const classAt = (text: string, at: number): number => {
  const code = text.charCodeAt(at);
  return code < 128 ? (CLASS[code] ?? 0) : Number.isNaN(code) ? 0 : LETTER;
};

/** Every token of the text, comments included, in order; it stops once there are more than `limit`. */
export function tokenize(text: string, limit = Number.POSITIVE_INFINITY): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < text.length && tokens.length <= limit) {
    const start = at;
    let kind: TokenKind;
    const c = text.charAt(at);
    switch (classAt(text, at)) {
      case SPACE:
        at++;
        continue;
      case LETTER: {
        const prefixed = prefixedLiteral(text, at);
        if (prefixed === null) {
          kind = "name";
          at = endOfName(text, at);
        } else {
          kind = prefixed.kind;
          at = prefixed.end;
        }
        break;
      }
      case DIGIT:
        kind = "number";
        at = endOfNumber(text, at);
        break;
      case OPERATOR:
        if (isComment(text, at)) {
          kind = "comment";
          at = endOfComment(text, at);
          if (at < 0) kind = "error";
        } else {
          kind = "operator";
          do at++;
          while (classAt(text, at) === OPERATOR && !isComment(text, at));
        }
        break;
      case PUNCTUATION:
        if (c === "." && classAt(text, at + 1) === DIGIT) {
          kind = "number";
          at = endOfNumber(text, at);
        } else {
          kind = "punctuation";
          at += c === "." && text[at + 1] === "." ? 2 : 1;
        }
        break;
      default:
        if (c === "'") {
          const literal = stringFrom(text, at + 1, "plain");
          kind = literal.kind;
          at = literal.end;
        } else if (c === '"') {
          kind = "quoted-name";
          at = endOfQuoted(text, at + 1, '"');
        } else if (c === "$") {
          const dollar = dollarToken(text, at);
          kind = dollar.kind;
          at = dollar.end;
        } else {
          kind = "error";
          at++;
        }
    }
    if (at < 0) {
      kind = "error";
      at = text.length;
    }
    tokens.push({ kind, start, end: at });
  }
  return tokens;
}

function isComment(text: string, at: number): boolean {
  const c = text.charCodeAt(at);
  const next = text.charCodeAt(at + 1);
  return (c === 0x2d && next === 0x2d) || (c === 0x2f && next === 0x2a);
}

/** -1 when it never ends. Block comments nest; a line comment ends at CR as well as at LF (PG-45). */
function endOfComment(text: string, start: number): number {
  let at = start + 2;
  if (text[start] === "-") {
    while (at < text.length && text[at] !== "\n" && text[at] !== "\r") at++;
    return at;
  }
  for (let depth = 1; at < text.length; at++) {
    if (text[at] === "*" && text[at + 1] === "/") {
      at++;
      if (--depth === 0) return at + 1;
    } else if (text[at] === "/" && text[at + 1] === "*") {
      at++;
      depth++;
    }
  }
  return -1;
}

function endOfName(text: string, start: number): number {
  let at = start + 1;
  for (;;) {
    const kind = classAt(text, at);
    if (kind !== LETTER && kind !== DIGIT && text[at] !== "$") return at;
    at++;
  }
}

/** `E'…'`, `B'…'`, `X'…'`, `U&'…'` and `U&"…"`; null for a plain name. `N'…'` is the name N and a string. */
function prefixedLiteral(text: string, at: number): { kind: TokenKind; end: number } | null {
  switch (text[at]) {
    case "e":
    case "E":
      return text[at + 1] === "'" ? stringFrom(text, at + 2, "escapes") : null;
    case "b":
    case "B":
    case "x":
    case "X":
      return text[at + 1] === "'" ? stringFrom(text, at + 2, "bits") : null;
    case "u":
    case "U":
      if (text[at + 1] !== "&") return null;
      if (text[at + 2] === "'") return stringFrom(text, at + 3, "plain");
      if (text[at + 2] === '"') return { kind: "unicode-name", end: endOfQuoted(text, at + 3, '"') };
      return null;
    default:
      return null;
  }
}

/** After the closing quote; doubled quotes belong to the text. -1 when it never ends. */
function endOfQuoted(text: string, from: number, quote: string): number {
  let at = from;
  for (;;) {
    at = text.indexOf(quote, at);
    if (at < 0) return -1;
    if (text[at + 1] !== quote) return at + 1;
    at += 2;
  }
}

/** In E'…' a backslash escapes; in B'…' and X'…' not even a doubled quote goes on. */
type Quoting = "plain" | "escapes" | "bits";

/** To the end of the last line that it is continued on (manual 4.1.2.1). */
function stringFrom(text: string, from: number, quoting: Quoting): { kind: TokenKind; end: number } {
  let kind: TokenKind = "string";
  let at = from;
  for (;;) {
    const end = endOfPart(text, at, quoting);
    if (end < 0) return { kind, end };
    const next = continuation(text, end);
    if (next === null) return { kind, end };
    if (next.comment) kind = "spliced-string";
    at = next.from;
  }
}

function endOfPart(text: string, from: number, quoting: Quoting): number {
  switch (quoting) {
    case "plain":
      return endOfQuoted(text, from, "'");
    case "escapes":
      return endOfEscaped(text, from);
    case "bits":
      return text.indexOf("'", from) + 1 || -1;
    default:
      return unreachable(quoting);
  }
}

function endOfEscaped(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === "'") {
      if (text[at + 1] !== "'") return at + 1;
      at++;
    }
  }
  return -1;
}

/** Where the text goes on, if white space with a line break (line comments count as white space) leads to another quote. */
function continuation(text: string, end: number): { from: number; comment: boolean } | null {
  let newline = false;
  let comment = false;
  for (let at = end; at < text.length; at++) {
    if (text[at] === "'") return newline ? { from: at + 1, comment } : null;
    if (text[at] === "-" && text[at + 1] === "-") {
      comment = true;
      at = endOfComment(text, at) - 1;
    } else if (classAt(text, at) === SPACE) {
      newline ||= text[at] === "\n" || text[at] === "\r";
    } else return null;
  }
  return null;
}

/** `$1`, `$$…$$`, `$tag$…$tag$`, or a lone `$`, which no grammar accepts. */
function dollarToken(text: string, start: number): { kind: TokenKind; end: number } {
  let at = start + 1;
  if (classAt(text, at) === DIGIT) {
    while (classAt(text, at) === DIGIT) at++;
    return { kind: "parameter", end: at };
  }
  if (classAt(text, at) === LETTER) {
    at++;
    for (let kind = classAt(text, at); kind === LETTER || kind === DIGIT; kind = classAt(text, at)) at++;
  }
  if (text[at] !== "$") return { kind: "error", end: start + 1 };
  const tag = text.slice(start, at + 1);
  const close = text.indexOf(tag, at + 1);
  return { kind: "string", end: close < 0 ? -1 : close + tag.length };
}

/** Decimal, hexadecimal, octal and binary integers, with `_`; fractions and exponents. `1..2` is three tokens. */
function endOfNumber(text: string, start: number): number {
  let at = start;
  if (text[at] === "0" && /[xXoObB]/.test(text[at + 1] ?? "")) {
    const end = endOfName(text, at);
    if (end > at + 2) return end;
  }
  at = endOfDigits(text, at);
  if (text[at] === "." && text[at + 1] !== ".") at = endOfDigits(text, at + 1);
  if (text[at] === "e" || text[at] === "E") {
    const sign = text[at + 1] === "+" || text[at + 1] === "-" ? 2 : 1;
    if (classAt(text, at + sign) === DIGIT) at = endOfDigits(text, at + sign);
  }
  return at;
}

function endOfDigits(text: string, start: number): number {
  let at = start;
  while (classAt(text, at) === DIGIT || (text[at] === "_" && classAt(text, at + 1) === DIGIT)) at++;
  return at;
}

/**
 * Characters that PostgreSQL's lexer reads more than once. It takes a whole run of operator characters for each operator
 * and for each start of a comment within the run, and gives back what does not belong. So a run of plus signs, of tiny
 * comments or of comment openings costs the square of its length: a minute for a megabyte.
 */
export function rereading(text: string, tokens: readonly Token[]): number {
  let cost = 0;
  let runEnd = 0;
  const rest = (at: number): number => {
    if (at >= runEnd) for (runEnd = at; classAt(text, runEnd) === OPERATOR;) runEnd++;
    return runEnd - at;
  };
  for (const { kind, start, end } of tokens) {
    if (kind === "operator") cost += (end - start) * rest(start);
    else if (kind === "comment" || (kind === "error" && isComment(text, start))) {
      for (let at = start; at >= 0 && at < end; at = text.indexOf("/*", at + 1)) cost += rest(at);
    }
  }
  return cost;
}
