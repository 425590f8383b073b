/**
 * Rewrites JSON text (RFC 8259) without parsing it into values: what is not replaced stays the text that it was, so that
 * numbers keep their digits, and members their order, spelling and duplicates.
 *
 * Guarantees: of members with the same name every one is reached, however the name is written (`"\u0065mail"` is
 * `email`); a text that is not JSON, or nests deeper than MAX_MASKED_JSON_DEPTH, gives null. Linear in the text.
 * Does not: look into JSON that is inside a string.
 */
import type { JsonPath } from "../../policy/json-path.ts";
import { MAX_MASKED_JSON_DEPTH } from "../../protocol/limits.ts";

export type JsonKind = "string" | "number" | "boolean" | "null" | "object" | "array";

export interface JsonRewriting {
  /** Which values are chosen; none: the whole is. */
  readonly paths: readonly JsonPath[];
  /** The JSON that replaces a chosen value; `raw` is it as it is written. */
  readonly replace: (kind: JsonKind, raw: string) => string;
}

/** A place in a path: the value at hand is what its steps before `step` lead to. */
interface Place {
  readonly path: JsonPath;
  readonly step: number;
}

/** The value of a JSON string. */
export const decodeJsonString = (raw: string): string => (raw.includes("\\") ? (JSON.parse(raw) as string) : raw.slice(1, -1));

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_ARRAY = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

