/** Startup, against a real server: PG-01 to PG-11. Raw sockets say what no driver would. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startPostgres, type PostgresServer } from "../../../support/postgres.ts";
import { makeVerifier } from "../../../../tunnel-agent/protocols/postgres/scram.ts";
import {
  CANCEL,
  errorOf,
  firstColumn,
  GSS,
  int32,
  letters,
  message,
  RawClient,
  serialize,
  SSL,
  startupPacket,
  statusOf,
  V3_0,
  V3_2,
} from "../raw-client.ts";
import { startGateway, type Gateway } from "../support.ts";

const run = promisify(execFile);

let postgres: PostgresServer;
let open: Gateway;
let locked: Gateway;
beforeAll(async () => {
  postgres = await startPostgres();
  open = await startGateway({ postgres });
  locked = await startGateway({ postgres, auth: { method: "scram-sha-256", ...(await makeVerifier("per-run secret")) } });
}, 60_000);
afterAll(async () => {
  await open.stop();
  await locked.stop();
  await postgres.stop();
});

/** What a first packet is answered with, up to the close. */
async function refused(bytes: Buffer, gateway = open): Promise<Record<string, string> | undefined> {
  const client = await RawClient.open(gateway.port);
  client.send(bytes);
  return errorOf(await client.untilClosed());
}

async function psql(
  gateway: Gateway,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ stdout: string; stderr: string }> {
  const settings = { PGHOST: "127.0.0.1", PGPORT: String(gateway.port), PGUSER: "job", PGDATABASE: "postgres", PGCONNECT_TIMEOUT: "10" };
  const options = { env: { PATH: process.env["PATH"] ?? "", ...settings, ...env } };
  return await run("psql", ["-XAtq", "-v", "ON_ERROR_STOP=1", ...args], options).catch(
    (error: unknown) => error as { stdout: string; stderr: string },
  );
}

test("PG-01 bytes stuffed after an encryption request are refused; alone it is answered", async () => {
  const client = await RawClient.open(open.port);
  client.send(startupPacket(SSL));
  expect((await client.raw(1)).toString()).toBe("N");
  client.send(startupPacket(V3_0, ["user", "u"]));
  expect(letters(await client.until("Z"))).toMatch(/^RS+KZ$/);

  const stuffed = await RawClient.open(open.port);
  stuffed.send(startupPacket(SSL), startupPacket(V3_0, ["user", "u"]));
  expect(errorOf(await stuffed.untilClosed())).toMatchObject({ S: "FATAL", C: "08P01" });
});

test("PG-01 a second request for the same encryption is refused", async () => {
  const client = await RawClient.open(open.port);
  client.send(startupPacket(SSL));
  await client.raw(1);
  client.send(startupPacket(SSL));
  expect(errorOf(await client.untilClosed())).toMatchObject({ S: "FATAL", C: "0A000" });
});

test("PG-02 a connection that says nothing does not keep another from working, and an oversized startup is refused", async () => {
  const silent = await Promise.all(Array.from({ length: 20 }, () => RawClient.open(open.port)));
  expect((await psql(open, ["-c", "select 1"])).stdout).toBe("1\n");
  for (const client of silent) client.destroy();
  expect(await refused(Buffer.concat([int32(10_001), int32(V3_0), Buffer.alloc(10_000)]))).toMatchObject({ C: "08P01" });
  expect(await refused(Buffer.concat([int32(-1), int32(V3_0)]))).toMatchObject({ C: "08P01" });
});

test("PG-02 a session may not have any number of connections in their handshake", async () => {
  const silent = await Promise.all(Array.from({ length: 40 }, () => RawClient.open(open.port)));
  const refusals = silent.slice(32);
  for (const client of refusals) expect(errorOf(await client.untilClosed())).toMatchObject({ S: "FATAL", C: "53300" });
  for (const client of silent) client.destroy();
  while ((await psql(open, ["-c", "select 1"])).stdout !== "1\n");
});

test("PG-03 GSSAPI encryption is declined, then SSL, then the login works", async () => {
  const client = await RawClient.open(open.port);
  client.send(startupPacket(GSS));
  expect((await client.raw(1)).toString()).toBe("N");
  client.send(startupPacket(SSL));
  expect((await client.raw(1)).toString()).toBe("N");
  client.send(startupPacket(V3_0, ["user", "u", "database", "postgres"]));
  expect(statusOf(await client.until("Z"))).toBe("I");
});

