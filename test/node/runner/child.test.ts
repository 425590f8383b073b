/** Exit statuses and signals pass through, with real processes. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const FIXTURE = join(import.meta.dirname, "run-child.fixture.ts");

interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Sends `signal` once the command has said that it is ready. */
function run(args: readonly string[], options: { signal?: NodeJS.Signals; input?: string } = {}): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [FIXTURE, ...args], { stdio: "pipe" });
    let stdout = "";
    let stderr = "";
    let sent = false;
    child.stdout.on("data", (chunk: Buffer) => {
      stdout += chunk.toString();
      if (options.signal === undefined || sent || !stdout.includes("ready")) return;
      sent = true;
      child.kill(options.signal);
    });
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
    child.stdin.end(options.input ?? "");
  });
}

/** Says "ready" and waits; ends by the signal, or as its trap says. */
const waiting = (trap: string): readonly string[] => ["sh", "-c", `${trap} echo ready; while :; do sleep 0.05; done`];

describe("a command run in our place", () => {
  it.each([0, 1, 42, 255])("exits %i, and so do we", async (status) => {
    expect(await run(["sh", "-c", `exit ${status}`])).toMatchObject({ code: status, signal: null });
  });

  it("has our standard streams", async () => {
    expect(await run(["sh", "-c", "cat; echo err >&2"], { input: "through\n" })).toMatchObject({
      stdout: "through\n",
      stderr: "err\n",
      code: 0,
    });
  });

  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
    ["SIGQUIT", 131],
  ] as const)("gets %s, and its death is 128 + n", async (signal, status) => {
    expect(await run(waiting(""), { signal })).toMatchObject({ code: status, signal: null });
  });

  it("may handle the signal and exit as it likes", async () => {
    expect(await run(waiting("trap 'echo bye; exit 7' TERM;"), { signal: "SIGTERM" })).toMatchObject({ code: 7, stdout: "ready\nbye\n" });
  });

  it("is told from one that kills itself", async () => {
    expect(await run(["sh", "-c", "kill -9 $$"])).toMatchObject({ code: 137 });
  });

  it("that does not exist is 127, and that may not be run is 126", async () => {
    expect(await run(["no-such-command-here"])).toMatchObject({ code: 127, stderr: "no-such-command-here: command not found\n" });
    expect(await run([import.meta.filename])).toMatchObject({ code: 126 });
  });
});
