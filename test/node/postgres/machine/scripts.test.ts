/** The session machine, message by message: what reaches the target, what the client hears, what is recorded. */
import { describe, expect, test } from "vitest";
import { message, serialize } from "../raw-client.ts";
import { errorOf, letters, messagesOf, POISON, Rig, say } from "./rig.ts";

const { parse, bind, execute, sync, flush, query } = serialize;
const pbe = (text: string): Buffer => Buffer.concat([parse({ text }), bind({}), execute({})]);
const denyDrop = { rule: (action: string) => (action === "pg:drop" ? ("deny" as const) : ("allow" as const)) };

describe("what reaches the target", () => {
  test("an allowed Query, re-encoded; a refused one does not", () => {
    const rig = new Rig(denyDrop);
    expect(rig.client(query("select 1")).toTarget()).toEqual(query("select 1"));
    rig.backend(say.columns("a"), say.row("1"), say.complete("SELECT 1"), say.ready());
    expect(letters(rig.toClient())).toBe("TDCZ");
    expect(rig.client(query("drop table t")).toTarget()).toHaveLength(0);
    expect(letters(rig.toClient())).toBe("EZ");
  });

  test("the record is there before the bytes are", () => {
    const rig = new Rig();
    rig.client(query("select 1"));
    expect(rig.recorder.commands).toHaveLength(1);
    const broken = new Rig();
    broken.recorder.unavailable = true;
    broken.client(query("select 1"), parse({ text: "select 1" }), bind({}), sync());
    // Parse runs nothing; Bind may, so in its place stands the message that fails.
    expect(letters(broken.toTarget())).toBe("PDS");
    expect(errorOf(broken.toClient())).toMatchObject({ C: "58030" });
  });

  test("a pipeline goes out in one write, and a refusal in it becomes a message that must fail", () => {
    const rig = new Rig(denyDrop);
    rig.client(pbe("select 1"), pbe("drop table t"), pbe("select 2"), sync());
    expect(rig.events.filter(({ type }) => type === "to-target")).toHaveLength(1);
    const sent = messagesOf(rig.toTarget());
    expect(sent.map(({ type }) => type).join("")).toBe("PBEDS");
    expect(sent[3]?.body.toString()).toBe(`S${POISON}\0`);
  });

  test("a name that is the poison's own is unknown", () => {
    const rig = new Rig();
    rig.client(parse({ name: POISON, text: "select 1" }), sync());
    expect(letters(rig.toTarget())).toBe("DS");
  });

  test("after a Query the next message waits for its answer; it is not lost", () => {
    const rig = new Rig();
    rig.client(query("select 1"), query("select 2"), pbe("select 3"), sync());
    expect(rig.toTarget()).toEqual(query("select 1"));
    rig.backend(say.columns("a"), say.complete("SELECT 0"), say.ready());
    expect(rig.toTarget()).toEqual(query("select 2"));
    rig.backend(say.columns("a"), say.complete("SELECT 0"), say.ready());
    expect(letters(rig.toTarget())).toBe("PBES");
  });

  test("what skipped messages did to the names is undone in order", () => {
    const rig = new Rig();
    rig.client(parse({ name: "a", text: "select 1" }), sync()).backend(say.parsed, say.ready());
    rig.client(
      pbe("select 1/0"),
      serialize.close({ type: "S", name: "a" }),
      parse({ name: "a", text: "select 2" }),
      parse({ name: "b", text: "select 3" }),
      sync(),
    );
    rig.backend(say.parsed, say.error("22012"), say.ready());
    rig.toTarget();
    rig.recorder.clear();
    rig.client(bind({ statement: "a" }), sync());
    expect(rig.recorder.commands.map(({ text }) => text)).toEqual(["select 1"]);
    rig.backend(say.bound, say.ready());
    rig.client(bind({ statement: "b" }), sync());
    expect(letters(rig.toTarget())).toBe("BSDS");
  });

  test("an unnamed statement that failed to parse is gone", () => {
    const rig = new Rig();
    rig.client(parse({ text: "select 1" }), sync()).backend(say.parsed, say.ready());
    rig.client(parse({ text: "select nothing" }), sync()).backend(say.error("42703"), say.ready());
    rig.toTarget();
    rig.client(bind({}), sync());
    expect(letters(rig.toTarget())).toBe("DS");
  });
});

