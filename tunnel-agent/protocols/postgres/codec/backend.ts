/**
 * Backend messages: decoding, as the client that a target talks to, and encoding of those that the gateway says
 * itself. Decoding is exact. DataRow and CopyData are not decoded here: rows are checked field by field as they
 * pass (data-row.ts), copy data is opaque.
 *
 * Text of the target is decoded with replacement: a database in SQL_ASCII holds any bytes. Messages that pass
 * unchanged go on as the bytes that came, so nothing is lost by that.
 */
import { err, ok, type Result } from "../../../../protocol/result.ts";
import { BodyReader } from "./reader.ts";
import { B, printType } from "./types.ts";
import type { MessageWriter } from "./writer.ts";

export type TransactionStatus = "I" | "T" | "E";

export interface FieldDescription {
  readonly name: string;
  /** 0 when the column is not a plain column of a table. */
  readonly tableOid: number;
  readonly attributeNumber: number;
  readonly typeOid: number;
  readonly typeLength: number;
  readonly typeModifier: number;
  readonly format: number;
}

/** Error and notice fields by their letter (manual section 55.8). */
export type ErrorFields = ReadonlyMap<string, string>;

export type Authentication =
  | { readonly method: "ok" }
  | { readonly method: "cleartext" }
  | { readonly method: "md5"; readonly salt: Buffer }
  | { readonly method: "sasl"; readonly mechanisms: readonly string[] }
  | { readonly method: "sasl-continue"; readonly data: Buffer }
  | { readonly method: "sasl-final"; readonly data: Buffer }
  | { readonly method: "unsupported"; readonly code: number };

export type BackendMessage =
  | { readonly type: "Authentication"; readonly auth: Authentication }
  | { readonly type: "BackendKeyData"; readonly pid: number; readonly key: Buffer }
  | { readonly type: "NegotiateProtocolVersion"; readonly version: number; readonly unknown: readonly string[] }
  | { readonly type: "ParameterStatus"; readonly name: string; readonly value: string }
  | { readonly type: "ReadyForQuery"; readonly status: TransactionStatus }
  | { readonly type: "RowDescription"; readonly fields: readonly FieldDescription[] }
  | { readonly type: "ParameterDescription"; readonly types: readonly number[] }
  | { readonly type: "CommandComplete"; readonly tag: string }
  | { readonly type: "ErrorResponse" | "NoticeResponse"; readonly fields: ErrorFields }
  | { readonly type: "NotificationResponse"; readonly pid: number; readonly channel: string; readonly payload: string }
  | {
      readonly type: "CopyInResponse" | "CopyOutResponse" | "CopyBothResponse";
      readonly format: number;
      readonly columns: readonly number[];
    }
  | {
      readonly type: "ParseComplete" | "BindComplete" | "CloseComplete" | "NoData" | "EmptyQueryResponse" | "PortalSuspended" | "CopyDone";
    };

/** The most columns a result can have (MaxTupleAttributeNumber). */
const MAX_COLUMNS = 1664;

function rowDescription(reader: BodyReader): FieldDescription[] {
  const count = reader.int16();
  if (count < 0 || count > MAX_COLUMNS) reader.fail(`${count} columns`);
  const fields: FieldDescription[] = [];
  for (let i = 0; i < count && !reader.failed; i++) {
    const field: FieldDescription = {
      name: reader.lossyCstring(),
      tableOid: reader.uint32(),
      attributeNumber: reader.int16(),
      typeOid: reader.uint32(),
      typeLength: reader.int16(),
      typeModifier: reader.int32(),
      format: reader.int16(),
    };
    if (field.format !== 0 && field.format !== 1) reader.fail(`format code ${field.format}`);
    fields.push(field);
  }
  return fields;
}

function errorFields(reader: BodyReader): Map<string, string> {
  const fields = new Map<string, string>();
  for (;;) {
    const letter = reader.byte();
    if (letter === 0 || reader.failed) return fields;
    fields.set(String.fromCharCode(letter), reader.lossyCstring());
  }
}

function copyResponse(reader: BodyReader): { format: number; columns: number[] } {
  const format = reader.byte();
  const count = reader.int16();
  const columns: number[] = [];
  for (let i = 0; i < count && !reader.failed; i++) columns.push(reader.int16());
  if (format > 1 || count < 0) reader.fail("copy format");
  return { format, columns };
}

function status(reader: BodyReader): TransactionStatus {
  const letter = String.fromCharCode(reader.byte());
  if (letter !== "I" && letter !== "T" && letter !== "E") reader.fail("transaction status");
  return letter as TransactionStatus;
}

function authentication(reader: BodyReader): Authentication {
  const code = reader.int32();
  switch (code) {
    case 0:
      return { method: "ok" };
    case 3:
      return { method: "cleartext" };
    case 5:
      return { method: "md5", salt: reader.bytes(4) };
    case 10: {
      const mechanisms: string[] = [];
      for (;;) {
        const name = reader.cstring();
        if (name === "" || reader.failed) return { method: "sasl", mechanisms };
        mechanisms.push(name);
      }
    }
    case 11:
      return { method: "sasl-continue", data: reader.rest() };
    case 12:
      return { method: "sasl-final", data: reader.rest() };
    default:
      reader.rest();
      return { method: "unsupported", code };
  }
}

