/**
 * From a person's vote to the held statement at the target: each statement waits, is approved over the API, and writes the
 * target's clock into a table. One clock: everything is on this machine.
 */
import { Client } from "pg";
import type { VoteRequest } from "../protocol/api.ts";
import { Approval } from "../protocol/approval.ts";
import { quantile, type Row } from "./rows.ts";

export interface Voting {
  readonly gateway: string;
  readonly votes: number;
  /** Tokens of the approver; each works once. A vote takes two, and one more for each look that comes too early. */
  readonly tokens: readonly string[];
}

const ID = /apr_[0-9a-z]{26}/;

/** The notice names the approval at once; the gateway may know of it a moment later. */
async function shown(look: () => Promise<unknown>): Promise<unknown> {
  for (let tries = 0; ; tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    try {
      return await look();
    } catch (error) {
      if (tries === 20) throw error;
    }
  }
}

export async function votes(voting: Voting, env: Readonly<Record<string, string>>): Promise<Row[]> {
  const tokens = [...voting.tokens];
  const call = async (path: string, body?: unknown): Promise<unknown> => {
    const response = await fetch(new URL(path, voting.gateway), {
      headers: { authorization: `Bearer ${tokens.pop() ?? ""}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return await response.json();
  };
  const { PGHOST: host, PGPORT: port, PGUSER: user, PGPASSWORD: password, PGDATABASE: database } = env;
  const client = new Client({ host, port: Number(port), user, password, database });
  await client.connect();
  const latencies: number[] = [];
  for (let vote = 0; vote < voting.votes; vote += 1) {
    const held = new Promise<string>((resolve) => {
      client.once("notice", ({ message }) => resolve(ID.exec(message ?? "")?.[0] ?? ""));
    });
    const answer = client.query<{ at: string }>(
      "INSERT INTO arrivals VALUES (clock_timestamp()) RETURNING extract(epoch FROM at) * 1000 AS at",
    );
    const id = await held;
    const { digest } = Approval.parse(await shown(() => call(`/v1/approvals/${id}`)));
    const votedAt = performance.timeOrigin + performance.now();
    await call(`/v1/approvals/${id}/votes`, { vote: "approve", digest } satisfies VoteRequest);
    const { rows } = await answer;
    latencies.push(Number(rows[0]?.at) - votedAt);
  }
  await client.end();
  latencies.sort((a, b) => a - b);
  const row = (metric: string, q: number): Row => ({
    case: "vote → the held statement is at the target",
    path: "gateway",
    metric,
    value: quantile(latencies, q),
    unit: "ms",
  });
  return [row("latency p50", 0.5), row("latency p99", 0.99)];
}