describe("policy is asked at the last moment", () => {
  test("Execute is decided by the policy of its own time, and recorded again", () => {
    const rig = new Rig();
    rig.client(
      parse({ name: "s", text: "select n from t" }),
      bind({ statement: "s", portal: "p" }),
      execute({ portal: "p", rows: 1 }),
      sync(),
    );
    rig.backend(say.parsed, say.bound, say.row("1"), say.suspended, say.ready("T"));
    expect(rig.recorder.commands).toHaveLength(1);
    rig.client(execute({ portal: "p", rows: 1 }), sync()).backend(say.row("2"), say.suspended, say.ready("T"));
    expect(rig.recorder.commands).toHaveLength(2);
    rig.setRule(() => "deny");
    rig.toTarget();
    rig.client(execute({ portal: "p", rows: 1 }), sync());
    expect(letters(rig.toTarget())).toBe("DS");
    expect(rig.recorder.commands.at(-1)).toMatchObject({ decision: "deny", via: "extended" });
  });

  test("a decision is repeated for a second at most", () => {
    let asked = 0;
    const rig = new Rig({
      rule: () => {
        asked += 1;
        return "allow";
      },
    });
    const once = (): void => {
      rig.client(query("select 1")).backend(say.columns("a"), say.complete("SELECT 0"), say.ready());
    };
    once();
    once();
    expect(asked).toBe(1);
    rig.now += 1001;
    once();
    expect(asked).toBe(2);
  });
});

describe("outcomes", () => {
  test("a Bind that nothing executes is recorded as that", () => {
    const rig = new Rig();
    rig.client(parse({ text: "select $1" }), bind({ values: ["x"] }), sync()).backend(say.parsed, say.bound, say.ready());
    expect(rig.recorder.commands).toMatchObject([{ via: "extended", parameters: ["x"], shape: "select $1" }]);
    expect(rig.recorder.outcomes).toMatchObject([{ command: 1, status: "ok", tag: "BIND" }]);
  });

  test("parameters: text masked, NULL kept, binary and long ones by size; equal ones have equal digests", () => {
    const rig = new Rig();
    const run = (values: (string | Buffer | null)[]): void => {
      rig.client(parse({ text: "select $1, $2, $3" }), bind({ values }), execute({}), sync());
      rig.backend(say.parsed, say.bound, say.row("1", "2", "3"), say.complete("SELECT 1"), say.ready());
    };
    run(["a", null, Buffer.from([1, 2])]);
    run(["a", null, Buffer.from([1, 3])]);
    run(["a", null, Buffer.from([1, 2])]);
    run(["x".repeat(5000), "", "y"]);
    const [first, second, third, long] = rig.recorder.commands;
    expect(first?.parameters).toEqual(["a", null, { bytes: 2 }]);
    expect(long?.parameters).toEqual([{ bytes: 5000 }, "", "y"]);
    expect(third?.digest).toBe(first?.digest);
    expect(second?.digest).not.toBe(first?.digest);
  });

  test("an error undoes what its pipeline had done before, and cancels what came after", () => {
    const rig = new Rig();
    rig.client(pbe("insert into t values (1)"), pbe("select 1/0"), pbe("select 2"), sync());
    rig.backend(say.parsed, say.bound, say.complete("INSERT 0 1"), say.parsed, say.error("22012"), say.ready());
    expect(rig.recorder.outcomes.map(({ command, status, code }) => [command, status, code])).toEqual([
      [1, "error", "22012"],
      [2, "error", "22012"],
      [3, "cancelled", "22012"],
    ]);
  });

  test("a constraint that fails at commit fails the command that had completed", () => {
    const rig = new Rig();
    rig.client(pbe("insert into t values (1)"), sync());
    rig.backend(say.parsed, say.bound, say.complete("INSERT 0 1"), say.error("23503"), say.ready());
    expect(letters(rig.toClient())).toBe("12CEZ");
    expect(rig.recorder.outcomes).toMatchObject([{ status: "error", code: "23503", tag: "INSERT 0 1" }]);
  });

  test("inside an explicit transaction what completed, completed", () => {
    const rig = new Rig();
    rig.client(query("begin")).backend(say.complete("BEGIN"), say.ready("T"));
    rig.client(pbe("insert into t values (1)"), pbe("select 1/0"), sync());
    rig.backend(say.parsed, say.bound, say.complete("INSERT 0 1"), say.parsed, say.error("22012"), say.ready("E"));
    expect(rig.recorder.outcomes.map(({ status }) => status)).toEqual(["ok", "ok", "error"]);
  });

  test("what is open when the client goes is unknown, and cancelled at the target", () => {
    const rig = new Rig();
    rig.client(query("select pg_sleep(9)")).do((machine) => machine.clientClosed());
    expect(rig.recorder.outcomes).toMatchObject([{ command: 1, status: "unknown" }]);
    expect(rig.end).toMatchObject({ abandon: true });
  });

  test("Terminate waits for what was asked before; then it is passed on", () => {
    const rig = new Rig();
    rig.client(pbe("select 1"), sync(), serialize.end());
    expect(rig.end).toBeUndefined();
    rig.backend(say.parsed, say.bound, say.row("1"), say.complete("SELECT 1"), say.ready());
    expect(rig.end).toMatchObject({ abandon: false });
    expect(letters(rig.toTarget())).toBe("PBESX");
  });
});

