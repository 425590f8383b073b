/** psycopg and the JDBC driver, as Debian packages them: a job's whole repertoire prints the same through the gateway as without it. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startBoth, type Both } from "./both.ts";

/** Debian's own, which has Debian's packages, whatever else is on PATH. */
const PYTHON = "/usr/bin/python3";
const JDBC = "/usr/share/java/postgresql.jar";
const required = process.env["SALLYPORT_REQUIRE_ALL"] === "1";
const works = (command: string, ...args: string[]): boolean => spawnSync(command, args, { stdio: "ignore" }).status === 0;
const hasPsycopg = works(PYTHON, "-c", "import psycopg");
const hasJdbc = existsSync(JDBC) && works("javac", "-version");

let both: Both;
beforeAll(async () => {
  both = await startBoth();
}, 60_000);
afterAll(async () => both.stop());

test.skipIf(!hasPsycopg && !required)(
  "psycopg: both formats, prepared, server cursors, COPY, pipelines, errors, notices",
  async () => {
    const { direct, through } = await both.run(PYTHON, [join(import.meta.dirname, "job.py")], { env: { PYTHONUNBUFFERED: "1" } });
    expect(direct).toMatchObject({ code: 0, stderr: "" });
    expect(through).toEqual(direct);
  },
  60_000,
);

test.skipIf(!hasJdbc && !required)(
  "JDBC: three query modes, batches, fetch size, binary, metadata, COPY, timeout",
  async () => {
    const { direct, through } = await both.run("java", ["-cp", JDBC, join(import.meta.dirname, "Job.java")]);
    expect(direct).toMatchObject({ code: 0, stderr: "" });
    expect(through).toEqual(direct);
  },
  120_000,
);
