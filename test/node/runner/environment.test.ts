/** What a command finds in its environment, and how later steps of a job get it. */
import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { asJson, githubEnvironment, githubMasks, shellExports } from "../../../runner/background/announce.ts";
import { checkNames, childEnvironment, environmentOf, REMOVED, variableName } from "../../../runner/tunnel/environment.ts";
import type { TargetAddress } from "../../../runner/tunnel/target.ts";

const orders: TargetAddress = {
  target: "orders-db",
  protocol: "postgres",
  session: "ses_1",
  host: "127.0.0.1",
  port: 40_001,
  user: "ci",
  password: "p-_1",
  database: "shop",
};
const stock: TargetAddress = { ...orders, target: "stock.db", session: "ses_2", port: 40_002, password: "other", database: "a b/c" };
const raw: TargetAddress = { ...orders, target: "queue", protocol: "tunnel", session: "ses_3", port: 40_003, database: undefined };

describe("the variables", () => {
  it("are libpq's for the first PostgreSQL target, and the target's own for each", () => {
    expect(environmentOf([raw, orders, stock])).toEqual({
      PGHOST: "127.0.0.1",
      PGPORT: "40001",
      PGUSER: "ci",
      PGPASSWORD: "p-_1",
      PGDATABASE: "shop",
      PGSSLMODE: "disable",
      DATABASE_URL: "postgresql://ci:p-_1@127.0.0.1:40001/shop?sslmode=disable",
      SALLYPORT_ORDERS_DB_HOST: "127.0.0.1",
      SALLYPORT_ORDERS_DB_PORT: "40001",
      SALLYPORT_ORDERS_DB_USER: "ci",
      SALLYPORT_ORDERS_DB_PASSWORD: "p-_1",
      SALLYPORT_ORDERS_DB_DATABASE: "shop",
      SALLYPORT_ORDERS_DB_URL: "postgresql://ci:p-_1@127.0.0.1:40001/shop?sslmode=disable",
      SALLYPORT_ORDERS_DB_SESSION: "ses_1",
      SALLYPORT_STOCK_DB_HOST: "127.0.0.1",
      SALLYPORT_STOCK_DB_PORT: "40002",
      SALLYPORT_STOCK_DB_USER: "ci",
      SALLYPORT_STOCK_DB_PASSWORD: "other",
      SALLYPORT_STOCK_DB_DATABASE: "a b/c",
      SALLYPORT_STOCK_DB_URL: "postgresql://ci:other@127.0.0.1:40002/a%20b%2Fc?sslmode=disable",
      SALLYPORT_STOCK_DB_SESSION: "ses_2",
      SALLYPORT_QUEUE_HOST: "127.0.0.1",
      SALLYPORT_QUEUE_PORT: "40003",
      SALLYPORT_QUEUE_USER: "ci",
      SALLYPORT_QUEUE_PASSWORD: "p-_1",
      SALLYPORT_QUEUE_URL: "tcp://127.0.0.1:40003",
      SALLYPORT_QUEUE_SESSION: "ses_3",
    });
  });

  it("replace what would lead libpq elsewhere", () => {
    const inherited = {
      PATH: "/bin",
      PGDATABASE: "prod",
      PGSSLMODE: "verify-full",
      ...Object.fromEntries(REMOVED.map((name) => [name, "x"])),
    };
    const { database: _, ...unnamed } = orders;
    const env = childEnvironment(inherited, environmentOf([{ ...unnamed, database: undefined }]));
    for (const name of [...REMOVED, "PGDATABASE"]) expect(env[name], name).toBeUndefined();
    expect(env).toMatchObject({ PATH: "/bin", PGSSLMODE: "disable", PGHOST: "127.0.0.1" });
    // Without a PostgreSQL target, the job's own settings stay.
    expect(childEnvironment(inherited, environmentOf([raw]))).toMatchObject({ PGDATABASE: "prod", PGHOSTADDR: "x" });
  });

  it("must not collide", () => {
    expect(variableName("orders-db.v2")).toBe("ORDERS_DB_V2");
    expect(checkNames(["orders-db", "stock-db"])).toEqual({ ok: true, value: undefined });
    expect(checkNames(["orders-db", "orders.db"])).toMatchObject({
      ok: false,
      error: expect.stringContaining("SALLYPORT_ORDERS_DB_") as string,
    });
    expect(checkNames(["orders-db", "orders-db"])).toEqual({ ok: false, error: "orders-db is named twice" });
  });
});

describe("handing them on", () => {
  const hostile = { A: "plain", B: 'it\'s "$HOME" `id` $(id) \\', C: "" };

  it("to a shell, which takes every value literally", () => {
    const printed = execFileSync("sh", ["-c", `${shellExports(hostile)}printf '%s\\n' "$A" "$B" "$C"`], { encoding: "utf8" });
    expect(printed).toBe(`${hostile.A}\n${hostile.B}\n\n`);
  });

  it("to GitHub, in a form whose delimiter no value can know", () => {
    expect(githubEnvironment({ A: "x", B: "y=z" }, "sallyport_0")).toBe(
      "A<<sallyport_0\nx\nsallyport_0\nB<<sallyport_0\ny=z\nsallyport_0\n",
    );
  });

  it("with every run's password masked, before", () => {
    expect(githubMasks([orders, stock])).toBe("::add-mask::p-_1\n::add-mask::other\n");
  });

  it("to programs", () => {
    expect(JSON.parse(asJson([orders]))).toEqual({ targets: [orders], env: environmentOf([orders]) });
  });
});