function negotiate(reader: BodyReader): BackendMessage {
  const version = reader.int32();
  const count = reader.int32();
  const unknown: string[] = [];
  for (let i = 0; i < count && !reader.failed; i++) unknown.push(reader.cstring());
  return { type: "NegotiateProtocolVersion", version, unknown };
}

function parameterTypes(reader: BodyReader): number[] {
  const count = reader.uint16();
  const types: number[] = [];
  for (let i = 0; i < count && !reader.failed; i++) types.push(reader.uint32());
  return types;
}

function read(type: number, reader: BodyReader): BackendMessage | null {
  switch (type) {
    case B.Authentication:
      return { type: "Authentication", auth: authentication(reader) };
    case B.BackendKeyData:
      return { type: "BackendKeyData", pid: reader.int32(), key: reader.rest() };
    case B.NegotiateProtocolVersion:
      return negotiate(reader);
    case B.ParameterStatus:
      return { type: "ParameterStatus", name: reader.lossyCstring(), value: reader.lossyCstring() };
    case B.ReadyForQuery:
      return { type: "ReadyForQuery", status: status(reader) };
    case B.RowDescription:
      return { type: "RowDescription", fields: rowDescription(reader) };
    case B.ParameterDescription:
      return { type: "ParameterDescription", types: parameterTypes(reader) };
    case B.CommandComplete:
      return { type: "CommandComplete", tag: reader.lossyCstring() };
    case B.ErrorResponse:
      return { type: "ErrorResponse", fields: errorFields(reader) };
    case B.NoticeResponse:
      return { type: "NoticeResponse", fields: errorFields(reader) };
    case B.NotificationResponse:
      return { type: "NotificationResponse", pid: reader.int32(), channel: reader.lossyCstring(), payload: reader.lossyCstring() };
    case B.CopyInResponse:
      return { type: "CopyInResponse", ...copyResponse(reader) };
    case B.CopyOutResponse:
      return { type: "CopyOutResponse", ...copyResponse(reader) };
    case B.CopyBothResponse:
      return { type: "CopyBothResponse", ...copyResponse(reader) };
    case B.ParseComplete:
      return { type: "ParseComplete" };
    case B.BindComplete:
      return { type: "BindComplete" };
    case B.CloseComplete:
      return { type: "CloseComplete" };
    case B.NoData:
      return { type: "NoData" };
    case B.EmptyQueryResponse:
      return { type: "EmptyQueryResponse" };
    case B.PortalSuspended:
      return { type: "PortalSuspended" };
    case B.CopyDone:
      return { type: "CopyDone" };
    default:
      return null;
  }
}

/** `body` is what follows the length. The error is a sentence without any of the message's content. */
export function decodeBackend(type: number, body: Buffer): Result<BackendMessage, string> {
  const reader = new BodyReader(body);
  const message = read(type, reader);
  if (message === null) return err(`unknown message type ${printType(type)}`);
  const failure = reader.finish();
  return failure === null ? ok(message) : err(`invalid ${message.type} message: ${failure}`);
}

export function writeFields(
  writer: MessageWriter,
  type: "ErrorResponse" | "NoticeResponse",
  fields: Iterable<readonly [string, string]>,
): void {
  writer.begin(B[type]);
  for (const [letter, value] of fields) writer.byte(letter.charCodeAt(0)).cstring(value);
  writer.byte(0).end();
}

/** A message whose body is made already. */
export function writeRaw(writer: MessageWriter, type: number, body: Uint8Array): void {
  writer.begin(type).bytes(body).end();
}

export function writeNotification(writer: MessageWriter, pid: number, channel: string, payload: string): void {
  writer.begin(B.NotificationResponse).int32(pid).cstring(channel).cstring(payload).end();
}

export function writeReadyForQuery(writer: MessageWriter, status: TransactionStatus): void {
  writer.begin(B.ReadyForQuery).byte(status.charCodeAt(0)).end();
}

export function writeParameterStatus(writer: MessageWriter, name: string, value: string): void {
  writer.begin(B.ParameterStatus).cstring(name).cstring(value).end();
}

export function writeBackendKeyData(writer: MessageWriter, pid: number, key: Uint8Array): void {
  writer.begin(B.BackendKeyData).int32(pid).bytes(key).end();
}

export function writeNegotiateProtocolVersion(writer: MessageWriter, version: number, unknown: readonly string[]): void {
  writer.begin(B.NegotiateProtocolVersion).int32(version).int32(unknown.length);
  for (const name of unknown) writer.cstring(name);
  writer.end();
}

export function writeAuthenticationOk(writer: MessageWriter): void {
  writer.begin(B.Authentication).int32(0).end();
}

export function writeAuthenticationSasl(writer: MessageWriter, mechanisms: readonly string[]): void {
  writer.begin(B.Authentication).int32(10);
  for (const name of mechanisms) writer.cstring(name);
  writer.byte(0).end();
}

/** AuthenticationSASLContinue (11) and AuthenticationSASLFinal (12). */
export function writeAuthenticationSaslData(writer: MessageWriter, code: 11 | 12, data: Uint8Array): void {
  writer.begin(B.Authentication).int32(code).bytes(data).end();
}
