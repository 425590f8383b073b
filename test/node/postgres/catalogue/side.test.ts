/** The agent's own conversation with a target: at every split of the answer, and with a target that breaks the protocol. */
import { Duplex } from "node:stream";
import { describe, expect, it } from "vitest";
import { AnswerReader, SideConnection, writeQuestion, type Answer } from "../../../../tunnel-agent/protocols/postgres/catalogue/side.ts";
import { B } from "../../../../tunnel-agent/protocols/postgres/codec/types.ts";
import { single } from "../../../../tunnel-agent/protocols/postgres/codec/writer.ts";
import { decodeFrontend } from "../../../../tunnel-agent/protocols/postgres/codec/frontend.ts";

const message = (type: number, body: Buffer = Buffer.alloc(0)): Buffer => single((writer) => writer.begin(type).bytes(body).end());

function row(...values: (string | null)[]): Buffer {
  const parts: Buffer[] = [Buffer.from([0, values.length])];
  for (const value of values) {
    const length = Buffer.alloc(4);
    length.writeInt32BE(value === null ? -1 : Buffer.byteLength(value));
    parts.push(length, Buffer.from(value ?? ""));
  }
  return message(B.DataRow, Buffer.concat(parts));
}

const READY = message(B.ReadyForQuery, Buffer.from("I"));
const ERROR = message(B.ErrorResponse, Buffer.from("SERROR\0C55P03\0Mlocked\0\0"));
const COMPLETE = message(B.CommandComplete, Buffer.from("SELECT 2\0"));
const ANSWER = Buffer.concat([message(B.ParseComplete), message(B.BindComplete), row("é", null), row("", "x"), COMPLETE, READY]);

function read(chunks: readonly Buffer[]): { answers: Answer[]; broken: string[] } {
  const answers: Answer[] = [];
  const broken: string[] = [];
  const reader = new AnswerReader(
    (answer) => answers.push(answer),
    (why) => broken.push(why),
  );
  for (const chunk of chunks) reader.push(chunk);
  return { answers, broken };
}

describe("AnswerReader", () => {
  it("reads an answer at every split point", () => {
    for (let at = 0; at <= ANSWER.length; at++) {
      const { answers, broken } = read([ANSWER.subarray(0, at), ANSWER.subarray(at)]);
      expect(broken).toEqual([]);
      expect(answers).toEqual([
        {
          ok: true,
          value: [
            ["é", null],
            ["", "x"],
          ],
        },
      ]);
    }
  });

  it("tells an error once the conversation is ready again, and forgets its rows", () => {
    const { answers } = read([row("half"), ERROR, READY, row("next", null), READY]);
    expect(answers).toEqual([
      { ok: false, error: "55P03 locked" },
      { ok: true, value: [["next", null]] },
    ]);
  });

  it.each([
    ["a row whose lengths do not add up", message(B.DataRow, Buffer.from([0, 1, 0, 0, 0, 9, 65]))],
    ["a row with a length of -2", message(B.DataRow, Buffer.from([0, 1, 255, 255, 255, 254]))],
    ["bytes after a row's last column", message(B.DataRow, Buffer.from([0, 0, 1]))],
    ["copy data", message(B.CopyOutResponse, Buffer.from([0, 0, 0]))],
    ["another authentication", message(B.Authentication, Buffer.from([0, 0, 0, 0]))],
    ["an unknown message", message(0x7f)],
    ["a length below 4", Buffer.from([B.DataRow, 0, 0, 0, 3])],
    ["a message that is too long", Buffer.from([B.DataRow, 0x7f, 0xff, 0xff, 0xff])],
    ["a status that there is not", message(B.ReadyForQuery, Buffer.from("Q"))],
  ])("stops at %s", (_what, bytes) => {
    const { answers, broken } = read([bytes, READY]);
    expect(broken).toHaveLength(1);
    expect(answers).toEqual([]);
  });
});

/** The other end of a side connection, in the test's hands. */
class Server extends Duplex {
  readonly heard: Buffer[] = [];
  override _read(): void {}
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.heard.push(chunk);
    done();
  }
}

describe("SideConnection", () => {
  it("asks one question after the other", async () => {
    const server = new Server();
    const side = new SideConnection(server, Buffer.alloc(0));
    const [first, second] = [side.ask("select $1", ["a"]), side.ask("select 2")];
    await new Promise((resolve) => setImmediate(resolve));
    expect(server.heard).toHaveLength(1);
    server.push(Buffer.concat([row("a"), READY]));
    expect(await first).toEqual({ ok: true, value: [["a"]] });
    await new Promise((resolve) => setImmediate(resolve));
    expect(server.heard).toHaveLength(2);
    server.push(ANSWER);
    expect(await second).toMatchObject({ ok: true });
  });

  it("fails what waits and what comes later when the target hangs up", async () => {
    const server = new Server();
    const side = new SideConnection(server, Buffer.alloc(0));
    const waiting = side.ask("select 1");
    await new Promise((resolve) => setImmediate(resolve));
    server.destroy();
    expect(await waiting).toEqual({ ok: false, error: "the target closed the connection" });
    expect(await side.ask("select 1")).toMatchObject({ ok: false });
    expect(side.usable).toBe(false);
  });
});

it("sends text as a statement and values as parameters only", () => {
  const bytes = writeQuestion("select $1", ["'; drop table x; --", null]);
  const types: unknown[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = bytes.readInt32BE(at + 1);
    const decoded = decodeFrontend(bytes.readUInt8(at), bytes.subarray(at + 5, at + 1 + length));
    types.push(decoded.ok ? decoded.value : decoded.error);
    at += 1 + length;
  }
  expect(types).toMatchObject([
    { type: "Parse", sql: "select $1" },
    { type: "Bind", parameters: [Buffer.from("'; drop table x; --"), null] },
    { type: "Describe" },
    { type: "Execute" },
    { type: "Sync" },
  ]);
});
