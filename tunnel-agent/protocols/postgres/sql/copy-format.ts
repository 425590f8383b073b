/**
 * How COPY … TO STDOUT writes its rows, from the options of the statement (manual, COPY): what is needed to find the
 * columns in copy data, which carries no names and no types (PG-20).
 */
import { fieldsOf, listOf, nodeOf, textOf, type Fields } from "./tree.ts";
import type { CopyFormat } from "./types.ts";

/** The text of an option's value; undefined where it has none, or one that is a list or `*`. */
function valueOf(option: Fields): string | undefined {
  const node = nodeOf(option["arg"]);
  if (node === undefined) return undefined;
  const [kind, fields] = node;
  switch (kind) {
    case "String":
      return textOf(fields, "sval") ?? "";
    case "Integer":
      return String(Number(fields["ival"] ?? 0));
    case "Float":
      return textOf(fields, "fval") ?? "";
    case "Boolean":
      return fields["boolval"] === true ? "true" : "false";
    default:
      return undefined;
  }
}

const TRUE = new Set(["true", "on", "1"]);
const FALSE = new Set(["false", "off", "0"]);
const UTF8 = new Set(["utf8", "utf-8", "unicode"]);

/** Undefined: some option is not known, so it is not certain how the rows are written. */
export function copyFormat(statement: Fields): CopyFormat | undefined {
  const values = new Map<string, string | undefined>();
  for (const item of listOf(statement, "options")) {
    const option = nodeOf(item)?.[1] ?? fieldsOf({ item }, "item");
    const name = option === undefined ? undefined : textOf(option, "defname");
    if (option === undefined || name === undefined || values.has(name)) return undefined;
    values.set(name, valueOf(option));
  }
  const take = (name: string): { readonly given: boolean; readonly value: string | undefined } => {
    const taken = { given: values.has(name), value: values.get(name) };
    values.delete(name);
    return taken;
  };
  const format = take("format");
  const kind = format.given ? format.value : "text";
  if (kind !== "text" && kind !== "csv" && kind !== "binary") return undefined;
  const csv = kind === "csv";
  const header = take("header");
  const headed = header.given && (header.value === undefined || TRUE.has(header.value.toLowerCase()));
  if (header.given && header.value !== undefined && !headed && !FALSE.has(header.value.toLowerCase())) return undefined;
  const encoding = take("encoding");
  if (encoding.given && !UTF8.has((encoding.value ?? "").toLowerCase())) return undefined;
  const delimiter = take("delimiter");
  const nullString = take("null");
  const quote = take("quote");
  const escape = take("escape");
  // Which values are quoted is read off the data.
  take("force_quote");
  take("freeze");
  if (values.size > 0) return undefined;
  if ([delimiter, nullString, quote, escape].some(({ given, value }) => given && value === undefined)) return undefined;
  const quoted = quote.value ?? '"';
  return {
    format: kind,
    header: headed,
    delimiter: delimiter.value ?? (csv ? "," : "\t"),
    nullString: nullString.value ?? (csv ? "" : "\\N"),
    quote: quoted,
    escape: escape.value ?? quoted,
  };
}
