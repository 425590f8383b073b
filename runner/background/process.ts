/**
 * The background process of `up`: opens the targets, tells its parent how to reach them over the channel that only the
 * two have, and stays until `down`, a signal, or the end of its last session.
 */
import { createServer, type Socket } from "node:net";
import { CommandFailed, EXIT } from "../exit.ts";
import { openGateway } from "../gateway.ts";
import { createReporter, toStderr } from "../reporter.ts";
import { HeldCommands, holdMode } from "../tunnel/held.ts";
import { openTargets, type OpenTargets } from "../tunnel/targets.ts";
import type { TargetAddress } from "../tunnel/target.ts";
import { backgroundDirectory, removeState, saveState, socketPath } from "./state.ts";

/** What the process tells its parent, once. */
export type Report =
  | { readonly type: "up"; readonly addresses: readonly TargetAddress[]; readonly identity: string | undefined }
  | { readonly type: "failed"; readonly message: string; readonly status: number };

export interface BackgroundOptions {
  readonly id: string;
  readonly gateway: string;
  readonly targets: readonly string[];
}

export async function runInBackground(options: BackgroundOptions): Promise<void> {
  try {
    const gateway = openGateway(options.gateway, process.env);
    const report = createReporter({ json: true }, toStderr);
    const wishes = { hold: holdMode(process.env), held: new HeldCommands(report) };
    const opened = await openTargets(gateway, options.targets, report, wishes);
    try {
      await stay(options, opened, gateway.identity);
    } finally {
      await opened.close();
    }
    process.exit(EXIT.ok);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    await tell({ type: "failed", message, status: error instanceof CommandFailed ? error.status : EXIT.software });
    process.exit(EXIT.software);
  }
}

/** Resolves when everything has ended, for whatever reason. */
async function stay({ id, gateway }: BackgroundOptions, opened: OpenTargets, identity: string | undefined): Promise<void> {
  const directory = backgroundDirectory(process.env);
  let ending: Promise<void> | undefined;
  const end = (): Promise<void> => (ending ??= opened.close());
  await listenForDown(socketPath(directory, id), end);
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void end());
  saveState(directory, id, {
    v: 1,
    pid: process.pid,
    gateway,
    started_at: Date.now(),
    targets: opened.addresses.map(({ target, session, host, port }) => ({ target, session, host, port })),
  });
  try {
    // A parent that was interrupted meanwhile has told nobody of the sessions.
    if (await tell({ type: "up", addresses: opened.addresses, identity })) process.disconnect();
    else void end();
    await opened.ended;
    await ending;
  } finally {
    removeState(directory, id);
  }
}

/** Whether the parent has heard it. */
function tell(report: Report): Promise<boolean> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) resolve(false);
    else process.send(report, (error: Error | null) => resolve(error === null));
  });
}

/** Whoever can write to the socket is this user. */
function listenForDown(path: string, end: () => Promise<void>): Promise<void> {
  const answer = async (socket: Socket): Promise<void> => {
    await end();
    socket.end("ended\n");
  };
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", () => void answer(socket));
    });
    server.once("error", reject);
    server.listen(path, resolve);
  });
}
