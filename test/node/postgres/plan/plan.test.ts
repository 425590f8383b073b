/** Plans as the agent answers them: each statement decided, none run, and what a plan cannot hold refused with the reason. */
import { pino } from "pino";
import { beforeAll, describe, expect, test } from "vitest";
import type { Decision } from "../../../../policy/types.ts";
import { MAX_PLAN_STATEMENTS } from "../../../../protocol/limits.ts";
import { PlanAnswer } from "../../../../protocol/plan.ts";
import { plan } from "../../../../tunnel-agent/protocols/postgres/ask/plan.ts";
import { loadSqlParser } from "../../../../tunnel-agent/protocols/postgres/sql/analyse.ts";
import { statementDigest } from "../../../../tunnel-agent/protocols/postgres/statement-digest.ts";
import type { AnalyseSql } from "../../../../tunnel-agent/protocols/postgres/sql/types.ts";
import { AskRefused, type AskContext } from "../../../../tunnel-agent/session.ts";

let analyse: AnalyseSql;
beforeAll(async () => {
  analyse = await loadSqlParser();
});

/** Reads and writes are allowed, ALTER is held by dba, DROP is denied. */
function decideAll(needs: Parameters<AskContext["decideAll"]>[0]): Decision {
  const actions = needs.map(({ action }) => action);
  if (actions.includes("pg:drop")) return { outcome: "deny", policies: ["never-drop"], approvals: [], reason: "nothing is dropped here" };
  if (actions.includes("pg:alter")) {
    const hold = { inTransaction: false, ttl: 900_000 };
    return { outcome: "hold", policies: ["ask-dba"], approvals: [{ group: "dba", min: 1 }], hold, reason: "changes are looked at" };
  }
  return { outcome: "allow", policies: ["all"], approvals: [], reason: "permitted" };
}

const context: AskContext = {
  decideAll,
  masking: () => ({ classes: [] }),
  maskText: (text) => text.replaceAll("ann@example.com", "***"),
  policyVersion: 4,
  log: pino({ level: "silent" }),
  signal: new AbortController().signal,
};
const settings = { target: "orders-db", database: "shop", user: "app", searchPath: ["public"] };
function make(text: string): PlanAnswer {
  const answer = plan(text, analyse, settings, context);
  expect(PlanAnswer.parse(answer)).toEqual(answer);
  return answer;
}
const refused = (text: string): string => {
  try {
    plan(text, analyse, settings, context);
  } catch (error) {
    if (error instanceof AskRefused) return `${error.code}: ${error.message}`;
    throw error;
  }
  return "planned";
};

const FILE = `-- a migration
BEGIN;
ALTER TABLE orders ADD COLUMN note text;

UPDATE orders SET note = 'für ann@example.com; ja' WHERE id = 1; /* é */ DROP TABLE audit;
COMMIT;
`;

describe("a file", () => {
  test("is decided statement by statement, with place, digest, decision and who must consent", () => {
    const { statements, environment, bundle } = make(FILE);
    expect(statements.map(({ line, decision, policies }) => [line, decision, policies])).toEqual([
      [2, "allow", ["all"]],
      [3, "hold", ["ask-dba"]],
      [5, "allow", ["all"]],
      [5, "deny", ["never-drop"]],
      [6, "allow", ["all"]],
    ]);
    const texts = statements.map(({ start, end }) => FILE.slice(start, end));
    expect(texts[1]).toBe("ALTER TABLE orders ADD COLUMN note text");
    expect(texts[2]).toBe("UPDATE orders SET note = 'für ann@example.com; ja' WHERE id = 1");
    expect(texts[3]).toBe("DROP TABLE audit");
    expect(statements.map(({ digest }) => digest)).toEqual(texts.map(statementDigest));
    expect(statements[1]).toMatchObject({
      needs: [{ group: "dba", min: 1 }],
      ttl: 900_000,
      effects: [{ action: "pg:alter", resource: "orders-db/public.orders" }],
    });
    expect(statements[3]?.reason).toContain("nothing is dropped here");
    expect(environment).toEqual({ database: "shop", role: "app", search_path: "public" });
    expect(bundle).toBe(4);
  });

  test("lists texts without what detectors find and without passwords", () => {
    const { statements } = make(`${FILE} CREATE ROLE x PASSWORD 'hunter2';`);
    expect(statements[2]?.text).toContain("***");
    expect(JSON.stringify(statements)).not.toContain("hunter2");
  });

  test("an unqualified name after SET search_path is decided for the new schemas too", () => {
    const { statements } = make("SET search_path = audit; SELECT * FROM log");
    expect(statements[1]?.effects.map(({ resource }) => resource)).toEqual(["orders-db/public.log", "orders-db/audit.log"]);
  });
});

