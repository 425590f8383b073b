/** The commands' index: what is cut, what is escaped, how much fits, and that it can be built again. */
import { env } from "cloudflare:workers";
import { assert, asyncProperty, constantFrom, oneof, string } from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import storage from "../../../docs/storage.md?raw";
import { MAX_INDEXED_TEXT } from "../../../protocol/limits.ts";
import type { RecordingEvent } from "../../../protocol/recording/event.ts";
import { indexStatements, listCommands, searchExpression } from "../../../store/commands.ts";
import { insertSession } from "../../../store/sessions.ts";

type CommandEvent = Extract<RecordingEvent, { type: "command" }>;

const SESSION = "ses_commands";
const hash = "0".repeat(64);
const command = (n: number, text: string, more: Partial<CommandEvent> = {}): CommandEvent => ({
  v: 1,
  session: SESSION,
  seq: n,
  at: 1000 + n,
  prev: hash,
  hash,
  type: "command",
  command: n,
  stream: 1,
  via: "simple",
  text,
  digest: hash,
  effects: [{ action: "pg:select", resource: "db/public.t" }],
  decision: "allow",
  policies: [],
  bundle: 1,
  ...more,
});
const index = (commands: CommandEvent[]) => env.DB.batch(indexStatements(env.DB, SESSION, { commands, outcomes: [] }));
const list = async (match?: string) => (await listCommands(env.DB, { session: SESSION, match }, { limit: 200, cursor: null })).rows;

beforeAll(async () => {
  const workload = { provider: "oidc", issuer: "i", subject: "s" } as const;
  const facts = { identity: "ci", target: "db", protocol: "postgres", site: "north", started_at: 1, deadline: 2, bundle: 1, workload };
  await insertSession(env.DB, { id: SESSION, ...facts });
});

describe("indexing", () => {
  it("again changes nothing", async () => {
    const one = [command(1, "select 1")];
    await index(one);
    await index([...one, command(2, "select 2")]);
    expect((await list()).map((row) => row.text)).toEqual(["select 2", "select 1"]);
    const rows = await env.DB.prepare("SELECT COUNT(*) AS n FROM commands_fts WHERE commands_fts MATCH 'select'").first<{ n: number }>();
    expect(rows?.n).toBe(2);
  });

  it("cuts long text, saying so, without halving a character; what is exactly as long stays whole", async () => {
    const emoji = "\u{1f600}";
    await index([command(10, "x".repeat(MAX_INDEXED_TEXT)), command(11, "x".repeat(MAX_INDEXED_TEXT - 1) + emoji + "tail")]);
    const [cut, whole] = await list();
    expect(whole).toMatchObject({ command: 10, truncated: false });
    expect(cut).toMatchObject({ command: 11, truncated: true });
    expect(cut?.text).toHaveLength(MAX_INDEXED_TEXT);
    expect(cut?.text.isWellFormed()).toBe(true);
  });

  it("keeps what follows a NUL, which D1 would drop", async () => {
    await index([command(20, "select 1\0; drop table t")]);
    expect((await list())[0]).toMatchObject({ text: "select 1\u2400; drop table t" });
  });

  it("of a whole segment of large commands stays within D1's limits", async () => {
    await index(Array.from({ length: 100 }, (_, n) => command(100 + n, "select 'é' ".repeat(3000))));
    expect((await list()).filter((row) => row.command >= 100)).toHaveLength(100);
  });
});

describe("searchExpression", () => {
  it("quotes words and leaves punctuation out", () => {
    expect(searchExpression('drop  "table" public.orders*')).toEqual({
      ok: true,
      value: '"drop"* AND "table"* AND "public"* AND "orders"*',
    });
    expect(searchExpression("straße 東京")).toEqual({ ok: true, value: '"straße"* AND "東京"*' });
  });

  it("makes of any text a search that FTS5 takes", async () => {
    const text = oneof(
      string({ unit: "binary", maxLength: 40 }),
      string({
        unit: constantFrom('"', "'", "*", "^", ":", "+", "-", "(", ")", "{", "~", " ", "AND", "OR", "NOT", "NEAR", "e", "\u0301", "\\"),
      }),
    );
    await assert(
      asyncProperty(text, async (query) => {
        const match = searchExpression(query);
        if (match.ok) await listCommands(env.DB, { match: match.value }, { limit: 1, cursor: null });
      }),
      { numRuns: 100 },
    );
  });

  it("refuses what holds no word, too many words, too much", () => {
    for (const text of ["", "*", '"""', "- ^ ( )", "a ".repeat(17), "x".repeat(513)]) expect(searchExpression(text).ok, text).toBe(false);
  });
});

describe("docs/storage.md", () => {
  const [, before = "", , after = ""] = /```sql\n(DROP[^]*?)```([^]*?)```sql\n(CREATE VIRTUAL[^]*?)```/.exec(storage) ?? [];
  /** Statements end with a semicolon at the end of a line; those inside a trigger are indented. */
  const statements = (sql: string): string[] => sql.split(/;\n(?! )(?!END)/).filter((text) => text.trim() !== "");

  it("has the statements that take the search index away for an export and build it again", async () => {
    expect(statements(before)).toHaveLength(3);
    for (const statement of statements(before)) await env.DB.prepare(statement).run();
    await expect(list('"select"*')).rejects.toThrow(/commands_fts/);
    await index([command(300, "select 'made meanwhile'")]);
    for (const statement of statements(after)) await env.DB.prepare(statement).run();
    expect((await list('"meanwhile"*')).map((row) => row.command)).toEqual([300]);
    await index([command(301, "select 'made afterwards'", { effects: [{ action: "pg:insert", resource: "db/public.t" }] })]);
    expect(await list('"afterwards"*')).toHaveLength(1);
    const byAction = async (action: string) =>
      (await listCommands(env.DB, { session: SESSION, action }, { limit: 200, cursor: null })).rows.map((row) => row.command);
    expect(await byAction("pg:insert")).toEqual([301]);
    expect(await byAction("pg:select")).toContain(300);
  });
});
