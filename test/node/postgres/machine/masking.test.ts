/** A target that lies or surprises where results are masked, and a catalogue that comes late or not at all: sans-IO. */
import { describe, expect, test } from "vitest";
import type { MaskingRules } from "../../../../policy/types.ts";
import { createCatalogue } from "../../../../tunnel-agent/protocols/postgres/catalogue/create.ts";
import { EMPTY_CATALOGUE } from "../../../../tunnel-agent/protocols/postgres/catalogue/raw.ts";
import type { Catalogue, Relation } from "../../../../tunnel-agent/protocols/postgres/catalogue/types.ts";
import { message, serialize } from "../raw-client.ts";
import { masked, rulesOf } from "../masking/rules.ts";
import { errorOf, letters, messagesOf, Rig, say } from "./rig.ts";

const { query, parse, bind, execute, sync, describe: describeMessage } = serialize;

const RULES = rulesOf('classes:\n  email: { columns: ["orders-db/public.users.email"], mask: redact }\n');
const USERS = 50_001;
const ORDERS = 50_002;

function table(oid: number, name: string, ...columns: string[]): Relation {
  const attributes = new Map(
    columns.map((column, i) => [i + 1, { attnum: i + 1, name: column, typeOid: 25, readable: true, generated: false }]),
  );
  return { oid, schema: "public", name, kind: "r", attributes, rowSecurity: false };
}

const catalogueOf = (rules: MaskingRules): Catalogue =>
  createCatalogue({
    version: 1,
    raw: { ...EMPTY_CATALOGUE, relations: [table(USERS, "users", "id", "email"), table(ORDERS, "orders", "id", "note")] },
    rules,
    definitions: new Map(),
    remembered: new Map(),
  });

/** RowDescription of text columns with these origins. */
function described(...origins: readonly (readonly [oid: number, attnum: number])[]): Buffer {
  const fields = origins.map(([oid, attnum]) => {
    const field = Buffer.alloc(18);
    field.writeUInt32BE(oid, 0);
    field.writeInt16BE(attnum, 4);
    field.writeUInt32BE(25, 6);
    field.writeInt16BE(-1, 10);
    field.writeInt32BE(-1, 12);
    return Buffer.concat([Buffer.from("c\0"), field]);
  });
  return message("T", Buffer.from([0, fields.length]), ...fields);
}

function rig(): Rig & { changes: number; catalogue: Catalogue | undefined } {
  const state: { catalogue: Catalogue | undefined; changes: number } = { catalogue: catalogueOf(RULES), changes: 0 };
  const made = new Rig({
    rule: masked,
    rules: RULES,
    masking: {
      source: {
        current: () => state.catalogue,
        changed: () => {
          state.changes += 1;
        },
      },
      unprovable: () => "refuse",
    },
  });
  return Object.defineProperties(made, {
    changes: { get: () => state.changes },
    catalogue: {
      get: () => state.catalogue,
      set: (next: Catalogue | undefined) => {
        state.catalogue = next;
      },
    },
  }) as Rig & { changes: number; catalogue: Catalogue | undefined };
}

const loads = (machine: Rig): number => machine.events.filter(({ type }) => type === "load-catalogue").length;

