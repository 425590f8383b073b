/** Each CI system's way to a token: GitHub's endpoint over real HTTP, programs as real executables on PATH, files. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findTokenSource } from "../../../runner/identity/source.ts";
import { TokenUnavailable } from "../../../runner/identity/types.ts";

const TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJqb2IifQ.c2ln";
const AUDIENCE = "https://gate.example.com";
let directory: string;
const path = process.env["PATH"];
const closers: (() => Promise<void>)[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "sallyport-tokens-"));
});
afterEach(async () => {
  process.env["PATH"] = path;
  rmSync(directory, { recursive: true, force: true });
  for (const close of closers.splice(0)) await close();
});

async function serve(handler: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  closers.push(
    () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  );
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A program on PATH that notes its arguments and does what `script` says. */
function program(name: string, script: string): string {
  const log = join(directory, `${name}.args`);
  writeFileSync(join(directory, name), `#!/bin/sh\nprintf '%s\\n' "$@" > ${log}\n${script}\n`);
  chmodSync(join(directory, name), 0o755);
  process.env["PATH"] = `${directory}:${path ?? ""}`;
  return log;
}

describe("GitHub Actions", () => {
  it("asks the job's endpoint for our audience, with the job's own bearer", async () => {
    let seen: { url: string | undefined; authorization: string | undefined } | undefined;
    const origin = await serve((request, response) => {
      seen = { url: request.url, authorization: request.headers.authorization };
      response.end(JSON.stringify({ count: 1, value: TOKEN }));
    });
    const source = findTokenSource({
      ACTIONS_ID_TOKEN_REQUEST_URL: `${origin}/token?api-version=2.0`,
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: "runner-bearer",
    });
    expect(source).toMatchObject({ name: "GitHub Actions", mintable: true });
    expect(await source.fetch(AUDIENCE)).toBe(TOKEN);
    expect(seen).toEqual({ url: `/token?api-version=2.0&audience=${encodeURIComponent(AUDIENCE)}`, authorization: "bearer runner-bearer" });
  });

  it.each([
    ["an error", 500, "{}", "answered 500"],
    ["no token", 200, "{}", "without a token"],
    ["no JSON", 200, "<html>", "without a token"],
    ["a redirect", 302, "", "answered 302"],
  ])("says so when the endpoint answers with %s", async (_, status, body, says) => {
    const origin = await serve((_, response) => response.writeHead(status, { location: "http://127.0.0.1:1/" }).end(body));
    const source = findTokenSource({ ACTIONS_ID_TOKEN_REQUEST_URL: origin, ACTIONS_ID_TOKEN_REQUEST_TOKEN: "runner-bearer" });
    const failure = await source.fetch(AUDIENCE).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(TokenUnavailable);
    expect((failure as Error).message).toContain(says);
    expect((failure as Error).message).not.toContain("runner-bearer");
  });

  it("says which permission is missing", () => {
    expect(() => findTokenSource({ GITHUB_ACTIONS: "true" })).toThrow(/id-token: write/);
  });
});

describe("programs on PATH", () => {
  it("Buildkite's agent is asked for our audience", async () => {
    const log = program("buildkite-agent", `echo ${TOKEN}`);
    const source = findTokenSource({ BUILDKITE: "true" });
    expect(source).toMatchObject({ name: "Buildkite", mintable: true });
    expect(await source.fetch(AUDIENCE)).toBe(TOKEN);
    expect(readFileSync(log, "utf8").split("\n")).toEqual(["oidc", "request-token", "--audience", AUDIENCE, "--lifetime", "300", ""]);
  });

  it("CircleCI's command is asked for our audience", async () => {
    const log = program("circleci", `echo ${TOKEN}`);
    expect(await findTokenSource({ CIRCLECI: "true" }).fetch(AUDIENCE)).toBe(TOKEN);
    expect(readFileSync(log, "utf8")).toBe(`run\noidc\nget\n--claims\n${JSON.stringify({ aud: AUDIENCE })}\n`);
  });

  it("that fail are quoted; that are missing are named", async () => {
    program("buildkite-agent", "echo 'no OIDC for this organisation' >&2; exit 1");
    await expect(findTokenSource({ BUILDKITE: "true" }).fetch(AUDIENCE)).rejects.toThrow(/gave no token: no OIDC for this organisation/);
    process.env["PATH"] = directory;
    await expect(findTokenSource({ CIRCLECI: "true" }).fetch(AUDIENCE)).rejects.toThrow("circleci is not on PATH");
  });
});

describe("tokens handed over", () => {
  it("SALLYPORT_TOKEN comes first, and is good once", async () => {
    const source = findTokenSource({ SALLYPORT_TOKEN: ` ${TOKEN}\n`, SALLYPORT_TOKEN_FILE: "/nowhere", BUILDKITE: "true" });
    expect(source).toMatchObject({ name: "SALLYPORT_TOKEN", mintable: false });
    expect(await source.fetch(AUDIENCE)).toBe(TOKEN);
  });

  it("SALLYPORT_TOKEN_FILE is read at each use", async () => {
    const file = join(directory, "token");
    writeFileSync(file, TOKEN);
    const source = findTokenSource({ SALLYPORT_TOKEN_FILE: file });
    expect(await source.fetch(AUDIENCE)).toBe(TOKEN);
    writeFileSync(file, `${TOKEN}2\n`);
    expect(await source.fetch(AUDIENCE)).toBe(`${TOKEN}2`);
  });

  it("that are no tokens are refused without being shown", async () => {
    const failure = await findTokenSource({ SALLYPORT_TOKEN: "hunter2 is no jwt" })
      .fetch(AUDIENCE)
      .catch((error: unknown) => error);
    expect((failure as Error).message).toContain("does not hold a JWT");
    expect((failure as Error).message).not.toContain("hunter2");
    await expect(findTokenSource({ SALLYPORT_TOKEN_FILE: join(directory, "none") }).fetch(AUDIENCE)).rejects.toThrow(/ENOENT/);
  });
});

it("without any source, all that was looked for is named", () => {
  expect(() => findTokenSource({})).toThrow(TokenUnavailable);
  for (const name of ["SALLYPORT_TOKEN", "SALLYPORT_TOKEN_FILE", "GitHub", "BUILDKITE", "CIRCLECI", "Kubernetes", "GitLab"]) {
    expect(() => findTokenSource({})).toThrow(new RegExp(name));
  }
});
