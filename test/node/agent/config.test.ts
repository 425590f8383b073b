/** agent.yaml: what is refused, where, and what to write instead. */
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { parseAgentConfig, printProblem, type Protocols } from "../../../tunnel-agent/config/load.ts";
import { CredentialReference } from "../../../tunnel-agent/credentials/reference.ts";

const protocols: Protocols = {
  postgres: {
    config: z.strictObject({ address: z.string(), password: CredentialReference.optional() }),
    create: () => {
      throw new Error("not made in this test");
    },
  },
};

const GOOD = `gateway: https://gate.example.com
name: dc1-a
state_dir: ./state
enrolment_token: env:SALLYPORT_ENROLMENT_TOKEN
targets:
  - name: orders-db
    protocol: postgres
    environment: production
    labels: [pci]
    address: db:5432
    password: file:/run/secrets/orders
`;

const problems = (text: string): string[] => {
  const result = parseAgentConfig(text, "/etc/sallyport/agent.yaml", protocols);
  return result.ok ? [] : result.error.map(printProblem);
};

test("a good file, with its defaults and its paths made absolute", () => {
  const result = parseAgentConfig(GOOD, "/etc/sallyport/agent.yaml", protocols);
  expect(result).toMatchObject({
    ok: true,
    value: {
      directory: "/etc/sallyport",
      state_dir: "/etc/sallyport/state",
      health: { listen: "127.0.0.1:9464", allow_remote: false },
      recording: { fsync: false, spool_max: 1024 ** 3 },
      drain_grace_s: 30,
      targets: [{ name: "orders-db", labels: ["pci"], config: { address: "db:5432", password: "file:/run/secrets/orders" } }],
    },
  });
});

test("defaults stand in for keys that the file leaves out, and only for those", () => {
  const rest = GOOD.replace(/^gateway.*\n/, "");
  const given = { gateway: "http://127.0.0.1:8787", name: "other" };
  expect(parseAgentConfig(rest, "agent.yaml", protocols, given)).toMatchObject({
    ok: true,
    value: { gateway: "http://127.0.0.1:8787", name: "dc1-a" },
  });
  expect(problems(rest)).toEqual([expect.stringContaining("gateway: ")]);
});

describe("each problem has its place and what to write instead", () => {
  test.each([
    ["gateway: https://gate.example.com", "gateway: http://gate.example.com", "1:10: gateway: write https://"],
    ["gateway: https://gate.example.com", "gateway: https://gate.example.com/path", "1:10: gateway: write only scheme, host and port"],
    ["gateway: https://gate.example.com", "gateway: https://me:secret@gate.example.com", "1:10: gateway: write the address without a user"],
    ["state_dir:", "statedir:", "3:1: statedir: unknown key: did you mean state_dir?"],
    ["name: orders-db", "name: Orders", "6:11: targets[0].name: write 1–63 of"],
    ["protocol: postgres", "protocol: mysql", "7:15: targets[0].protocol: write a protocol that this agent speaks"],
    ["protocol: postgres", "protocol: ssh", "7:15: targets[0].protocol: this agent does not speak it: write one of postgres"],
    ["address: db:5432", "adress: db:5432", "10:5: targets[0].adress: unknown key: did you mean address?"],
    ["    address: db:5432\n", "", "6:5: targets[0].address: it is missing: add it (string)"],
    ["labels: [pci]", "labels: pci", "9:13: targets[0].labels: write a list"],
  ])("%s → %s", (from, to, expected) => {
    expect(problems(GOOD.replace(from, to))).toEqual(
      expect.arrayContaining([expect.stringContaining(`/etc/sallyport/agent.yaml:${expected}`)]),
    );
  });

  test("health beyond loopback has to be asked for", () => {
    expect(problems(`${GOOD}health: { listen: "0.0.0.0:9464" }\n`)).toEqual([expect.stringContaining("allow_remote: true")]);
    expect(problems(`${GOOD}health: { listen: "0.0.0.0:9464", allow_remote: true }\n`)).toEqual([]);
  });

  test("two targets of one name; several problems at once, in the file's order", () => {
    const text = `${GOOD.replace("gateway: https", "gateway: ftp")}  - { name: orders-db, protocol: postgres, address: x }\n`;
    expect(problems(text)).toEqual([
      expect.stringContaining(":1:10: gateway: write an https:// address"),
      expect.stringContaining(":12:13: targets[1].name: another target has this name"),
    ]);
  });

  test.each([
    ["", "1:1: write a mapping with at least gateway and targets"],
    ["- a\n", "1:1: write a mapping"],
    ["gateway: a\ngateway: b\n", "2:1: this key is given twice"],
    ["gateway:\n\tx: 1\n", "indent with spaces"],
    ['name: "open\n', "a character is missing"],
    ["a: *nothing\n", "an alias (*…) names no anchor"],
  ])("YAML that is none: %j", (text, expected) => {
    expect(problems(text).join("\n")).toContain(expected);
  });
});

describe("invariant 1: a secret that should not be in the file is not repeated", () => {
  const SECRET = "hunter2-XyZZy";
  test.each([
    `password: ${SECRET}`,
    `password: "${SECRET}`,
    `password: *${SECRET}`,
    `password: !${SECRET} x`,
    `password: ${SECRET}: x`,
    `password: [${SECRET}]`,
    `password: { ${SECRET}: 1 }`,
    `password: env:${SECRET}`,
    `password: exec:`,
  ])("%s", (line) => {
    const found = problems(GOOD.replace("password: file:/run/secrets/orders", line));
    expect(found.length).toBeGreaterThan(0);
    expect(found.join("\n")).not.toContain(SECRET);
  });

  test("a raw literal is answered with the three ways to write a reference", () => {
    expect(problems(GOOD.replace("file:/run/secrets/orders", SECRET))).toEqual([
      expect.stringMatching(/11:15: targets\[0\]\.password: .*env:NAME.*file:PATH.*exec:COMMAND/),
    ]);
  });
});
