/** Frontend messages: exact decoding, re-encoding byte for byte, with pg-protocol's serialiser as the oracle. */
import * as fc from "fast-check";
import { serialize } from "pg-protocol";
import { describe, expect, test } from "vitest";
import {
  decodeFrontend,
  decodeSaslInitial,
  writeBare,
  writeBind,
  writeClose,
  writeCopyFail,
  writeDescribe,
  writeExecute,
  writeParse,
  writePassword,
  writeQuery,
  writeSaslInitial,
  type FrontendMessage,
} from "../../../../tunnel-agent/protocols/postgres/codec/frontend.ts";
import { single, type MessageWriter } from "../../../../tunnel-agent/protocols/postgres/codec/writer.ts";

function encode(writer: MessageWriter, message: FrontendMessage): void {
  switch (message.type) {
    case "Query":
      return writeQuery(writer, message.sql);
    case "Parse":
      return writeParse(writer, message);
    case "Bind":
      return writeBind(writer, message);
    case "Describe":
      return writeDescribe(writer, message.space, message.name);
    case "Close":
      return writeClose(writer, message.space, message.name);
    case "Execute":
      return writeExecute(writer, message.portal, message.maxRows);
    case "CopyFail":
      return writeCopyFail(writer, message.message);
    case "Password":
      return writePassword(writer, message.body);
    case "Sync":
    case "Flush":
    case "Terminate":
    case "CopyDone":
      return writeBare(writer, message.type);
  }
}

const decode = (bytes: Buffer) => decodeFrontend(bytes.readUInt8(0), bytes.subarray(5));

const VECTORS: Record<string, Buffer> = {
  query: serialize.query("select 'é', $$x$$"),
  "an empty query": serialize.query(""),
  parse: serialize.parse({ name: "s1", text: "select $1::int, $2", types: [23, 25] }),
  "parse, unnamed": serialize.parse({ text: "select 1" }),
  bind: serialize.bind({ portal: "p", statement: "s1", values: ["1", null, "é"], binary: true }),
  "bind with binary parameters": serialize.bind({ values: [Buffer.from([0, 255, 0]), "text"] }),
  "describe a statement": serialize.describe({ type: "S", name: "s1" }),
  "describe a portal": serialize.describe({ type: "P" }),
  "close a statement": serialize.close({ type: "S", name: "s1" }),
  execute: serialize.execute({ portal: "p", rows: 100 }),
  sync: serialize.sync(),
  flush: serialize.flush(),
  terminate: serialize.end(),
  "copy done": serialize.copyDone(),
  "copy fail": serialize.copyFail("no more"),
  password: serialize.password("secret"),
};

describe("pg-protocol's messages", () => {
  test.each(Object.entries(VECTORS))("%s decodes, and encodes to the same bytes", (_name, bytes) => {
    const decoded = decode(bytes);
    expect(decoded).toMatchObject({ ok: true });
    if (decoded.ok) expect(single((writer) => encode(writer, decoded.value))).toEqual(bytes);
  });

  test("SASLInitialResponse both ways", () => {
    const bytes = serialize.sendSASLInitialResponseMessage("SCRAM-SHA-256", "n,,n=,r=abc");
    expect(decodeSaslInitial(bytes.subarray(5))).toEqual({
      ok: true,
      value: { mechanism: "SCRAM-SHA-256", data: Buffer.from("n,,n=,r=abc") },
    });
    expect(single((writer) => writeSaslInitial(writer, "SCRAM-SHA-256", Buffer.from("n,,n=,r=abc")))).toEqual(bytes);
  });
});

describe("exact consumption", () => {
  const broken = Object.entries(VECTORS).filter(([name]) => name !== "password");

  test.each(broken)("%s with any number of bytes missing is refused", (_name, bytes) => {
    for (let length = 5; length < bytes.length; length++) expect(decode(bytes.subarray(0, length)).ok).toBe(false);
  });

  test.each(broken)("PG-13 %s with bytes after its end is refused", (_name, bytes) => {
    expect(decode(Buffer.concat([bytes, Buffer.from("\0")])).ok).toBe(false);
    expect(decode(Buffer.concat([bytes, Buffer.from(";drop table t\0")])).ok).toBe(false);
  });

  test("text that is not UTF-8 is refused, and a BOM is kept", () => {
    expect(decodeFrontend(0x51, Buffer.from([0xc3, 0x28, 0])).ok).toBe(false);
    expect(decodeFrontend(0x51, Buffer.from("\uFEFFselect 1\0"))).toEqual({ ok: true, value: { type: "Query", sql: "\uFEFFselect 1" } });
  });

  test("lengths and counts that cannot be are refused", () => {
    const header = "p\0s\0";
    const bind = (...bytes: number[]) => decodeFrontend(0x42, Buffer.concat([Buffer.from(header), Buffer.from(bytes)])).ok;
    expect(bind(0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 0)).toBe(true);
    expect(bind(0, 0, 0, 1, 0xff, 0xff, 0xff, 0xfe, 0, 0)).toBe(false);
    expect(bind(0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff, 0, 0)).toBe(false);
    expect(bind(0, 1, 0, 2, 0, 0, 0, 0)).toBe(false);
    expect(bind(0, 2, 0, 0, 0, 1, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 0)).toBe(false);
  });

  test("a type that does not exist is refused", () => {
    for (const type of [0, 0x16, 0x41, 0x46, 0x5a, 0x64, 0xff]) expect(decodeFrontend(type, Buffer.alloc(0)).ok).toBe(false);
  });
});

const text = fc.string({ unit: "grapheme" }).map((value) => value.replaceAll("\0", ""));
const format = fc.constantFrom(0, 1);
const messages: fc.Arbitrary<FrontendMessage> = fc.oneof(
  fc.record({ type: fc.constant("Query" as const), sql: text }),
  fc.record({ type: fc.constant("Parse" as const), statement: text, sql: text, parameterTypes: fc.array(fc.nat(0xffffffff)) }),
  fc.array(fc.option(fc.uint8Array().map((bytes) => Buffer.from(bytes)))).chain((parameters) =>
    fc.record({
      type: fc.constant("Bind" as const),
      portal: text,
      statement: text,
      parameterFormats: fc.oneof(
        fc.array(format, { maxLength: 1 }),
        fc.array(format, { minLength: parameters.length, maxLength: parameters.length }),
      ),
      parameters: fc.constant(parameters),
      resultFormats: fc.array(format),
    }),
  ),
  fc.record({
    type: fc.constantFrom("Describe" as const, "Close" as const),
    space: fc.constantFrom("S" as const, "P" as const),
    name: text,
  }),
  fc.record({ type: fc.constant("Execute" as const), portal: text, maxRows: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }) }),
);

test("any message encodes and decodes to itself", () => {
  fc.assert(
    fc.property(messages, (message) => {
      const decoded = decode(single((writer) => encode(writer, message)));
      expect(decoded).toEqual({ ok: true, value: message });
    }),
  );
});

test("any bytes decode to a message that encodes to the same bytes, or are refused", () => {
  fc.assert(
    fc.property(fc.constantFrom(...Array.from("QPBDECSHXcfp")), fc.uint8Array({ maxLength: 64 }), (type, bytes) => {
      const decoded = decodeFrontend(type.charCodeAt(0), Buffer.from(bytes));
      if (decoded.ok) expect(single((writer) => encode(writer, decoded.value)).subarray(5)).toEqual(Buffer.from(bytes));
    }),
    { numRuns: 2000 },
  );
});
