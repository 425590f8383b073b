/** What the tests of holds share: a real server, a gateway with people that the test plays, and a connection past it. */
import { Client } from "pg";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { startPostgres, type PostgresServer } from "../../../support/postgres.ts";
import { fieldsOf, RawClient, serialize } from "../raw-client.ts";
import { decided, startGateway, type Gateway, type Rule } from "../support.ts";
import { ScriptedApprovals, type Asked } from "./scripted.ts";

/** Changing `held` needs the group dba; `locks` too, and may be held in a transaction. Dropping is denied. */
export const rule: Rule = (action, resource) => {
  if (resource.type !== "table" || action === "pg:select") return "allow";
  if (action === "pg:drop") return "deny";
  if (resource.table === "locks") return { ...decided("hold", action), hold: { inTransaction: true, ttl: 3_600_000 } };
  return resource.table === "held" ? "hold" : "allow";
};

export const INSERT = "insert into held values (1)";
export const pbe = (text: string, values: (string | null)[] = []): Buffer =>
  Buffer.concat([serialize.parse({ text }), serialize.bind({ values }), serialize.execute({})]);

/** Types of messages without notices. */
export const quietly = (messages: readonly { type: string }[]): string =>
  messages
    .map(({ type }) => type)
    .filter((type) => type !== "N")
    .join("");

export class HoldRig {
  gateway!: Gateway;
  approvals!: ScriptedApprovals;
  client!: RawClient;
  postgres!: PostgresServer;
  #direct!: Client;
  readonly #clients: RawClient[] = [];

  /** Declares the hooks of a test file. */
  static declare(): HoldRig {
    const rig = new HoldRig();
    beforeAll(async () => {
      rig.postgres = await startPostgres();
      const { port, superuser } = rig.postgres;
      rig.#direct = new Client({ host: "127.0.0.1", port, ...superuser, database: "postgres" });
      await rig.#direct.connect();
    }, 60_000);
    afterAll(async () => {
      await rig.#direct.end();
      await rig.postgres.stop();
    });
    beforeEach(async () => {
      rig.approvals = new ScriptedApprovals();
      rig.gateway = await startGateway({ postgres: rig.postgres, approvals: rig.approvals, rule });
      await rig.direct(
        "drop table if exists held, locks, t cascade; create table held (n int); create table locks (n int); create table t (n int)",
      );
      rig.client = await rig.connect();
    });
    afterEach(async () => {
      for (const one of rig.#clients.splice(0)) one.destroy();
      await rig.gateway.stop();
    });
    return rig;
  }

  async connect(): Promise<RawClient> {
    const one = await RawClient.ready(this.gateway.port);
    this.#clients.push(one);
    return one;
  }

  /** Past the gateway, as superuser. */
  async direct(sql: string): Promise<unknown[]> {
    return (await this.#direct.query(sql)).rows as unknown[];
  }

  async rows(table = "held"): Promise<number[]> {
    return ((await this.direct(`select n from ${table} order by n`)) as { n: number }[]).map(({ n }) => n);
  }

  /** Starts a statement that is held, and gives the request and the first notice. */
  async hold(sql = INSERT): Promise<{ asked: Asked; notice: Record<string, string> }> {
    this.client.send(serialize.query(sql));
    const notice = (await this.client.until("N")).at(-1);
    return { asked: this.approvals.last, notice: fieldsOf(notice?.body ?? Buffer.alloc(0)) };
  }
}