describe("PG-17 what the target says of a result is held against what was proven", () => {
  const email = "select id, email from users";
  test("as foreseen: it passes, masked", () => {
    const machine = rig()
      .client(query(email))
      .backend(described([USERS, 1], [USERS, 2]), say.row("1", "a@b.example"), say.complete("SELECT 1"));
    const bytes = machine.backend(say.ready()).toClient();
    expect(letters(bytes)).toBe("TDCZ");
    expect(bytes.toString()).toContain("[email]");
    expect(bytes.toString()).not.toContain("a@b.example");
    expect(machine.recorder.outcomes).toMatchObject([{ masked: { email: 1 } }]);
  });

  test.each([
    ["a classified column where none was foreseen", "select note from orders", [[USERS, 2]]],
    [
      "the classified column elsewhere than foreseen",
      email,
      [
        [USERS, 2],
        [USERS, 1],
      ],
    ],
    [
      "another relation",
      email,
      [
        [ORDERS, 1],
        [ORDERS, 2],
      ],
    ],
    ["a relation that nobody knows", "select note from orders", [[77_777, 1]]],
    [
      "one column more",
      email,
      [
        [USERS, 1],
        [USERS, 2],
        [USERS, 2],
      ],
    ],
    [
      "an expression where a column was foreseen",
      email,
      [
        [USERS, 1],
        [0, 0],
      ],
    ],
    ["the whole row", "select note from orders", [[USERS, 0]]],
  ] as const)("%s: 42501, the end, and the catalogue counts as changed", (_, sql, origins) => {
    const machine = rig();
    machine
      .client(query(sql))
      .backend(described(...origins), say.row(...origins.map(() => "a@b.example")), say.complete("SELECT 1"), say.ready());
    const bytes = machine.toClient();
    expect(letters(bytes)).toBe("E");
    expect(errorOf(bytes)).toMatchObject({ S: "FATAL", C: "42501" });
    expect(machine.end).toMatchObject({ abandon: true });
    expect(machine.changes).toBe(1);
  });

  test("in the extended protocol likewise, at the first row", () => {
    const machine = rig().client(parse({ text: email }), bind({}), execute({}), sync());
    expect(letters(machine.toTarget())).toBe("PBDES");
    machine.backend(say.parsed, say.bound, described([ORDERS, 1], [USERS, 2]), say.row("1", "a@b.example"));
    const bytes = machine.toClient();
    expect(letters(bytes)).toBe("12E");
    expect(bytes.toString()).not.toContain("a@b.example");
    expect(errorOf(bytes)).toMatchObject({ C: "42501" });
  });
});

describe("PG-18 layouts", () => {
  test("PG-18 rows of an unknown layout: 58000 and the end", () => {
    const machine = rig().client(parse({ text: "select email from users" }), bind({}), execute({}), sync());
    // NoData, and yet a row.
    machine.backend(say.parsed, say.bound, say.noData, say.row("a@b.example"));
    const bytes = machine.toClient();
    expect(bytes.toString()).not.toContain("a@b.example");
    expect(errorOf(bytes)).toMatchObject({ S: "FATAL" });
    const early = rig().client(parse({ text: "select email from users" }), bind({}), execute({}), sync());
    early.backend(say.parsed, say.bound, say.row("a@b.example"));
    expect(errorOf(early.toClient())).toMatchObject({ C: "08P01" });
  });

  test("our Describe is answered to nobody; the client's own is", () => {
    const machine = rig().client(parse({ text: "select email from users" }), bind({}), describeMessage({ type: "P" }), execute({}), sync());
    expect(letters(machine.toTarget())).toBe("PBDDES");
    machine.backend(
      say.parsed,
      say.bound,
      described([USERS, 2]),
      described([USERS, 2]),
      say.row("a@b.example"),
      say.complete("SELECT 1"),
      say.ready(),
    );
    expect(letters(machine.toClient())).toBe("12TDCZ");
  });

  test("our Describe that is skipped after an error is sent again with the next Execute", () => {
    const machine = rig().client(query("begin; declare c cursor with hold for select email from users; commit"));
    machine.backend(say.complete("BEGIN"), say.complete("DECLARE CURSOR"), say.complete("COMMIT"), say.ready());
    machine.toTarget();
    machine.client(parse({ text: "select 1" }), execute({ portal: "c", rows: 1 }), sync());
    expect(letters(machine.toTarget())).toBe("PDES");
    machine.backend(say.error("42601"), say.ready());
    machine.toClient();
    machine.client(execute({ portal: "c", rows: 1 }), sync());
    expect(letters(machine.toTarget())).toBe("DES");
    machine.backend(described([USERS, 2]), say.row("a@b.example"), say.suspended, say.ready());
    const bytes = machine.toClient();
    expect(letters(bytes)).toBe("DsZ");
    expect(bytes.toString()).not.toContain("a@b.example");
  });

  test("a malformed row under a mask ends it; a row in many pieces is masked", () => {
    const bad = rig()
      .client(query("select email from users"))
      .backend(described([USERS, 2]), message("D", Buffer.from([0, 1, 0, 0, 0, 9, 65])));
    expect(errorOf(bad.toClient())).toMatchObject({ C: "08P01" });
    const machine = rig().client(query("select email from users"));
    const bytes = Buffer.concat([
      described([USERS, 2]),
      say.row("a@b.example"),
      say.row("c@d.example"),
      say.complete("SELECT 2"),
      say.ready(),
    ]);
    for (const byte of bytes) machine.backend(Buffer.from([byte]));
    expect(messagesOf(machine.toClient()).map(({ type, body }) => type + (type === "D" ? body.toString("latin1", 6) : ""))).toEqual([
      "T",
      "D[email]",
      "D[email]",
      "C",
      "Z",
    ]);
  });
});

