/** Credentials by reference, with real files and commands: rotation, limits, and errors that give nothing away. */
import { chmodSync, mkdtempSync, rmSync, symlinkSync, renameSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { Redactor, REDACTED } from "../../../tunnel-agent/credentials/redactor.ts";
import { CredentialStore, EXEC_CACHE_MS } from "../../../tunnel-agent/credentials/store.ts";
import { createLog } from "../../../tunnel-agent/log.ts";

const directory = mkdtempSync(join(tmpdir(), "sallyport-credentials-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const SECRET = "S3cr3t-of-the-orders-db";
let clock = 0;
let logged = "";
let redactor: Redactor;
let store: CredentialStore;

beforeEach(() => {
  logged = "";
  redactor = new Redactor();
  const log = createLog({ level: "trace", redactor, destination: { write: (line) => void (logged += line) } });
  const env = { PATH: process.env["PATH"], ORDERS: SECRET, EMPTY: "" };
  store = new CredentialStore({ env, directory, redactor, log, monotonic: () => clock });
});

const read = (reference: string): Promise<string> => store.credential(reference).read();
const file = (name: string, content: string, mode = 0o600): string => {
  writeFileSync(join(directory, name), content);
  chmodSync(join(directory, name), mode);
  return `file:${name}`;
};
const script = (name: string, body: string): string => {
  writeFileSync(join(directory, name), `#!/bin/sh\n${body}\n`, { mode: 0o700 });
  return `exec:${join(directory, name)}`;
};

describe("env:", () => {
  test("the variable's value", async () => {
    await expect(read("env:ORDERS")).resolves.toBe(SECRET);
  });
  test("missing and empty ones are errors that name the reference", async () => {
    await expect(read("env:NOT_THERE")).rejects.toThrow("env:NOT_THERE: the environment variable is not set");
    await expect(read("env:EMPTY")).rejects.toThrow("env:EMPTY: it is empty");
  });
});

describe("file:", () => {
  test("one trailing newline goes, the rest stays", async () => {
    await expect(read(file("a", `${SECRET}\n`))).resolves.toBe(SECRET);
    await expect(read(file("a", ` ${SECRET}\r\n`))).resolves.toBe(` ${SECRET}`);
    await expect(read(file("a", `${SECRET}\n\n`))).resolves.toBe(`${SECRET}\n`);
  });

  test("rotation: the next read gives the new value, in place and by symbolic link", async () => {
    const reference = file("rotating", "first-value-1");
    await expect(read(reference)).resolves.toBe("first-value-1");
    file("rotating", "second-value");
    await expect(read(reference)).resolves.toBe("second-value");
    // As Kubernetes updates a mounted secret.
    file("third", "third-value-3");
    symlinkSync("third", join(directory, "link"));
    renameSync(join(directory, "link"), join(directory, "rotating"));
    await expect(read(reference)).resolves.toBe("third-value-3");
  });

  test("warns once about one that every user may read", async () => {
    const reference = file("open", SECRET, 0o644);
    await read(reference);
    await read(reference);
    expect(logged.match(/open to every user/g)).toHaveLength(1);
    expect(logged).toContain("file:open");
    logged = "";
    await read(file("closed", SECRET, 0o600));
    expect(logged).toBe("");
  });

  test("missing, a directory, too large, with a NUL", async () => {
    await expect(read("file:nowhere")).rejects.toThrow("file:nowhere: the file could not be read: ENOENT");
    await expect(read("file:.")).rejects.toThrow("not a regular file");
    await expect(read(file("large", "x".repeat(70_000)))).rejects.toThrow("larger than 65536 bytes");
    await expect(read(file("nul", "a\0b"))).rejects.toThrow("NUL");
  });
});

describe("exec:", () => {
  test("standard output, with arguments as they are and no shell", async () => {
    await expect(read("exec:printf %s|%s a $HOME;id")).resolves.toBe("a|$HOME;id");
  });

  test("is run once for a burst, again after the cache's time, and again after a failure", async () => {
    const count = join(directory, "count");
    const reference = script("counting", `echo x >> ${count}; wc -l < ${count} | tr -d ' '; [ "$(wc -l < ${count})" -ne 2 ]`);
    await expect(Promise.all([read(reference), read(reference)])).resolves.toEqual(["1", "1"]);
    clock += EXEC_CACHE_MS - 1;
    await expect(read(reference)).resolves.toBe("1");
    clock += 1;
    await expect(read(reference)).rejects.toThrow("the command ended with status 1");
    await expect(read(reference)).resolves.toBe("3");
  });

  test("invariant 1: a failing command's output is in no error", async () => {
    const reference = script("failing", `echo ${SECRET}; echo ${SECRET} >&2; exit 3`);
    const failure = await read(reference).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(Error);
    expect(String((failure as Error).stack) + JSON.stringify(failure)).not.toContain(SECRET);
    expect((failure as Error).cause).toBeUndefined();
    expect((failure as Error).message).toContain("status 3");
  });

  test("not found, too much output, killed", async () => {
    await expect(read("exec:/nowhere/command")).rejects.toThrow("could not be started: ENOENT");
    await expect(read(script("chatty", "head -c 70000 /dev/zero | tr '\\0' x"))).rejects.toThrow("wrote more than 65536 bytes");
    await expect(read(script("dying", "kill -9 $$"))).rejects.toThrow("ended by SIGKILL");
  });
});

describe("the redactor, belt and braces", () => {
  test("takes a value that was read out of log lines, also JSON-escaped, also inside a message", async () => {
    const odd = 'quote" back\\slash tail';
    await read(file("odd", odd));
    await read("env:ORDERS");
    const log = createLog({ level: "info", redactor, destination: { write: (line) => void (logged += line) } });
    log.info({ detail: odd, nested: { deep: [SECRET] } }, `connecting with ${SECRET}`);
    expect(logged).not.toContain(SECRET);
    expect(logged).not.toContain("slash");
    expect(logged.split(REDACTED)).toHaveLength(4);
  });

  test("keys that sound like a secret are redacted whatever they hold", () => {
    const log = createLog({ level: "info", redactor, destination: { write: (line) => void (logged += line) } });
    log.info({ password: "unknown-value", session: { dial_secret: "unknown-value" } }, "x");
    expect(logged).not.toContain("unknown-value");
  });

  test("values too short to be told from ordinary text are left alone", () => {
    redactor.add("env:SHORT", "test");
    expect(redactor.redact("select * from test")).toBe("select * from test");
  });
});

test("GW-22: a log line is one line whatever a name holds", () => {
  const log = createLog({ level: "info", redactor, destination: { write: (line) => void (logged += line) } });
  log.info({ target: 'x\n{"level":"error"}\u001b[31m' }, "odd");
  expect(logged.split("\n")).toHaveLength(2);
  expect(logged).not.toContain("\u001b");
});
