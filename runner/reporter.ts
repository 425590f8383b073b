/**
 * What a command says while it works: one line each on stderr, so that stdout stays the command's. As JSON for programs
 * (`--json`), or nothing but trouble (`--quiet`). No message carries a token or a password.
 */
import { writeSync } from "node:fs";
import type { LinkLog } from "../link/types.ts";
import { plain } from "./print.ts";

export interface Reporter {
  /** `event`: a stable name for programs. */
  info(event: string, text: string, facts: object): void;
  warn(event: string, text: string, facts: object): void;
  /** The link's own log, shown with SALLYPORT_DEBUG=1. */
  readonly log: LinkLog;
}

export interface ReporterOptions {
  readonly json?: boolean | undefined;
  readonly quiet?: boolean | undefined;
  readonly debug?: boolean | undefined;
}

/** `write`: takes one line with its newline. */
export function createReporter({ json, quiet, debug }: ReporterOptions, write: (line: string) => void): Reporter {
  const say = (level: string, event: string, text: string, facts: object): void =>
    write(json === true ? `${JSON.stringify({ level, event, message: text, ...facts })}\n` : `sallyport: ${plain(text)}\n`);
  const trace = (facts: object, message: string): void => {
    if (debug === true) say("debug", "link", `${message} ${JSON.stringify(facts)}`, {});
  };
  return {
    info: (event, text, facts) => {
      if (quiet !== true) say("info", event, text, facts);
    },
    warn: (event, text, facts) => say("warn", event, text, facts),
    log: { debug: trace, info: trace, warn: trace },
  };
}

/** Not `process.stderr`: opening that makes descriptor 2 non-blocking for the user's command too, which shares it. */
export function toStderr(line: string): void {
  try {
    writeSync(2, line);
  } catch {
    // Nobody reads our messages, or not fast enough: the command's work is worth more than they are.
  }
}
