/**
 * What `up` leaves behind for `down` and for later commands: one file for each background process in a directory of the
 * user's own (0700, files 0600), with no secret in it, and beside it the socket on which the process hears `down`.
 * A socket, since a process id may be another's by then; the directory's mode is what keeps others away from it.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import * as z from "zod";
import { runtimeDirectory } from "../credential-store.ts";
import { CommandFailed, EXIT } from "../exit.ts";
import type { Environment } from "../identity/types.ts";

const BackgroundState = z.object({
  v: z.literal(1),
  pid: z.number().int(),
  gateway: z.string(),
  started_at: z.number().int(),
  targets: z.array(z.object({ target: z.string(), session: z.string(), host: z.string(), port: z.number().int() })),
});
export type BackgroundState = z.infer<typeof BackgroundState>;

export interface Background {
  readonly id: string;
  readonly state: BackgroundState;
}

const STATE = /^up-([0-9a-f]{16})\.json$/;
/** sun_path is 104 bytes on macOS and the BSDs, 108 on Linux, with its NUL. */
const MAX_SOCKET_PATH = 103;
const REPLY_MS = 10_000;

/** Where the files are. @throws CommandFailed where there is no safe place */
export function backgroundDirectory(env: Environment): string {
  const directory = runtimeDirectory(env);
  if (directory !== undefined && join(directory, "up-0123456789abcdef.sock").length <= MAX_SOCKET_PATH) return directory;
  throw new CommandFailed(
    EXIT.usage,
    "no directory for the background process: set XDG_RUNTIME_DIR to a directory of your own with a short path",
  );
}

export const socketPath = (directory: string, id: string): string => join(directory, `up-${id}.sock`);
export const logPath = (directory: string, id: string): string => join(directory, `up-${id}.log`);
const statePath = (directory: string, id: string): string => join(directory, `up-${id}.json`);

export function saveState(directory: string, id: string, state: BackgroundState): void {
  writeFileSync(statePath(directory, id), JSON.stringify(state), { mode: 0o600, flag: "wx" });
}

export function removeState(directory: string, id: string): void {
  for (const path of [statePath(directory, id), socketPath(directory, id), logPath(directory, id)]) rmSync(path, { force: true });
}

/** Every background process that has left a state file, dead ones too. */
export function listStates(directory: string): readonly Background[] {
  const found: Background[] = [];
  for (const name of readdirSync(directory)) {
    const id = STATE.exec(name)?.[1];
    if (id === undefined) continue;
    try {
      found.push({ id, state: BackgroundState.parse(JSON.parse(readFileSync(join(directory, name), "utf8"))) });
    } catch {
      // Another version's, or being written: not ours to judge.
    }
  }
  return found;
}

/** Asks a background process to end. Resolves when it has; false where there is none any more. */
export function askToEnd(directory: string, id: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath(directory, id));
    socket.setTimeout(REPLY_MS, () => socket.destroy());
    let answered = false;
    socket.on("connect", () => socket.write("down\n"));
    socket.on("data", () => (answered = true));
    socket.on("error", () => {});
    socket.on("close", () => resolve(answered));
  });
}
