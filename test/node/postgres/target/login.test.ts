/** PG-05: logging in at targets that ask for too much, prove nothing or talk out of turn. Real sockets, scripted servers. */
import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { connectTarget } from "../../../../tunnel-agent/protocols/postgres/target/connect.ts";
import { login, type LoginOptions } from "../../../../tunnel-agent/protocols/postgres/target/login.ts";
import { makeVerifier, ScramServer } from "../../../../tunnel-agent/protocols/postgres/scram.ts";
import { int32, message } from "../raw-client.ts";

const PASSWORD = "correct horse";
const ok = message("R", int32(0));
const cleartext = message("R", int32(3));
const md5 = message("R", int32(5), "salt");
const sasl = message("R", int32(10), "SCRAM-SHA-256\0\0");
const challenge = (text: string): Buffer => message("R", int32(11), text);
const proof = (text: string): Buffer => message("R", int32(12), text);
const ready = Buffer.concat([message("S", "client_encoding\0UTF8\0"), message("K", int32(7), int32(9)), message("Z", "I")]);

/** Answers each message of the client with the next of these; a function sees what came. */
type Step = Buffer | ((received: Buffer) => Buffer);

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

async function against(steps: readonly Step[], options: Partial<LoginOptions> = {}) {
  const received: Buffer[] = [];
  const server = createServer((socket: Socket) => {
    let next = 0;
    socket.on("error", () => undefined);
    socket.on("data", (bytes) => {
      received.push(bytes);
      const step = steps[next++];
      if (step === undefined) socket.end();
      else socket.write(typeof step === "function" ? step(bytes) : step);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const signal = AbortSignal.timeout(5000);
  const socket = await connectTarget({
    address: { kind: "tcp", host: "127.0.0.1", port },
    tls: "disable",
    ca: undefined,
    serverName: undefined,
    signal,
  });
  if (!socket.ok) throw new Error(socket.error);
  closing.push(() => {
    socket.value.destroy();
    server.close();
  });
  const result = await login(socket.value, {
    user: "app",
    parameters: [["database", "shop"]],
    methods: ["scram-sha-256"],
    password: () => Promise.resolve(PASSWORD),
    protocol: "3.2",
    signal,
    ...options,
  });
  return { result, sent: Buffer.concat(received) };
}

const clientNonce = (received: Buffer): string => /r=([^,]+)$/.exec(received.toString("latin1"))?.[1] ?? "";

/** The steps of a server that knows the password. */
async function honest(password = PASSWORD): Promise<Step[]> {
  const server = new ScramServer(await makeVerifier(password));
  const body = (received: Buffer, from: number): Buffer => received.subarray(from);
  return [
    sasl,
    (received) => {
      const first = server.first(body(received, 5 + "SCRAM-SHA-256\0".length + 4));
      return challenge(first.ok ? first.value : "");
    },
    (received) => {
      const final = server.final(body(received, 5));
      return final.ok ? Buffer.concat([proof(final.value), ok, ready]) : message("E", "SFATAL\0VFATAL\0C28P01\0Mno\0\0");
    },
  ];
}

test("PG-05 SCRAM with a server that knows the password", async () => {
  const { result, sent } = await against(await honest());
  expect(result).toMatchObject({ ok: true, value: { pid: 7, key: int32(9), status: new Map([["client_encoding", "UTF8"]]) } });
  expect(sent.toString("latin1")).not.toContain(PASSWORD);
});

test("a wrong password is a refusal that does not repeat it", async () => {
  const { result } = await against(await honest("another"));
  expect(result.ok).toBe(false);
  expect(JSON.stringify(result)).not.toContain(PASSWORD);
});

describe("PG-05 what a hostile target asks for", () => {
  const refusals: Record<string, [Step[], RegExp]> = {
    "cleartext, which is not configured": [[cleartext], /asks for cleartext/],
    "MD5, which is not configured": [[md5], /asks for md5/],
    "nothing at all": [[Buffer.concat([ok, ready])], /no authentication/],
    Kerberos: [[message("R", int32(7))], /method 7/],
    "another SASL mechanism": [[message("R", int32(10), "PLAIN\0\0")], /does not offer SCRAM-SHA-256/],
    "100,001 iterations": [[sasl, (got) => challenge(`r=${clientNonce(got)}x,s=c2FsdA==,i=100001`)], /iterations/],
    "one iteration": [[sasl, (got) => challenge(`r=${clientNonce(got)}x,s=c2FsdA==,i=1`)], /iterations/],
    "a nonce of its own": [[sasl, challenge("r=mine,s=c2FsdA==,i=4096")], /nonce/],
    "our nonce and nothing more": [[sasl, (got) => challenge(`r=${clientNonce(got)},s=c2FsdA==,i=4096`)], /nonce/],
    "a nonce of 3 KiB": [[sasl, (got) => challenge(`r=${clientNonce(got)}${"x".repeat(3000)},s=c2FsdA==,i=4096`)], /malformed/],
    "an extension that must be understood": [[sasl, (got) => challenge(`m=x,r=${clientNonce(got)}x,s=c2FsdA==,i=4096`)], /malformed/],
    "to skip its proof": [[sasl, (got) => challenge(`r=${clientNonce(got)}x,s=c2FsdA==,i=4096`), Buffer.concat([ok, ready])], /skipped/],
    "to prove itself wrongly": [
      [sasl, (got) => challenge(`r=${clientNonce(got)}x,s=c2FsdA==,i=4096`), Buffer.concat([proof("v=AAAA"), ok, ready])],
      /does not know the password/,
    ],
    "SCRAM twice": [[sasl, sasl], /does not offer/],
    "a message of 1 GB": [[Buffer.concat([Buffer.from("R"), int32(1_000_000_000)])], /1000000000 bytes/],
    "a row before the login": [[message("D", Buffer.from([0, 0]))], /protocol/],
    "a newer protocol than was asked for": [[message("v", int32((3 << 16) | 99), int32(0))], /negotiated/],
    "to begin in a transaction": [[Buffer.concat([ok, message("Z", "T")])], /no authentication|inside a transaction/],
  };
  test.each(Object.entries(refusals))("PG-05 %s", async (_what, [steps, why]) => {
    const { result, sent } = await against(steps);
    expect(result).toMatchObject({ ok: false });
    if (!result.ok) expect(result.error).toMatch(why);
    expect(sent.toString("latin1")).not.toContain(PASSWORD);
  });
});

describe("what is configured is answered", () => {
  test("cleartext", async () => {
    const { result, sent } = await against([cleartext, Buffer.concat([ok, ready])], { methods: ["cleartext"] });
    expect(result.ok).toBe(true);
    expect(sent.includes(`${PASSWORD}\0`)).toBe(true);
  });

  test("MD5: the vector of PostgreSQL's own md5 function", async () => {
    const { result, sent } = await against([md5, Buffer.concat([ok, ready])], { methods: ["md5"] });
    expect(result.ok).toBe(true);
    // md5(md5('correct horse' || 'app') || 'salt'), computed by PostgreSQL.
    expect(sent.includes("md5adb8e4a7f7ca8f34a46d02c0d771d99f\0")).toBe(true);
  });

  test("no authentication, where the target is trusted to let us in", async () => {
    const { result } = await against([Buffer.concat([ok, ready])], { methods: ["none"], password: undefined });
    expect(result.ok).toBe(true);
  });

  test("a downgrade from 3.2 to 3.0", async () => {
    const { result, sent } = await against([Buffer.concat([message("v", int32(196_608), int32(0)), ok, ready])], { methods: ["none"] });
    expect(result.ok).toBe(true);
    expect(sent.readInt32BE(4)).toBe(196_610);
  });
});

test("a target that says nothing, or goes away, is given up", async () => {
  expect((await against([Buffer.alloc(0)], { signal: AbortSignal.timeout(100) })).result).toMatchObject({ ok: false });
  expect((await against([])).result).toMatchObject({ ok: false });
});
