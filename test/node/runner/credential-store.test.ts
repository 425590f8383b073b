/** Where credentials are kept between the commands of a job: who can read them, and what is not trusted. */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openCredentialStore, runtimeDirectory, type KeptCredential } from "../../../runner/credential-store.ts";

const OWN = `sallyport-${process.getuid?.() ?? userInfo().username}`;
const NOW = Date.parse("2026-11-22T08:00:00Z");
const GATEWAY = "https://gate.example.com";
const kept = (name: string, expires_at = NOW + 900_000): KeptCredential => ({
  access_token: name,
  identity: "orders-ci",
  expires_at,
  key: { kty: "EC", crv: "P-256", x: "x", y: "y", d: "d" },
});
let base: string;
let other: string;
const temporary = process.env["TMPDIR"];

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "sallyport-store-"));
  other = join(base, "tmp");
  mkdirSync(other);
  process.env["TMPDIR"] = other;
});
afterEach(() => {
  if (temporary === undefined) delete process.env["TMPDIR"];
  else process.env["TMPDIR"] = temporary;
  rmSync(base, { recursive: true, force: true });
});

const open = (gateway = GATEWAY, now = NOW) => openCredentialStore({ XDG_RUNTIME_DIR: base }, gateway, () => now);

describe("the directory", () => {
  it("is made for the user alone, where the environment says first", () => {
    expect(runtimeDirectory({ XDG_RUNTIME_DIR: base, RUNNER_TEMP: other })).toBe(join(base, OWN));
    expect(statSync(join(base, OWN)).mode & 0o777).toBe(0o700);
    expect(runtimeDirectory({ RUNNER_TEMP: base })).toBe(join(base, OWN));
    expect(runtimeDirectory({})).toBe(join(other, OWN));
  });

  it.each(["", "relative", "./here"])("is never %j, which is somewhere else for every command", (path) => {
    expect(runtimeDirectory({ XDG_RUNTIME_DIR: path })).toBe(join(other, OWN));
  });

  it("that others can look into, or that is a link, is passed over", () => {
    mkdirSync(join(base, OWN));
    chmodSync(join(base, OWN), 0o750);
    expect(runtimeDirectory({ XDG_RUNTIME_DIR: base })).toBe(join(other, OWN));
    rmSync(join(base, OWN), { recursive: true });
    mkdirSync(join(base, "elsewhere"), { mode: 0o700 });
    symlinkSync(join(base, "elsewhere"), join(base, OWN));
    expect(runtimeDirectory({ XDG_RUNTIME_DIR: base })).toBe(join(other, OWN));
    // The negative control: the same place is taken when it is a directory of ours.
    rmSync(join(base, OWN));
    mkdirSync(join(base, OWN), { mode: 0o700 });
    expect(runtimeDirectory({ XDG_RUNTIME_DIR: base })).toBe(join(base, OWN));
  });

  it.skipIf(process.getuid?.() !== 0)("of another user is passed over", async () => {
    const { chownSync } = await import("node:fs");
    mkdirSync(join(base, OWN), { mode: 0o700 });
    chownSync(join(base, OWN), 12_345, 12_345);
    expect(runtimeDirectory({ XDG_RUNTIME_DIR: base })).toBe(join(other, OWN));
  });

  it("may be nowhere: nothing is kept then", () => {
    process.env["TMPDIR"] = "/dev/null";
    expect(runtimeDirectory({ XDG_RUNTIME_DIR: "/dev/null" })).toBeUndefined();
    const store = openCredentialStore({ XDG_RUNTIME_DIR: "/dev/null" }, GATEWAY, () => NOW);
    store.save("token", kept("a"));
    expect(store.load("token")).toBeUndefined();
  });
});

describe("a credential", () => {
  it("is found by its token and its gateway, and by no other", () => {
    open().save("token", kept("a"));
    expect(open().load("token")).toEqual(kept("a"));
    expect(open().load("token2")).toBeUndefined();
    expect(open("https://other.example.com").load("token")).toBeUndefined();
  });

  it("is in a file for the user alone, whose name does not tell the token", () => {
    open().save("a.secret.token", kept("a"));
    const [name = ""] = readdirSync(join(base, OWN));
    expect(name).toMatch(/^credential-[0-9a-f]{32}\.json$/);
    expect(statSync(join(base, OWN, name)).mode & 0o777).toBe(0o600);
  });

  it("replaces the one before it", () => {
    open().save("token", kept("a"));
    open().save("token", kept("b"));
    expect(open().load("token")?.access_token).toBe("b");
    expect(readdirSync(join(base, OWN))).toHaveLength(1);
  });

  it("that has expired is removed by the next to be kept; files of others are left", () => {
    open().save("old", kept("a", NOW + 1000));
    open().save("good", kept("b", NOW + 9000));
    writeFileSync(join(base, OWN, "up-0123456789abcdef.json"), "{}");
    open(GATEWAY, NOW + 2000).save("new", kept("c", NOW + 9000));
    expect(open().load("old")).toBeUndefined();
    expect(open().load("good")?.access_token).toBe("b");
    expect(readdirSync(join(base, OWN))).toHaveLength(3);
  });

  it("that is not whole, or of another shape, is as good as none", () => {
    open().save("token", kept("a"));
    const [name = ""] = readdirSync(join(base, OWN));
    for (const text of ["", "{", "null", '{"access_token":1}']) {
      writeFileSync(join(base, OWN, name), text);
      expect(open().load("token")).toBeUndefined();
    }
  });

  it("that cannot be kept is no failure of the command", () => {
    const store = open();
    rmSync(join(base, OWN), { recursive: true });
    expect(() => store.save("token", kept("a"))).not.toThrow();
  });
});
