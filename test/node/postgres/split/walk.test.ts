/**
 * Random pipelines over both lanes against a real server, held against what a client may believe: one ReadyForQuery for
 * each Sync and Query, the status that its own transaction would have, and at the end exactly the rows whose commit it
 * was told of.
 */
import * as fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startPostgres, type PostgresServer } from "../../../support/postgres.ts";
import { errorOf, firstColumn, RawClient, serialize, statusOf, type Message } from "../raw-client.ts";
import { startGateway, type Gateway } from "../support.ts";
import { byWord, createWith, logins, prepareDatabase, SENTINEL } from "./two-logins.ts";

let postgres: PostgresServer;
let gateway: Gateway;
beforeAll(async () => {
  postgres = await startPostgres();
  await prepareDatabase(postgres);
  gateway = await startGateway({ postgres, config: logins, create: createWith(byWord) });
}, 150_000);
afterAll(async () => {
  await gateway.stop();
  await postgres.stop();
});

type Step = "read" | "classified" | "fails" | "classified fails" | "write";
type Segment = { readonly steps: readonly Step[]; readonly simple: boolean } | "begin" | "commit" | "rollback";

const TEXTS: Record<Exclude<Step, "write">, string> = {
  read: "select 7",
  classified: "select email from users where id = 1",
  fails: "select 1/0",
  "classified fails": "select email, 1/(id - id) from users",
};

const step = fc.constantFrom<Step>("read", "read", "classified", "classified", "write", "write", "fails", "classified fails");
const segment = fc.oneof(
  { weight: 4, arbitrary: fc.record({ steps: fc.array(step, { minLength: 1, maxLength: 4 }), simple: fc.boolean() }) },
  { weight: 2, arbitrary: fc.constantFrom("begin" as const, "commit" as const, "rollback" as const) },
);

const { parse, bind, execute, sync, query } = serialize;

/** What the client was told, as it adds up. */
class Belief {
  status = "I";
  readonly committed: string[] = [];
  #open: string[] = [];

  told(answer: readonly Message[], wrote: readonly string[], ends: "commit" | "rollback" | null): void {
    const failed = errorOf(answer) !== undefined;
    const status = statusOf(answer);
    if (this.status === "E") expect(status).toBe(ends === null ? "E" : "I");
    else if (failed) expect(status).toBe(this.status === "T" ? "E" : "I");
    if (ends === "commit" && this.status === "T") this.committed.push(...this.#open);
    if (!failed && status === "I" && ends === null) this.committed.push(...wrote);
    if (!failed && status === "T") this.#open.push(...wrote);
    if (status === "I") this.#open = [];
    this.status = status ?? "?";
  }
}

async function walk(segments: readonly Segment[]): Promise<void> {
  const client = await RawClient.ready(gateway.port);
  try {
    await client.query("truncate notes");
    const belief = new Belief();
    let number = 0;
    const told: (() => Promise<void>)[] = [];
    const packets: Buffer[] = [];
    for (const one of segments) {
      if (typeof one === "string") {
        packets.push(query(one));
        told.push(async () => belief.told(await client.until("Z"), [], one === "begin" ? null : one));
        continue;
      }
      const steps = one.simple ? one.steps.slice(0, 1) : one.steps;
      const wrote: string[] = [];
      for (const what of steps) {
        if (what === "write") wrote.push(String(number++));
        const text = what === "write" ? `insert into notes (text) values ('${wrote.at(-1)}')` : TEXTS[what];
        packets.push(...(one.simple ? [query(text)] : [parse({ text }), bind({}), execute({})]));
      }
      if (!one.simple) packets.push(sync());
      told.push(async () => {
        const answer = await client.until("Z");
        for (const value of firstColumn(answer)) expect(["7", SENTINEL]).toContain(value);
        if (steps.every((what) => what === "read" || what === "classified") && belief.status === "I") {
          expect(firstColumn(answer)).toEqual(steps.map((what) => (what === "read" ? "7" : SENTINEL)));
        }
        belief.told(answer, wrote, null);
      });
    }
    client.send(...packets);
    for (const listen of told) await listen();
    await client.query("rollback");
    expect(firstColumn(await client.query("select text from notes order by id"))).toEqual(belief.committed);
  } finally {
    client.destroy();
  }
}

/** A client that is owed an answer waits for ever: then the walk is a counterexample. */
async function within(work: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error("an answer did not come")), ms);
  });
  await Promise.race([work, late]).finally(() => clearTimeout(timer));
}

test("PG-54 PG-14 whatever is pipelined to whichever lane, the client's belief is the truth", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(segment, { minLength: 1, maxLength: 8 }), async (segments) => await within(walk(segments), 10_000)),
    {
      numRuns: 60,
      examples: [
        // A part of ours ends while an earlier segment is still to be answered.
        [
          [
            { steps: ["classified fails"], simple: false },
            { steps: ["classified fails", "read"], simple: false },
          ],
        ],
      ],
    },
  );
}, 120_000);
