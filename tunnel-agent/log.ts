/**
 * The agent's log: one JSON object a line on stderr (pino). Names and texts from peers are JSON-escaped, so one
 * event is one line (GW-22). Secrets: keys that sound like one are redacted, and known credentials are taken out of
 * every line; both are belt and braces, since no code logs one.
 */
import { writeSync } from "node:fs";
import pino, { type DestinationStream, type Logger } from "pino";
import type { Redactor } from "./credentials/redactor.ts";

const SECRET_KEYS = ["password", "secret", "token", "authorization", "dial_secret", "credential", "key"];

/** Synchronous, so that the last lines before an exit are not lost. */
export const stderrStream: DestinationStream = {
  write(line) {
    try {
      writeSync(2, line);
    } catch {
      // A full or closed stderr must not end sessions.
    }
  },
};

export function createLog(options: {
  readonly level: string;
  readonly redactor: Redactor;
  readonly destination: DestinationStream;
}): Logger {
  const { level, redactor, destination } = options;
  return pino(
    {
      level,
      base: { service: "sallyport-agent" },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: SECRET_KEYS.flatMap((key) => [key, `*.${key}`]), censor: "[redacted]" },
    },
    { write: (line) => destination.write(redactor.redact(line)) },
  );
}