test("PG-04 a TLS handshake without asking is refused with a TLS alert", async () => {
  const client = await RawClient.open(open.port);
  client.send(Buffer.from([0x16, 0x03, 0x01, 0x00, 0x05, 1, 0, 0, 1, 0]));
  expect(await client.raw(7)).toEqual(Buffer.from([0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x28]));
  await client.untilClosed();
});

describe("PG-06 and the tunnel's own password", () => {
  const secret = { PGPASSWORD: "per-run secret" };

  test("psql with the per-run password is let in, with another or none it is not", async () => {
    expect((await psql(locked, ["-c", "select 2"], secret)).stdout).toBe("2\n");
    expect((await psql(locked, ["-c", "select 2"], { PGPASSWORD: "guess" })).stderr).toContain("password authentication failed");
    expect((await psql(locked, ["-w", "-c", "select 2"])).stderr).toContain("no password supplied");
  });

  test("PG-06 channel_binding=require finds none, a forged binding is refused, prefer works", async () => {
    expect((await psql(locked, ["-d", "channel_binding=require", "-c", "select 2"], secret)).stderr).toMatch(/channel binding/i);
    expect((await psql(locked, ["-d", "channel_binding=prefer", "-c", "select 2"], secret)).stdout).toBe("2\n");
    const client = await RawClient.open(locked.port);
    client.send(startupPacket(V3_0, ["user", "u"]));
    await client.until("R");
    client.send(serialize.sendSASLInitialResponseMessage("SCRAM-SHA-256", "p=tls-server-end-point,,n=,r=abcdefgh"));
    expect(errorOf(await client.untilClosed())).toMatchObject({ S: "FATAL", C: "28000" });
  });

  test("PG-07 anything but an answer during authentication is refused", async () => {
    for (const bytes of [startupPacket(V3_0, ["user", "u"]), serialize.query("select 1"), message("p", Buffer.alloc(5000))]) {
      const client = await RawClient.open(locked.port);
      client.send(startupPacket(V3_0, ["user", "u"]));
      expect(letters(await client.until("R"))).toBe("R");
      client.send(bytes);
      expect(errorOf(await client.untilClosed())).toMatchObject({ S: "FATAL", C: "08P01" });
    }
    expect(locked.recorder.commands.filter(({ text }) => text === "select 1")).toEqual([]);
  });
});

describe("PG-08 startup parameters", () => {
  test.each([
    ["options", "-c role=admin"],
    ["role", "admin"],
    ["search_path", "evil"],
    ["session_preload_libraries", "x"],
    ["statement_timeout", "0"],
    ["nonsense", "1"],
    ["TimeZone", "UTC'; drop table t"],
  ])("%s=%s is refused with 42501", async (name, value) => {
    expect(await refused(startupPacket(V3_0, ["user", "u", name, value]))).toMatchObject({ S: "FATAL", C: "42501" });
  });

  test.each([
    ["client_encoding", "SJIS", "0A000"],
    ["standard_conforming_strings", "off", "0A000"],
    ["replication", "database", "0A000"],
    ["database", "template1", "3D000"],
  ])("%s=%s is refused with its own code", async (name, value, code) => {
    expect(await refused(startupPacket(V3_0, ["user", "u", name, value]))).toMatchObject({ S: "FATAL", C: code });
  });

  test("PGOPTIONS is refused in psql's words too", async () => {
    expect((await psql(open, ["-c", "select 1"], { PGOPTIONS: "-c role=admin" })).stderr).toContain("startup options are not allowed");
  });

  test("what is on the list reaches the target, and the rest of the packet is the gateway's", async () => {
    const client = await RawClient.ready(open.port, [
      "user",
      "any",
      "TimeZone",
      "Asia/Tokyo",
      "DateStyle",
      "SQL, DMY",
      "application_name",
      "ci-jöb",
    ]);
    expect(firstColumn(await client.query("show timezone"))).toEqual(["Asia/Tokyo"]);
    expect(firstColumn(await client.query("show search_path"))).toEqual(["public, pg_temp"]);
    expect(firstColumn(await client.query("show application_name"))[0]).toMatch(/^sallyport:0{8} ci-j\?+b$/);
    expect(firstColumn(await client.query("select current_user"))).toEqual(["postgres"]);
  });
});

