/**
 * A file of Cedar → its policies, each with its id, place and annotations. Splitting needs only Cedar's lexical
 * grammar: strings with backslash escapes, `//` comments, and `;`, which ends a policy and occurs nowhere else. A text
 * that breaks this rule fails to parse; it cannot become another policy.
 */
import type { Rule } from "../rules.ts";
import { problem, placeAt, suggestion, type Place } from "../problem.ts";
import type { HoldTerms, Problem } from "../types.ts";
import type { CedarModule, DetailedError, PolicyJson } from "./module.ts";
import type { PolicySource } from "./source.ts";

interface Part {
  readonly text: string;
  /** UTF-16 offset of `text` in the file. */
  readonly offset: number;
}

/** The policies' texts without what precedes the first token; a trailing comment is no part. */
export function splitPolicies(file: string): readonly Part[] {
  const parts: Part[] = [];
  let start = -1;
  for (let at = 0; at < file.length; at++) {
    const character = file[at] ?? "";
    if (character === "/" && file[at + 1] === "/") {
      const end = file.indexOf("\n", at);
      at = end < 0 ? file.length : end;
      continue;
    }
    if (/\s/.test(character)) continue;
    if (start < 0) start = at;
    if (character === '"') {
      for (at++; at < file.length && file[at] !== '"'; at++) if (file[at] === "\\") at++;
    } else if (character === ";") {
      parts.push({ text: file.slice(start, at + 1), offset: start });
      start = -1;
    }
  }
  if (start >= 0) parts.push({ text: file.slice(start), offset: start });
  return parts;
}

/** Cedar's offsets count UTF-8 bytes. */
export function utf16Offset(text: string, bytes: number): number {
  let seen = 0;
  let offset = 0;
  for (const character of text) {
    if (seen >= bytes) break;
    const code = character.codePointAt(0) ?? 0;
    seen += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    offset += character.length;
  }
  return offset;
}

export const cedarMessage = (error: DetailedError): string => (error.help === null ? error.message : `${error.message}: ${error.help}`);

/** Place in the file of an error in one policy's text, which begins at `base`. */
export function errorPlace(base: Place, text: string, error: DetailedError): Place {
  const inside = placeAt(text, utf16Offset(text, error.sourceLocations?.[0]?.start ?? 0));
  return inside.line === 1
    ? { line: base.line, column: base.column + inside.column - 1 }
    : { line: base.line + inside.line - 1, column: inside.column };
}

const ANNOTATIONS = ["id", "approval", "approval_min", "approval_ttl", "hold_in_transaction", "reason"];
const ID = /^[A-Za-z0-9][A-Za-z0-9._/#-]{0,127}$/;
const GROUP = /^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$/;

const UNIT_MS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
export const DEFAULT_APPROVAL_TTL_MS = 15 * UNIT_MS.m;

/** `15m` → ms, from 1m to 7d; undefined for anything else. */
function readTtl(text: string): number | undefined {
  const match = /^([0-9]{1,9})([smhd])$/.exec(text);
  if (match === null) return undefined;
  const ms = Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS];
  return ms >= UNIT_MS.m && ms <= 7 * UNIT_MS.d ? ms : undefined;
}

/** What is wrong is said; the terms that are returned beside it are the defaults. */
function readTerms(notes: Readonly<Record<string, string>>, faults: { rule: Rule; message: string }[]): HoldTerms {
  const written = { ttl: notes["approval_ttl"], inTransaction: notes["hold_in_transaction"] };
  const say = (message: string): void => void faults.push({ rule: "approval-terms", message });
  const ttl = written.ttl === undefined ? DEFAULT_APPROVAL_TTL_MS : readTtl(written.ttl);
  if (ttl === undefined) say('@approval_ttl is how long votes are taken: write a duration such as "15m" or "8h", from "1m" to "7d"');
  if (written.inTransaction !== undefined && written.inTransaction !== "allow" && written.inTransaction !== "refuse")
    say('write @hold_in_transaction("allow") or @hold_in_transaction("refuse"), which is the default');
  for (const [note, value] of [
    ["@approval_ttl", written.ttl],
    ["@hold_in_transaction", written.inTransaction],
  ]) {
    if (value !== undefined && notes["approval"] === undefined)
      say(`${note} speaks of consent: write it beside @approval("group"), or remove it`);
  }
  return { inTransaction: written.inTransaction === "allow", ttl: ttl ?? DEFAULT_APPROVAL_TTL_MS };
}