describe("time", () => {
  test("a statement that does not obey the cancel ends the connection", () => {
    const rig = new Rig({ limits: { statement_s: 5 } });
    rig.client(query("select pg_sleep(9)"));
    expect(rig.machine.deadline()).toBe(rig.now + 5000);
    rig.now += 5000;
    rig.do((machine) => machine.expire());
    expect(rig.cancels).toBe(1);
    rig.client(query("select 2")).do((machine) => machine.cancelDone());
    rig.now = rig.machine.deadline() ?? 0;
    rig.do((machine) => machine.expire());
    expect(errorOf(rig.toClient())).toMatchObject({ S: "FATAL", C: "57014" });
  });

  test("while a cancel is on its way nothing else is sent that it could hit", () => {
    const rig = new Rig();
    rig.client(pbe("select 1"), flush()).toTarget();
    rig.do((machine) => machine.cancel()).client(sync(), pbe("select 2"), sync());
    rig.backend(say.parsed, say.bound, say.row("1"), say.complete("SELECT 1"));
    expect(rig.toTarget()).toHaveLength(0);
    rig.do((machine) => machine.cancelDone());
    expect(letters(rig.toTarget())).toBe("SPBES");
  });

  test("an idle connection has no deadline", () => {
    const rig = new Rig();
    expect(rig.machine.deadline()).toBeNull();
    rig.client(query("select 1")).backend(say.columns("a"), say.complete("SELECT 0"), say.ready());
    expect(rig.machine.deadline()).toBeNull();
  });
});

test("a pipeline without end makes the client wait, and goes on", () => {
  const rig = new Rig();
  rig.client(parse({ name: "s", text: "select 1" }), sync()).backend(say.parsed, say.ready());
  rig.toTarget();
  const one = Buffer.concat([bind({ statement: "s" }), execute({})]);
  for (let i = 0; i < 2000; i++) rig.client(one);
  const first = letters(rig.toTarget());
  expect(first).toHaveLength(2049);
  expect(first.endsWith("H")).toBe(true);
  expect(rig.machine.backlog).toBeGreaterThan(0);
  for (let i = 0; i < 1024; i++) rig.backend(say.bound, say.row("1"), say.complete("SELECT 1"));
  expect(letters(rig.toTarget()).replaceAll("H", "")).toHaveLength(4000 - 2048);
  expect(rig.machine.backlog).toBe(0);
});

test("copy data amid a stream of others is passed in order", () => {
  const rig = new Rig();
  rig.client(query("copy t from stdin")).backend(say.copyIn);
  rig.toTarget();
  const data = [message("d", "1\n"), message("d", "2\n"), message("c")];
  expect(rig.client(...data, query("select 1")).toTarget()).toEqual(Buffer.concat(data));
  rig.backend(say.complete("COPY 2"), say.ready());
  expect(rig.toTarget()).toEqual(query("select 1"));
});