describe("the catalogue", () => {
  test("none yet: the statement waits for it, what follows waits behind it, and both run in order", () => {
    const machine = rig();
    machine.catalogue = undefined;
    machine.client(query("select id from users"), query("select 2"));
    expect(loads(machine)).toBe(1);
    expect(machine.toTarget()).toHaveLength(0);
    expect(machine.recorder.commands).toEqual([]);
    machine.catalogue = catalogueOf(RULES);
    machine.do((made) => made.catalogueLoaded());
    expect(letters(machine.toTarget())).toBe("Q");
    machine.backend(described([USERS, 1]), say.complete("SELECT 0"), say.ready());
    expect(letters(machine.toTarget())).toBe("Q");
  });

  test("it cannot be loaded: 58000, nothing runs, and the session goes on", () => {
    const machine = rig();
    machine.catalogue = undefined;
    machine.client(query("select 1"));
    machine.do((made) => made.catalogueLoaded());
    const bytes = machine.toClient();
    expect(letters(bytes)).toBe("EZ");
    expect(errorOf(bytes)).toMatchObject({ C: "58000" });
    expect(machine.toTarget()).toHaveLength(0);
    expect(machine.recorder.commands).toMatchObject([{ decision: "deny" }]);
  });

  test("a name that it lacks: loaded once more, then refused", () => {
    const machine = rig().client(query("select * from newcomer"));
    expect(loads(machine)).toBe(1);
    machine.do((made) => made.catalogueLoaded());
    expect(errorOf(machine.toClient())).toMatchObject({ C: "42P01" });
    expect(machine.toTarget()).toHaveLength(0);
  });

  test("a Bind that waits keeps its parameters, whatever becomes of the bytes it came in", () => {
    const machine = rig();
    machine.client(parse({ text: "select id from users where id::text = $1" }), sync());
    machine.backend(say.parsed, say.ready());
    machine.toTarget();
    machine.catalogue = undefined;
    const bytes = Buffer.concat([bind({ values: ["seven"] }), execute({}), sync()]);
    machine.client(bytes);
    bytes.fill(0);
    machine.catalogue = catalogueOf(RULES);
    machine.do((made) => made.catalogueLoaded());
    const sent = machine.toTarget();
    expect(letters(sent).slice(0, 2)).toBe("BD");
    expect(sent.toString()).toContain("seven");
  });

  test("the client leaves while it is loaded: nothing runs", () => {
    const machine = rig();
    machine.catalogue = undefined;
    machine.client(query("delete from orders"));
    machine.do((made) => made.clientClosed());
    machine.do((made) => made.catalogueLoaded());
    expect(letters(machine.toTarget())).toBe("X");
  });

  test("definitions count as changed once their transaction has ended, not before", () => {
    const machine = rig().client(query("begin; create table fresh (n int)"));
    machine.backend(say.complete("BEGIN"), say.complete("CREATE TABLE"), say.ready("T"));
    expect(machine.changes).toBe(0);
    machine.client(query("commit")).backend(say.complete("COMMIT"), say.ready());
    expect(machine.changes).toBe(1);
    machine.client(query("select 1")).backend(say.columns("n"), say.row("1"), say.complete("SELECT 1"), say.ready());
    expect(machine.changes).toBe(1);
  });
});
