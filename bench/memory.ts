/**
 * The agent's memory (Linux: VmRSS of /proc) while a 1 GB result passes, and while a reader stalls in front of one. What
 * is claimed is that it is bounded by the stream's window, not by the result.
 */
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import type { Endpoint, Tools } from "./cases.ts";
import type { Row } from "./rows.ts";

const residentMb = async (pid: number): Promise<number> => {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return (Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? Number.NaN) * 1024) / 1e6;
};

const SAMPLE_MS = 50;
const STALL_MS = 5_000;

/** The highest of samples every 50 ms while `work` runs. */
async function peakDuring(pid: number, work: () => Promise<void>): Promise<number> {
  let peak = 0;
  const done = new AbortController();
  const sampling = (async () => {
    while (!done.signal.aborted) {
      peak = Math.max(peak, await residentMb(pid));
      await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));
    }
  })();
  try {
    await work();
  } finally {
    done.abort();
    await sampling;
  }
  return peak;
}

/** Asks for `bytes` of rows; reads all, or reads nothing for STALL_MS and then goes away. */
function result(tools: Tools, endpoint: Endpoint, bytes: number, reader: "all" | "stalled"): Promise<void> {
  const sql = `COPY (SELECT repeat('x', 1000) FROM generate_series(1, ${Math.round(bytes / 1001)})) TO STDOUT`;
  return new Promise((resolve, reject) => {
    const child = spawn(tools.psql, ["-X", "-q", "-c", sql], {
      env: { PATH: process.env["PATH"] ?? "", ...endpoint.env },
      stdio: ["ignore", "pipe", "inherit"],
    });
    child.on("error", reject);
    child.on("close", (code) => (code === 0 || reader === "stalled" ? resolve() : reject(new Error(`psql ended with ${code}`))));
    if (reader === "all") child.stdout.resume();
    else setTimeout(() => child.kill("SIGKILL"), STALL_MS);
  });
}

export async function memory(tools: Tools, endpoint: Endpoint, agentPid: number, bytes: number): Promise<Row[]> {
  const name = (what: string) => `${what} of ${(bytes / 1e9).toFixed(bytes < 1e9 ? 1 : 0)} GB`;
  const whole = await peakDuring(agentPid, () => result(tools, endpoint, bytes, "all"));
  const stalled = await peakDuring(agentPid, () => result(tools, endpoint, bytes, "stalled"));
  return [
    { case: name("result"), path: endpoint.path, metric: "agent's peak memory", value: whole, unit: "MB" },
    { case: name("stalled reader in front"), path: endpoint.path, metric: "agent's peak memory", value: stalled, unit: "MB" },
  ];
}
