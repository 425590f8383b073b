/** Backend messages: decoding of hand-made vectors, encoding held against pg-protocol's parser, rows field by field. */
import { PassThrough } from "node:stream";
import * as fc from "fast-check";
import { parse } from "pg-protocol";
import { describe, expect, test } from "vitest";
import {
  decodeBackend,
  writeAuthenticationOk,
  writeAuthenticationSasl,
  writeAuthenticationSaslData,
  writeBackendKeyData,
  writeFields,
  writeParameterStatus,
  writeReadyForQuery,
} from "../../../../tunnel-agent/protocols/postgres/codec/backend.ts";
import { checkDataRow, DataRowScanner } from "../../../../tunnel-agent/protocols/postgres/codec/data-row.ts";
import { decodeStartup, writeCancelRequest, writeStartup } from "../../../../tunnel-agent/protocols/postgres/codec/startup.ts";
import { single, type MessageWriter } from "../../../../tunnel-agent/protocols/postgres/codec/writer.ts";
import { int32, message, serialize } from "../raw-client.ts";

const decode = (bytes: Buffer) => decodeBackend(bytes.readUInt8(0), bytes.subarray(5));

const field = Buffer.concat([
  Buffer.from("id\0"),
  int32(16_384),
  Buffer.from([0, 1]),
  int32(23),
  Buffer.from([0, 4]),
  int32(-1),
  Buffer.from([0, 0]),
]);

const VECTORS: Record<string, [Buffer, unknown]> = {
  ready: [message("Z", "T"), { type: "ReadyForQuery", status: "T" }],
  "command complete": [message("C", "INSERT 0 5\0"), { type: "CommandComplete", tag: "INSERT 0 5" }],
  error: [
    message("E", "SERROR\0VERROR\0C42P01\0Mno such table\0\0"),
    { type: "ErrorResponse", fields: new Map(Object.entries({ S: "ERROR", V: "ERROR", C: "42P01", M: "no such table" })) },
  ],
  "row description": [
    message("T", Buffer.from([0, 1]), field),
    {
      type: "RowDescription",
      fields: [{ name: "id", tableOid: 16_384, attributeNumber: 1, typeOid: 23, typeLength: 4, typeModifier: -1, format: 0 }],
    },
  ],
  "parameter description": [message("t", Buffer.from([0, 1]), int32(23)), { type: "ParameterDescription", types: [23] }],
  "parameter status": [message("S", "TimeZone\0UTC\0"), { type: "ParameterStatus", name: "TimeZone", value: "UTC" }],
  "copy in": [message("G", Buffer.from([0, 0, 1, 0, 0])), { type: "CopyInResponse", format: 0, columns: [0] }],
  "copy out": [message("H", Buffer.from([1, 0, 0])), { type: "CopyOutResponse", format: 1, columns: [] }],
  notification: [message("A", int32(7), "ch\0hi\0"), { type: "NotificationResponse", pid: 7, channel: "ch", payload: "hi" }],
  "negotiate version": [
    message("v", int32(196_608), int32(1), "_pq_.x\0"),
    { type: "NegotiateProtocolVersion", version: 196_608, unknown: ["_pq_.x"] },
  ],
  "parse complete": [message("1"), { type: "ParseComplete" }],
  "no data": [message("n"), { type: "NoData" }],
  "MD5 request": [message("R", int32(5), "salt"), { type: "Authentication", auth: { method: "md5", salt: Buffer.from("salt") } }],
};

test.each(Object.entries(VECTORS))("%s", (_name, [bytes, value]) => {
  expect(decode(bytes)).toEqual({ ok: true, value });
});

test.each(Object.entries(VECTORS))("PG-57 %s cut short or with bytes left over is refused", (_name, [bytes]) => {
  for (let length = 5; length < bytes.length; length++) expect(decode(bytes.subarray(0, length)).ok).toBe(false);
  expect(decode(Buffer.concat([bytes, Buffer.from("x")])).ok).toBe(false);
});

test("any bytes at all: a message or a refusal, never a throw", () => {
  fc.assert(
    fc.property(fc.nat(255), fc.uint8Array({ maxLength: 80 }), (type, bytes) => {
      expect(typeof decodeBackend(type, Buffer.from(bytes)).ok).toBe("boolean");
    }),
    { numRuns: 5000 },
  );
});

async function oracle(write: (writer: MessageWriter) => void): Promise<unknown[]> {
  const stream = new PassThrough();
  const seen: unknown[] = [];
  const done = parse(stream, (parsed) => seen.push(parsed));
  stream.end(single(write));
  await done;
  return seen;
}