export interface Annotated {
  readonly id: string | undefined;
  readonly approvals: readonly string[];
  readonly approvalMin: number;
  readonly hold: HoldTerms;
  readonly reason: string | undefined;
  readonly faults: readonly { readonly rule: Rule; readonly message: string }[];
}

export function readAnnotations(json: PolicyJson): Annotated {
  const faults: { rule: Rule; message: string }[] = [];
  const notes = json.annotations ?? {};
  for (const note of Object.keys(notes)) {
    if (!ANNOTATIONS.includes(note))
      faults.push({
        rule: "annotation",
        message: `unknown annotation @${note}${suggestion(
          `@${note}`,
          ANNOTATIONS.map((each) => `@${each}`),
        )}`,
      });
  }
  const approvals = notes["approval"] === undefined ? [] : notes["approval"].split(",").map((group) => group.trim());
  if (approvals.some((group) => !GROUP.test(group))) {
    faults.push({
      rule: "approval-form",
      message: '@approval names the groups that must consent: write @approval("dba") or @approval("dba, security")',
    });
  }
  const min = notes["approval_min"];
  if (min !== undefined && (!/^(?:[1-9]|1[0-9]|20)$/.test(min) || approvals.length === 0)) {
    faults.push({ rule: "approval-min", message: '@approval_min is the number of people of each group, "1" to "20", beside an @approval' });
  }
  const hold = readTerms(notes, faults);
  const id = notes["id"];
  if (id !== undefined && (!ID.test(id) || /^(?:identity|floor)\//.test(id))) {
    faults.push({
      rule: "policy-id",
      message: `@id is 1–128 letters, digits and ._/#-, and does not begin with identity/ or floor/`,
    });
  }
  return { id, approvals: [...new Set(approvals)], approvalMin: Number(min ?? 1), hold, reason: notes["reason"], faults };
}

/** One file. `origin` `floor` accepts forbid only: an agent's floor can take rights away, never give any. */
export function readCedarFile(
  cedar: CedarModule,
  file: string,
  text: string,
  origin: "cedar" | "floor",
  problems: Problem[],
): readonly PolicySource[] {
  return splitPolicies(text).flatMap((part, index): PolicySource[] => {
    const place = placeAt(text, part.offset);
    const parsed = cedar.policyToJson(part.text);
    if (parsed.type === "failure") {
      const [error] = parsed.errors;
      const slot = /\?(?:principal|resource)\b/.test(part.text) ? ": templates are not accepted, write the entity in its place" : "";
      const message = `not valid Cedar: ${error === undefined ? "unreadable" : cedarMessage(error)}${slot}`;
      problems.push(problem("error", "cedar-syntax", file, message, error === undefined ? place : errorPlace(place, part.text, error)));
      return [];
    }
    const notes = readAnnotations(parsed.json);
    for (const fault of notes.faults) problems.push(problem("error", fault.rule, file, fault.message, place));
    if (origin === "floor" && parsed.json.effect !== "forbid") {
      problems.push(
        problem("error", "floor-permit", file, "the floor holds only forbid policies: grant rights in the bundle instead", place),
      );
    }
    return [
      {
        id: `${origin === "floor" ? "floor/" : ""}${notes.id ?? `${file}#policy${index}`}`,
        origin,
        effect: parsed.json.effect,
        text: part.text,
        file,
        place,
        approvals: notes.approvals,
        approvalMin: notes.approvalMin,
        hold: notes.hold,
        reason: notes.reason,
        json: parsed.json,
      },
    ];
  });
}
