/**
 * A client that asks one question and counts what comes back, as fast as a socket gives it: node-postgres logs in, and
 * then its socket is read without being understood. So what is measured is the way, not a driver's work per row.
 */
import type { Socket } from "node:net";
import { serialize } from "pg-protocol";
import { Client } from "pg";
import type { Endpoint } from "./cases.ts";

export interface Drained {
  /** ms from the question to the first bytes of the first row; to the end. */
  readonly firstMs: number;
  readonly ms: number;
  readonly bytes: number;
}

/** ReadyForQuery, idle: the last six bytes of an answer (manual section 55.7). */
const READY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);

/** Rows of one query in one format; rejects when the answer holds an error. */
export async function drain(endpoint: Endpoint, sql: string, format: "text" | "binary"): Promise<Drained> {
  const { PGHOST: host, PGPORT: port, PGUSER: user, PGPASSWORD: password, PGDATABASE: database } = endpoint.env;
  const client = new Client({ host, port: Number(port), user, password, database });
  await client.connect();
  const { stream } = (client as unknown as { connection: { stream: Socket } }).connection;
  stream.removeAllListeners("data");
  try {
    return await new Promise<Drained>((resolve, reject) => {
      const started = performance.now();
      let [bytes, firstMs] = [0, 0];
      let tail: Buffer = Buffer.alloc(0);
      stream.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        // The first row follows its description, which is some 300 bytes: so much alone is not yet a row.
        if (firstMs === 0 && bytes > 1024) firstMs = performance.now() - started;
        if (bytes === chunk.length && chunk[0] === 0x45) reject(new Error(chunk.toString("latin1")));
        tail = chunk.length >= READY.length ? chunk.subarray(-READY.length) : Buffer.concat([tail, chunk]).subarray(-READY.length);
        if (tail.equals(READY)) resolve({ firstMs, ms: performance.now() - started, bytes });
      });
      stream.once("error", reject);
      stream.once("close", () => reject(new Error("the connection was closed")));
      const extended = [
        serialize.parse({ text: sql }),
        serialize.bind({ binary: true }),
        serialize.describe({ type: "P", name: "" }),
        serialize.execute({}),
        serialize.sync(),
      ];
      stream.write(format === "text" ? serialize.query(sql) : Buffer.concat(extended));
    });
  } finally {
    stream.removeAllListeners("close");
    stream.destroy();
  }
}
