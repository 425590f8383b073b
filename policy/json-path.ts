/**
 * Paths into json and jsonb values, as masking.yaml writes them: `$.contact.email`, `$.items[*].card`,
 * `$."odd key"`, `$["odd key"]`, `$.*`.
 *
 * They mean what PostgreSQL's jsonpath means in lax mode (manual section 9.16.2), which masks more, never less: a member
 * step on an array looks into its elements, and `[*]` on what is no array is that value itself. There are no filters,
 * no methods, no single positions and no `**`.
 */
import { err, ok, type Result } from "../protocol/result.ts";

export type JsonStep =
  /** The member of this name, exactly; every one of them where an object has several. */
  | { readonly kind: "member"; readonly name: string }
  /** `.*`: every member. */
  | { readonly kind: "any-member" }
  /** `[*]`: every element. */
  | { readonly kind: "elements" };

/** At least one step. */
export type JsonPath = readonly JsonStep[];

export const MAX_JSON_PATH_STEPS = 32;

const STEP = /^(?:\.([\p{L}_][\p{L}\p{N}_]*)|\.("(?:[^"\\]|\\.)*")|\[\s*("(?:[^"\\]|\\.)*")\s*\]|(\.\*)|(\[\s*\*\s*\]))/u;
const ADVICE = 'write $ and steps such as .name, ."odd name", [*] or .*: $.contact.email, $.items[*].card';

/** A JSON string's value; undefined for an escape that JSON does not have. */
function unquote(literal: string): string | undefined {
  try {
    return JSON.parse(literal) as string;
  } catch {
    return undefined;
  }
}

/** The error says what to write. */
export function parseJsonPath(text: string): Result<JsonPath, string> {
  const fault = (what: string): Result<JsonPath, string> => err(`${what} in ${JSON.stringify(text)}: ${ADVICE}`);
  if (!text.startsWith("$")) return fault("no leading $");
  const steps: JsonStep[] = [];
  let rest = text.slice(1);
  while (rest !== "") {
    const match = STEP.exec(rest);
    if (match === null) {
      if (/^\[\s*\d/.test(rest)) return fault("a single position, where [*] masks every element,");
      if (rest.startsWith("..") || rest.startsWith(".**")) return fault("a step to any depth");
      return fault(`something unreadable at ${JSON.stringify(rest.slice(0, 20))}`);
    }
    const [whole, plain, dotted, bracketed, anyMember] = match;
    const quoted = dotted ?? bracketed;
    const name = quoted === undefined ? plain : unquote(quoted);
    if (quoted !== undefined && name === undefined) return fault(`the unreadable name ${quoted}`);
    if (name !== undefined) steps.push({ kind: "member", name });
    else steps.push({ kind: anyMember === undefined ? "elements" : "any-member" });
    rest = rest.slice(whole.length);
  }
  if (steps.length === 0) return err("$ alone is the whole value: leave paths: out to mask the whole column");
  if (steps.length > MAX_JSON_PATH_STEPS) return fault(`more than ${MAX_JSON_PATH_STEPS} steps`);
  return ok(steps);
}

/** As it could be written; one text for one path. */
export const printJsonPath = (path: JsonPath): string =>
  `$${path
    .map((step) =>
      step.kind === "elements"
        ? "[*]"
        : step.kind === "any-member"
          ? ".*"
          : /^[\p{L}_][\p{L}\p{N}_]*$/u.test(step.name)
            ? `.${step.name}`
            : `.${JSON.stringify(step.name)}`,
    )
    .join("")}`;