describe("PG-09 parameter pairs", () => {
  test.each([
    ["user twice", startupPacket(V3_0, ["user", "a", "user", "super"])],
    ["an odd number", startupPacket(V3_0, ["user", "a", "database"])],
    ["no terminator", startupPacket(V3_0, ["user", "a"], "")],
    ["bytes after the terminator", startupPacket(V3_0, ["user", "a"], "\0x")],
    ["a value that is not UTF-8", Buffer.concat([int32(18), int32(V3_0), Buffer.from("user\0"), Buffer.from([0xff, 0xfe, 0, 0, 0])])],
  ])("%s: 08P01", async (_what, packet) => {
    expect(await refused(packet)).toMatchObject({ S: "FATAL", C: "08P01" });
  });

  test("no user: 28000", async () => {
    expect(await refused(startupPacket(V3_0, ["database", "postgres"]))).toMatchObject({ C: "28000" });
  });
});

describe("PG-10 versions", () => {
  async function negotiated(version: number, pairs: readonly string[]) {
    const client = await RawClient.open(open.port);
    client.send(startupPacket(version, ["user", "u", ...pairs]));
    const all = await client.until("Z");
    const key = all.find(({ type }) => type === "K")?.body.length;
    return { all: letters(all).replaceAll("S", ""), key, version: all.find(({ type }) => type === "v")?.body };
  }

  test("3.0 and 3.2 need no negotiation; their keys have 4 and 32 bytes", async () => {
    expect(await negotiated(V3_0, [])).toEqual({ all: "RKZ", key: 8, version: undefined });
    expect(await negotiated(V3_2, [])).toEqual({ all: "RKZ", key: 36, version: undefined });
  });

  test("a newer minor and unknown options are negotiated down", async () => {
    const grease = await negotiated((3 << 16) | 9999, ["_pq_.test", "1"]);
    expect(grease).toEqual({ all: "vRKZ", key: 36, version: Buffer.concat([int32(V3_2), int32(1), Buffer.from("_pq_.test\0")]) });
    expect((await negotiated(V3_0, ["_pq_.x", "y"])).version).toEqual(Buffer.concat([int32(V3_0), int32(1), Buffer.from("_pq_.x\0")]));
  });

  test("another major is refused", async () => {
    for (const major of [1, 2, 4])
      expect(await refused(startupPacket(major << 16, ["user", "u"]))).toMatchObject({ S: "FATAL", C: "0A000" });
  });
});

describe("PG-11 cancel", () => {
  async function sleeping(version: number): Promise<{ client: RawClient; key: Buffer }> {
    const client = await RawClient.ready(open.port, ["user", "u"], version);
    const key = client.greeting.find(({ type }) => type === "K")!.body;
    client.send(serialize.query("select pg_sleep(30)"));
    for (;;) {
      const { stdout } = await psql(open, [
        "-c",
        "select count(*) from pg_stat_activity where query like '%pg_sleep(30)%' and pid <> pg_backend_pid()",
      ]);
      if (stdout !== "0\n") return { client, key };
    }
  }
  async function cancel(port: number, key: Buffer): Promise<Buffer> {
    const client = await RawClient.open(port);
    client.send(Buffer.concat([int32(8 + key.length), int32(CANCEL), key]));
    return await client.raw(1);
  }

  test.each([V3_0, V3_2])("its own key cancels, without a reply (protocol %d)", async (version) => {
    const { client, key } = await sleeping(version);
    expect(await cancel(open.port, key)).toHaveLength(0);
    const answer = await client.until("Z");
    expect(errorOf(answer)).toMatchObject({ C: "57014" });
    expect(firstColumn(await client.query("select 1"))).toEqual(["1"]);
    expect(open.recorder.outcomes.at(-2)).toMatchObject({ status: "cancelled", code: "57014" });
  });

  test("a wrong key, another session's key and the target's own have no effect", async () => {
    const { client, key } = await sleeping(V3_0);
    const wrong = Buffer.from(key);
    wrong.writeUInt8(wrong.readUInt8(7) ^ 1, 7);
    expect(await cancel(open.port, wrong)).toHaveLength(0);
    expect(await cancel(locked.port, key)).toHaveLength(0);
    const { stdout } = await psql(open, ["-c", "select count(*) from pg_stat_activity where query = 'select pg_sleep(30)'"]);
    expect(stdout).toBe("1\n");
    await cancel(open.port, key);
    expect(errorOf(await client.until("Z"))).toMatchObject({ C: "57014" });
  });
});