const ESCAPE = /(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WORDS: readonly { readonly word: string; readonly kind: JsonKind }[] = [
  { word: "true", kind: "boolean" },
  { word: "false", kind: "boolean" },
  { word: "null", kind: "null" },
];

/** Walks a text and says what it meets. */
export interface JsonVisitor<S> {
  /** The state for a member of an object or, with `name` null, an element of an array, from the state of what holds it. */
  enter(state: S, name: string | null): S;
  /** A value begins. True: it is read to its end without going on about its inside. */
  chosen(state: S, kind: JsonKind): boolean;
  /** A value that was chosen, or is neither object nor array: text[from, to). */
  value(state: S, kind: JsonKind, from: number, to: number, chosen: boolean): void;
  /** A member's name, quotes included. */
  name?(from: number, to: number): void;
}

/** True when the text is one JSON value. */
export function visitJson<S>(text: string, visitor: JsonVisitor<S>, root: S): boolean {
  const skipSpace = (at: number): number => {
    let next = at;
    for (;;) {
      const code = text.charCodeAt(next);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return next;
      next++;
    }
  };

  const endOfString = (at: number): number => {
    for (let next = at + 1; next < text.length; next++) {
      const code = text.charCodeAt(next);
      if (code === QUOTE) return next + 1;
      if (code < 0x20) return -1;
      if (code !== BACKSLASH) continue;
      ESCAPE.lastIndex = next + 1;
      if (!ESCAPE.test(text)) return -1;
      next = ESCAPE.lastIndex - 1;
    }
    return -1;
  };

  const scalar = (at: number): { readonly kind: JsonKind; readonly end: number } | null => {
    if (text.charCodeAt(at) === QUOTE) return { kind: "string", end: endOfString(at) };
    for (const { word, kind } of WORDS) if (text.startsWith(word, at)) return { kind, end: at + word.length };
    NUMBER.lastIndex = at;
    return NUMBER.test(text) ? { kind: "number", end: NUMBER.lastIndex } : null;
  };

  /** `silent`: inside a value that was chosen. Returns where the value ends. */
  const value = (at: number, state: S, depth: number, silent: boolean): number => {
    const code = text.charCodeAt(at);
    if (code !== OPEN_OBJECT && code !== OPEN_ARRAY) {
      const found = scalar(at);
      if (found === null || found.end < 0) return -1;
      if (!silent) visitor.value(state, found.kind, at, found.end, visitor.chosen(state, found.kind));
      return found.end;
    }
    if (depth >= MAX_MASKED_JSON_DEPTH) return -1;
    const kind = code === OPEN_OBJECT ? "object" : "array";
    const chosen = !silent && visitor.chosen(state, kind);
    const end = kind === "object" ? object(at, state, depth + 1, silent || chosen) : array(at, state, depth + 1, silent || chosen);
    if (chosen && end >= 0) visitor.value(state, kind, at, end, true);
    return end;
  };

  const object = (start: number, state: S, depth: number, silent: boolean): number => {
    let at = skipSpace(start + 1);
    if (text.charCodeAt(at) === CLOSE_OBJECT) return at + 1;
    for (;;) {
      if (text.charCodeAt(at) !== QUOTE) return -1;
      const end = endOfString(at);
      const colon = end < 0 ? -1 : skipSpace(end);
      if (colon < 0 || text.charCodeAt(colon) !== COLON) return -1;
      if (!silent) visitor.name?.(at, end);
      const inner = silent ? state : visitor.enter(state, decodeJsonString(text.slice(at, end)));
      const after = value(skipSpace(colon + 1), inner, depth, silent);
      if (after < 0) return -1;
      at = skipSpace(after);
      if (text.charCodeAt(at) === CLOSE_OBJECT) return at + 1;
      if (text.charCodeAt(at) !== COMMA) return -1;
      at = skipSpace(at + 1);
    }
  };

  const array = (start: number, state: S, depth: number, silent: boolean): number => {
    let at = skipSpace(start + 1);
    if (text.charCodeAt(at) === CLOSE_ARRAY) return at + 1;
    const inner = silent ? state : visitor.enter(state, null);
    for (;;) {
      const after = value(at, inner, depth, silent);
      if (after < 0) return -1;
      at = skipSpace(after);
      if (text.charCodeAt(at) === CLOSE_ARRAY) return at + 1;
      if (text.charCodeAt(at) !== COMMA) return -1;
      at = skipSpace(at + 1);
    }
  };

  const end = value(skipSpace(0), root, 0, false);
  return end >= 0 && skipSpace(end) === text.length;
}

/** Past the `[*]` steps at a place: on what is no array they are that value itself. */
function pastElements({ path, step }: Place): Place {
  let next = step;
  while (path[next]?.kind === "elements") next++;
  return { path, step: next };
}

const isChosen = ({ path, step }: Place): boolean => step === path.length;

/** The places of a member or, with `name` null, an element, from those of the object or array around it. */
function enter(places: readonly Place[], name: string | null): readonly Place[] {
  if (places.length === 0) return places;
  return places.flatMap((place): Place[] => {
    // Lax mode: a member step on an array looks into its elements, and into arrays in it as well.
    if (name === null) return place.path[place.step]?.kind === "elements" ? [{ path: place.path, step: place.step + 1 }] : [place];
    const { path, step } = pastElements(place);
    const next = path[step];
    const matches = next?.kind === "any-member" || (next?.kind === "member" && next.name === name);
    return matches ? [{ path, step: step + 1 }] : [];
  });
}

/** The text with what the paths choose replaced; the text itself where that is nothing; null when it is no JSON. */
export function rewriteJson(text: string, { paths, replace }: JsonRewriting): string | null {
  let out = "";
  let before = 0;
  const sound = visitJson<readonly Place[]>(
    text,
    {
      enter,
      chosen: (places, kind) => paths.length === 0 || places.some((place) => isChosen(kind === "array" ? place : pastElements(place))),
      value(_, kind, from, to, chosen) {
        if (!chosen) return;
        out += text.slice(before, from) + replace(kind, text.slice(from, to));
        before = to;
      },
    },
    paths.map((path) => ({ path, step: 0 })),
  );
  if (!sound) return null;
  return before === 0 ? text : out + text.slice(before);
}

/** The text with every string (names of members too) and number as `replace` has it; undefined leaves it. Null when it is no JSON. */
export function rewriteJsonScalars(text: string, replace: (kind: "string" | "number", raw: string) => string | undefined): string | null {
  let out = "";
  let before = 0;
  const put = (kind: "string" | "number", from: number, to: number): void => {
    const replacement = replace(kind, text.slice(from, to));
    if (replacement === undefined) return;
    out += text.slice(before, from) + replacement;
    before = to;
  };
  const sound = visitJson<null>(
    text,
    {
      enter: () => null,
      chosen: () => false,
      value(_, kind, from, to) {
        if (kind === "string" || kind === "number") put(kind, from, to);
      },
      name: (from, to) => put("string", from, to),
    },
    null,
  );
  if (!sound) return null;
  return before === 0 ? text : out + text.slice(before);
}
