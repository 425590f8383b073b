/**
 * The fields that the bundle's files share. Every scalar arrives as text (see yaml.ts), so numbers, booleans and
 * durations are read here. Messages name what is expected; the caller adds the place.
 */
import * as z from "zod";
import { suggestion } from "../problem.ts";

/** A strict mapping whose unknown keys are answered with the nearest known one. */
export function mapping<S extends z.core.$ZodLooseShape>(shape: S): z.ZodObject<S, z.core.$strict> {
  const known = Object.keys(shape);
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === "unrecognized_keys"
        ? issue.keys.map((key) => `unknown key ${JSON.stringify(key)}${suggestion(key, known)}`).join("; ")
        : `write a mapping with the keys ${known.join(", ")}`,
  });
}

const expected = (what: string) => (issue: { readonly input?: unknown }) =>
  issue.input === undefined || issue.input === null ? `missing: write ${what}` : `write ${what}`;

export const text = (what: string, max = 2048): z.ZodString =>
  z
    .string({ error: expected(what) })
    .min(1, `empty: write ${what}`)
    .max(max, `too long: at most ${max} characters`);

const NAME = /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/;
/** The form of protocol/ids.ts. */
export const name = (what: string): z.ZodString =>
  z
    .string({ error: expected(what) })
    .regex(NAME, `write ${what}: 1–63 of a–z, 0–9, '-', '_', '.', beginning and ending with a letter or digit`);

export const oneOf = <const T extends readonly [string, ...string[]]>(values: T) =>
  z.enum(values, {
    error: (issue) =>
      typeof issue.input === "string"
        ? `unknown value ${JSON.stringify(issue.input)}${suggestion(issue.input, values)}`
        : `write one of ${values.join(", ")}`,
  });

/** A value or a list of values; always a list afterwards. */
export const list = <T extends z.ZodType>(item: T, what: string, max = 256) =>
  z.preprocess(
    (value) => (Array.isArray(value) || value === undefined || value === null ? value : [value]),
    z
      .array(item, { error: expected(what) })
      .min(1, `empty: write ${what}`)
      .max(max, `too many: at most ${max}`),
  );

export const boolean = z.enum(["true", "false"], { error: "write true or false" }).transform((value) => value === "true");

export const integer = (min: number, max: number) =>
  z
    .string({ error: expected(`a whole number from ${min} to ${max}`) })
    .regex(/^[0-9]{1,9}$/, `write a whole number from ${min} to ${max}`)
    .transform(Number)
    .refine((value) => value >= min && value <= max, `write a whole number from ${min} to ${max}`);

const UNIT_S = { s: 1, m: 60, h: 3600, d: 86_400 } as const;

/** `90s`, `15m`, `8h`, `30d` → s. */
export const duration = (minS: number, maxS: number, range: string) =>
  z
    .string({ error: expected(`a duration such as 15m or 8h, ${range}`) })
    .regex(/^[0-9]{1,9}[smhd]$/, `write a duration such as 90s, 15m, 8h or 30d, ${range}`)
    .transform((value) => Number(value.slice(0, -1)) * UNIT_S[value.slice(-1) as keyof typeof UNIT_S])
    .refine((value) => value >= minS && value <= maxS, `out of range: ${range}`);

/** `2027-01-31` (its beginning, UTC) or `2027-01-31T18:00:00Z` → the latter form. */
export const instant = z
  .string({ error: expected("a date such as 2027-01-31 or 2027-01-31T18:00:00Z") })
  .regex(/^\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\dZ)?$/, "write a date such as 2027-01-31 or 2027-01-31T18:00:00Z (UTC)")
  .transform((value) => (value.length === 10 ? `${value}T00:00:00Z` : value))
  .refine((value) => {
    const at = Date.parse(value);
    return !Number.isNaN(at) && new Date(at).toISOString().startsWith(value.slice(0, 19));
  }, "this date does not exist");
