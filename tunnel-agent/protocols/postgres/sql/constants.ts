/**
 * Constants in the tree: the text of a literal that is surely what the server will see, and names written inside one.
 */
import type { QualifiedName } from "./names.ts";
import { strings } from "./names.ts";
import { fieldsOf, nodeOf, textOf, type Fields } from "./tree.ts";

/** Casts that leave a string literal's text as it is. */
const TEXT_TYPES = new Set(["text", "varchar", "regclass", "unknown"]);

/** `'x'`, `5`, `true`, or a string cast to a text type; undefined for anything that is computed, a parameter or NULL. */
export function constantText(value: unknown): string | undefined {
  const node = nodeOf(value);
  if (node === undefined) return undefined;
  const [kind, fields] = node;
  if (kind === "A_Const") return literalText(fields);
  if (kind !== "TypeCast") return undefined;
  const type = fields["typeName"] as Fields | undefined;
  const names = strings(type?.["names"]);
  const name = names.at(-1) ?? "";
  const plain = names.length === 1 || names[0] === "pg_catalog";
  if (!plain || !TEXT_TYPES.has(name) || Array.isArray(type?.["typmods"]) || Array.isArray(type?.["arrayBounds"])) return undefined;
  return constantText(fields["arg"]);
}

function literalText(constant: Fields): string | undefined {
  const held = (field: string): unknown => fieldsOf(constant, field)?.[field];
  const text = (field: string): string => textOf(fieldsOf(constant, field), field) ?? "";
  if (constant["isnull"] === true) return undefined;
  if (constant["sval"] !== undefined) return text("sval");
  if (constant["ival"] !== undefined) return String(Number(held("ival") ?? 0));
  if (constant["fval"] !== undefined) return text("fval");
  if (constant["boolval"] !== undefined) return held("boolval") === true ? "true" : "false";
  return undefined;
}

/** Whether the node is a constant NULL. */
export function isNull(value: unknown): boolean {
  const node = nodeOf(value);
  return node?.[0] === "A_Const" && node[1]["isnull"] === true;
}

/** `a.b`, `"A"."b"`: as the server reads a name in a regclass literal. Undefined for anything else, numbers included. */
export function parseName(literal: string | undefined): QualifiedName | undefined {
  if (literal === undefined) return undefined;
  const parts = splitIdentifiers(literal, ".");
  if (parts === undefined || parts.length === 0 || parts.length > 2 || /^\d+$/.test(literal.trim())) return undefined;
  const name = parts.at(-1) ?? "";
  return parts.length === 2 ? { schema: parts[0], name } : { name };
}

/**
 * Identifiers between separators, unquoted ones folded to lower case, as SplitIdentifierString does (varlena.c).
 * Undefined where the server would complain, and for names it would cut at 63 bytes.
 */
export function splitIdentifiers(literal: string, separator: "." | ","): string[] | undefined {
  const names: string[] = [];
  let at = skipSpace(literal, 0);
  if (at === literal.length) return names;
  for (;;) {
    let name: string;
    if (literal[at] === '"') {
      const start = ++at;
      for (;;) {
        at = literal.indexOf('"', at);
        if (at < 0) return undefined;
        if (literal[at + 1] !== '"') break;
        at += 2;
      }
      name = literal.slice(start, at++).replaceAll('""', '"');
    } else {
      const start = at;
      while (at < literal.length && literal[at] !== separator && !isSpace(literal, at)) at++;
      name = foldAscii(literal.slice(start, at));
      if (name === "" || name.includes('"')) return undefined;
    }
    if (new TextEncoder().encode(name).length > 63) return undefined;
    names.push(name);
    at = skipSpace(literal, at);
    if (at === literal.length) return names;
    if (literal[at] !== separator) return undefined;
    at = skipSpace(literal, at + 1);
  }
}

const isSpace = (text: string, at: number): boolean => " \t\n\r\f\v".includes(text.charAt(at)) && at < text.length;

function skipSpace(text: string, from: number): number {
  let at = from;
  while (isSpace(text, at)) at++;
  return at;
}

/** Only ASCII letters fold where the database's encoding has several bytes a character. */
const foldAscii = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());