test("what the gateway says is what pg-protocol reads", async () => {
  const seen = await oracle((writer) => {
    writeAuthenticationSasl(writer, ["SCRAM-SHA-256"]);
    writeAuthenticationSaslData(writer, 11, Buffer.from("r=x,s=eA==,i=4096"));
    writeAuthenticationSaslData(writer, 12, Buffer.from("v=eA=="));
    writeAuthenticationOk(writer);
    writeParameterStatus(writer, "server_version", "18.4");
    writeBackendKeyData(writer, 42, int32(99));
    writeReadyForQuery(writer, "I");
    writeFields(writer, "ErrorResponse", [
      ["S", "ERROR"],
      ["C", "42501"],
      ["M", "sallyport: no"],
    ]);
  });
  expect(seen).toMatchObject([
    { name: "authenticationSASL", mechanisms: ["SCRAM-SHA-256"] },
    { name: "authenticationSASLContinue", data: "r=x,s=eA==,i=4096" },
    { name: "authenticationSASLFinal", data: "v=eA==" },
    { name: "authenticationOk" },
    { name: "parameterStatus", parameterName: "server_version", parameterValue: "18.4" },
    { name: "backendKeyData", processID: 42, secretKey: 99 },
    { name: "readyForQuery", status: "I" },
    { name: "error", severity: "ERROR", code: "42501", message: "sallyport: no" },
  ]);
});

describe("startup packets", () => {
  test("are those of pg-protocol", () => {
    const bytes = serialize.startup({ user: "u", database: "d" });
    const decoded = decodeStartup(bytes.subarray(4));
    expect(decoded).toMatchObject({ ok: true, value: { type: "StartupMessage", major: 3, minor: 0 } });
    if (decoded.ok && decoded.value.type === "StartupMessage") {
      expect(
        single((writer) =>
          writeStartup(writer, 196_608, decoded.ok && decoded.value.type === "StartupMessage" ? decoded.value.parameters : []),
        ),
      ).toEqual(bytes);
    }
    expect(decodeStartup(serialize.requestSsl().subarray(4))).toEqual({ ok: true, value: { type: "SSLRequest" } });
    expect(single((writer) => writeCancelRequest(writer, 7, int32(9)))).toEqual(serialize.cancel(7, 9));
  });

  test("any bytes: a packet or a refusal", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        expect(typeof decodeStartup(Buffer.concat([int32(196_608), bytes])).ok).toBe("boolean");
        expect(typeof decodeStartup(Buffer.from(bytes)).ok).toBe("boolean");
      }),
    );
  });
});

describe("rows", () => {
  const row = (cells: readonly (Buffer | null)[]): Buffer =>
    Buffer.concat([
      Buffer.from([cells.length >> 8, cells.length & 255]),
      ...cells.flatMap((cell) => (cell === null ? [int32(-1)] : [int32(cell.length), cell])),
    ]);
  const cells = fc.array(fc.option(fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes))), { maxLength: 20 });

  function scan(body: Buffer, length: number, cut: number): number {
    const scanner = new DataRowScanner();
    scanner.begin(length);
    const fine = scanner.scan(body, 0, Math.min(cut, body.length)) && scanner.scan(body, Math.min(cut, body.length), body.length);
    return fine ? scanner.finish() : -1;
  }

  test("have their columns counted, whole or in parts cut anywhere", () => {
    fc.assert(
      fc.property(cells, (list) => {
        const body = row(list);
        expect(checkDataRow(body, 0, body.length)).toBe(list.length);
        for (let cut = 0; cut <= body.length; cut++) expect(scan(body, body.length, cut)).toBe(list.length);
      }),
      { numRuns: 50 },
    );
  });

  test("PG-57 malformed ones are refused alike by both readers", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 30 }), fc.nat(30), (bytes, cut) => {
        const body = Buffer.from(bytes);
        expect(scan(body, body.length, cut)).toBe(checkDataRow(body, 0, body.length));
      }),
      { numRuns: 3000 },
    );
    const bad = [
      Buffer.concat([Buffer.from([0, 1]), int32(-2)]),
      Buffer.concat([Buffer.from([0, 1]), int32(5), Buffer.from("ab")]),
      Buffer.from([0, 0, 1]),
      Buffer.from([0]),
    ];
    for (const body of bad) expect([checkDataRow(body, 0, body.length), scan(body, body.length, 3)]).toEqual([-1, -1]);
  });
});
