/**
 * Resources in print and as Cedar entities. The printed form is one-to-one: a name that is not a plain lower-case
 * identifier is quoted as PostgreSQL quotes it, so `a.b`.`c` and `a`.`b.c` never share an entity.
 * Names are exact, as the catalogue has them: nothing is folded here.
 */
import { err, ok, unreachable, type Result } from "../protocol/result.ts";
import type { Resource } from "./types.ts";

/** Of masking.yaml. Not a number: objects do not keep the order of such keys, and the file's order counts. */
export const CLASS_NAME = /^[a-z](?:[a-z0-9._-]{0,61}[a-z0-9])?$/;

const PLAIN = /^[a-z_][a-z0-9_$]*$/;

/** PostgreSQL's quoted identifier (manual section 4.1.1) unless the name is plain. */
export function printIdentifier(name: string): string {
  return PLAIN.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

/** `orders-db`, `orders-db/public`, `orders-db/public.orders`, `orders-db/public.f()`, `orders-db/[email]`, `gateway`. */
export function printResource(resource: Resource): string {
  switch (resource.type) {
    case "gateway":
      return "gateway";
    case "target":
      return resource.target;
    case "schema":
      return `${resource.target}/${printIdentifier(resource.schema)}`;
    case "table":
      return `${resource.target}/${printIdentifier(resource.schema)}.${printIdentifier(resource.table)}`;
    case "function":
      return `${resource.target}/${printIdentifier(resource.schema)}.${printIdentifier(resource.name)}()`;
    case "class":
      return `${resource.target}/[${resource.name}]`;
    default:
      return unreachable(resource);
  }
}

/** One part of a written name. `pattern`: the part holds `*`, unquoted. */
export interface NamePart {
  readonly text: string;
  readonly quoted: boolean;
  readonly pattern: boolean;
}

const PART = /^(?:"((?:[^"]|"")+)"|([^."()\s/]+))/;

/**
 * Reads `name`, `schema.name`, `"Odd.Name".x`. The error is a sentence that says what to write.
 * Unquoted parts with capitals are refused: PostgreSQL would fold them, an exact match would not.
 */
export function parseName(text: string): Result<readonly NamePart[], string> {
  const parts: NamePart[] = [];
  let rest = text;
  for (;;) {
    const match = PART.exec(rest);
    if (match === null)
      return err(`cannot read the name ${JSON.stringify(text)}: write schema.name, with "double quotes" around odd parts`);
    const quoted = match[1] !== undefined;
    const part = quoted ? (match[1] ?? "").replaceAll('""', '"') : (match[2] ?? "");
    if (!quoted && part !== part.toLowerCase()) {
      return err(
        `${JSON.stringify(part)} has capitals: write ${part.toLowerCase()} for what SQL calls ${part}, or "${part}" if it was created in quotes`,
      );
    }
    parts.push({ text: part, quoted, pattern: !quoted && part.includes("*") });
    rest = rest.slice(match[0].length);
    if (rest === "") return ok(parts);
    if (!rest.startsWith(".")) {
      return err(`cannot read the name ${JSON.stringify(text)}: write schema.name, with "double quotes" around odd parts`);
    }
    rest = rest.slice(1);
  }
}

/**
 * Reads a printed resource: `gateway`, `orders-db`, `orders-db/public`, `orders-db/public.orders`, `orders-db/public.f()`,
 * `orders-db/[email]`. The inverse of `printResource`.
 */
export function parseResource(text: string): Result<Resource, string> {
  if (text === "gateway") return ok({ type: "gateway" });
  const slash = text.indexOf("/");
  if (slash < 0)
    return text === ""
      ? err("an empty resource: write TARGET, TARGET/schema or TARGET/schema.table")
      : ok({ type: "target", target: text });
  const target = text.slice(0, slash);
  const object = text.slice(slash + 1);
  const dataClass = /^\[([^[\]]*)\]$/.exec(object)?.[1];
  if (dataClass !== undefined) {
    return target !== "" && CLASS_NAME.test(dataClass)
      ? ok({ type: "class", target, name: dataClass })
      : err(`cannot read the resource ${JSON.stringify(text)}: write TARGET/[class] with a data class of masking.yaml`);
  }
  const isFunction = object.endsWith("()");
  const parts = parseName(isFunction ? object.slice(0, -2) : object);
  if (!parts.ok) return parts;
  const [schema, name, more] = parts.value;
  if (target === "" || schema === undefined || more !== undefined || parts.value.some((part) => part.pattern)) {
    return err(
      `cannot read the resource ${JSON.stringify(text)}: write TARGET, TARGET/schema, TARGET/schema.table or TARGET/schema.function()`,
    );
  }
  if (name === undefined) {
    return isFunction
      ? err(`${JSON.stringify(text)} lacks the function's schema: write ${target}/schema.${object}`)
      : ok({ type: "schema", target, schema: schema.text });
  }
  return ok(
    isFunction
      ? { type: "function", target, schema: schema.text, name: name.text }
      : { type: "table", target, schema: schema.text, table: name.text },
  );
}