describe("what a plan cannot hold", () => {
  test.each([
    ["rows that come later", "COPY orders FROM STDIN", "rows that are not in the plan"],
    ["what a name stands for", "PREPARE x AS DELETE FROM orders; EXECUTE x", "what a name stands for"],
    ["a cursor's rows", "FETCH ALL FROM c", "what a name stands for"],
    ["parameters", "DELETE FROM orders WHERE id = $1", "parameters"],
  ])("%s is denied, and says why", (_, text, why) => {
    const last = make(text).statements.at(-1);
    expect(last).toMatchObject({ decision: "deny", reason: expect.stringContaining(why) });
  });

  test("a parameter of a function's body is none of the statement's", () => {
    expect(make("CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'select $1'").statements[0]?.decision).toBe("allow");
    expect(make("SELECT 'costs $1'").statements[0]?.decision).toBe("allow");
  });

  test.each([
    ["\\set x 1\nselect 1;", "Line 1"],
    ["select 1;\n\nselect 2 \\gexec", "Line 3"],
    ["copy t from stdin;\n1\n\\.\n", "Line 3"],
  ])("a command of psql is refused by its line: %j", (text, line) => {
    expect(refused(text)).toContain(line);
  });

  test("a backslash in a string, a name or a comment is none", () => {
    expect(make("select E'\\\\n', '\\x', $$\\d$$ as \"\\a\" -- \\q").statements).toHaveLength(1);
  });

  test("text that does not parse says where; nothing and too much are refused", () => {
    expect(refused("select 1;\nselect from where")).toMatch(/^bad_request: .*line 2/);
    expect(refused("-- nothing")).toContain("no statement");
    expect(refused("select 1;".repeat(MAX_PLAN_STATEMENTS + 1))).toMatch(/^too_large/);
  });
});

describe("the digest", () => {
  test.each([
    ["SELECT 1", "SELECT   1 ;"],
    ["SELECT 1 + 2", "/* a */ SELECT -- b\n1\n+ 2"],
    ["SELECT '-- no comment'", "SELECT '-- no comment' -- comment"],
  ])("is the same for %j and %j", (a, b) => {
    expect(statementDigest(a)).toBe(statementDigest(b));
  });

  test.each([
    ["DELETE FROM t WHERE id = 1", "DELETE FROM t WHERE id = 11"],
    ["SELECT 'a b'", "SELECT 'a  b'"],
    ["SELECT 'a'", 'SELECT "a"'],
    ["SELECT * FROM t", "SELECT * FROM T"],
    ["SELECT a b", "SELECT ab"],
    ["SELECT 1 - -1", "SELECT 1 --1\n"],
    ["SELECT $$a$$", "SELECT $a$a$a$"],
    ["SELECT 'x' 'y'", "SELECT 'x''y'"],
    ["SELECT U&'\\0041'", "SELECT U & '\\0041'"],
  ])("tells %j from %j", (a, b) => {
    expect(statementDigest(a)).not.toBe(statementDigest(b));
  });
});
