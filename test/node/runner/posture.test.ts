/** What doctor says of a target's posture, from each answer that the gateway can give. */
import { describe, expect, test } from "vitest";
import { GatewayRefused } from "../../../runner/ask.ts";
import type { Finding } from "../../../runner/doctor/finding.ts";
import { examinePosture } from "../../../runner/doctor/posture.ts";
import type { GatewayClient } from "../../../runner/gateway.ts";
import type { PostureAnswer, PostureFinding } from "../../../protocol/posture.ts";

function gateway(answer: PostureAnswer | GatewayRefused): GatewayClient {
  return {
    origin: "https://gate.test",
    identity: "dba",
    headers: () => Promise.resolve({}),
    request: (_, shape) => (answer instanceof Error ? Promise.reject(answer) : Promise.resolve(shape.parse(answer))),
    open: () => Promise.reject(new Error("not asked")),
  };
}

const full = (level: "A" | "B" | "C", findings: PostureFinding[]): PostureAnswer => ({
  detail: "full",
  target: "orders-db",
  agent: "agt_1",
  posture: { level, why: "Because.", server_version: "15.1", database: "shop", classified: [], findings, bundle: 1 },
});
const finding = (check: string, status: PostureFinding["status"], sql: string[] = []): PostureFinding => ({
  check,
  status,
  login: "app",
  message: `${check} it is`,
  sql,
});
async function examine(answer: PostureAnswer | GatewayRefused): Promise<Finding[]> {
  const findings: Finding[] = [];
  for await (const finding of examinePosture(gateway(answer), "orders-db")) findings.push(finding);
  return findings;
}

describe("posture", () => {
  test("the level, then what was found with its statements, then what was not", async () => {
    const findings = await examine(
      full("B", [
        finding("superuser", "fail", ["ALTER ROLE app NOSUPERUSER;"]),
        finding("temporary", "warn"),
        finding("replication", "ok"),
      ]),
    );
    expect(findings.map(({ check, status }) => [check, status])).toEqual([
      ["posture orders-db", "ok"],
      ["posture orders-db superuser", "fail"],
      ["posture orders-db temporary", "warn"],
      ["posture orders-db", "ok"],
    ]);
    expect(findings[0]?.message).toContain("masking level B");
    expect(findings[1]).toMatchObject({ message: "app: superuser it is", sql: ["ALTER ROLE app NOSUPERUSER;"] });
    expect(findings[3]?.message).toBe("nothing to say of replication");
  });

  test("a check that one login passes and the other does not is not among what was not found", async () => {
    const findings = await examine(full("A", [finding("replication", "ok"), finding("replication", "fail")]));
    expect(findings.map(({ message }) => message).join()).not.toContain("nothing to say");
  });

  test("best effort warns", async () => {
    expect(await examine(full("C", []))).toMatchObject([{ status: "warn", message: expect.stringContaining("never protection") }]);
  });

  test("the level alone, for who may only connect", async () => {
    expect(await examine({ detail: "level", target: "orders-db", level: "A" })).toMatchObject([
      { status: "ok", message: expect.stringContaining("target:inspect") },
    ]);
  });

  test("a refusal is a finding: a target that has no posture is skipped, all else fails", async () => {
    const refused = (code: "bad_request" | "site_offline") => new GatewayRefused({ type: "t", title: "No.", status: 400, code });
    expect(await examine(refused("bad_request"))).toMatchObject([{ status: "skip" }]);
    expect(await examine(refused("site_offline"))).toMatchObject([{ status: "fail", message: expect.stringContaining("site_offline") }]);
  });
});
