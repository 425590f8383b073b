/**
 * How a credential is named in agent.yaml: by reference, never by value. This file knows only the names' form;
 * `store.ts` reads them. A message about a bad one never repeats what was written, since that may be the secret.
 */
import * as z from "zod";
import { err, ok, type Result } from "../../protocol/result.ts";

export type Reference =
  | { readonly kind: "env"; readonly name: string }
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "exec"; readonly command: string; readonly args: readonly string[] };

const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

export const WRITE_A_REFERENCE =
  "a credential is written as a reference, never as its value: env:NAME (environment variable), file:PATH (re-read on change) or exec:COMMAND ARGUMENTS (standard output, no shell)";

/** Errors are sentences that say what to write instead. */
export function parseReference(text: string): Result<Reference, string> {
  const colon = text.indexOf(":");
  const rest = text.slice(colon + 1).trim();
  switch (text.slice(0, Math.max(colon, 0))) {
    case "env":
      return ENV_NAME.test(rest)
        ? ok({ kind: "env", name: rest })
        : err("after env: comes the name of an environment variable: letters, digits and _, not beginning with a digit");
    case "file":
      return rest === "" ? err("after file: comes the path of a file") : ok({ kind: "file", path: rest });
    case "exec": {
      const [command, ...args] = rest.split(/\s+/);
      return command === undefined || command === ""
        ? err("after exec: comes a command and its arguments, separated by spaces; there is no shell and no quoting")
        : ok({ kind: "exec", command, args });
    }
    default:
      return err(WRITE_A_REFERENCE);
  }
}

/** For a protocol's target schema: a string that is a well-formed reference. The output is the reference itself. */
export const CredentialReference: z.ZodType<string> = z
  .string({ error: WRITE_A_REFERENCE })
  .max(4096, WRITE_A_REFERENCE)
  .superRefine((text, context) => {
    const parsed = parseReference(text);
    if (!parsed.ok) context.addIssue({ code: "custom", message: parsed.error, input: undefined });
  });
