/**
 * Frontend messages: decoding, as the server that a client talks to, and encoding, as the client that a target talks
 * to. Decoding is exact: every byte of the body is accounted for, all text is UTF-8, every count fits. A message that
 * was decoded and encoded again is byte for byte what came (the tests hold that against pg-protocol's serialiser).
 *
 * CopyData is not decoded here: its body is opaque and goes on in slices (framing.ts).
 */
import { err, ok, type Result } from "../../../../protocol/result.ts";
import { BodyReader } from "./reader.ts";
import { F, printType } from "./types.ts";
import type { MessageWriter } from "./writer.ts";

/** `S`tatement or `P`ortal. */
export type NameSpace = "S" | "P";

export interface Parse {
  readonly type: "Parse";
  readonly statement: string;
  readonly sql: string;
  readonly parameterTypes: readonly number[];
}
export interface Bind {
  readonly type: "Bind";
  readonly portal: string;
  readonly statement: string;
  /** 0 text, 1 binary; none, one for all, or one each. */
  readonly parameterFormats: readonly number[];
  /** Views of the received bytes; null is NULL. */
  readonly parameters: readonly (Buffer | null)[];
  readonly resultFormats: readonly number[];
}

export type FrontendMessage =
  | { readonly type: "Query"; readonly sql: string }
  | Parse
  | Bind
  | { readonly type: "Describe"; readonly space: NameSpace; readonly name: string }
  | { readonly type: "Close"; readonly space: NameSpace; readonly name: string }
  /** `maxRows` 0 or less: all. */
  | { readonly type: "Execute"; readonly portal: string; readonly maxRows: number }
  | { readonly type: "Sync" }
  | { readonly type: "Flush" }
  | { readonly type: "Terminate" }
  | { readonly type: "CopyDone" }
  | { readonly type: "CopyFail"; readonly message: string }
  /** Password, SASLInitialResponse or SASLResponse: the state of the authentication says which. */
  | { readonly type: "Password"; readonly body: Buffer };

function formats(reader: BodyReader): number[] {
  const count = reader.uint16();
  const list: number[] = [];
  for (let i = 0; i < count && !reader.failed; i++) {
    const format = reader.int16();
    if (format !== 0 && format !== 1) reader.fail(`format code ${format}`);
    list.push(format);
  }
  return list;
}

function bind(reader: BodyReader): Bind {
  const portal = reader.cstring();
  const statement = reader.cstring();
  const parameterFormats = formats(reader);
  const count = reader.uint16();
  const parameters: (Buffer | null)[] = [];
  for (let i = 0; i < count && !reader.failed; i++) {
    const length = reader.int32();
    if (length < -1) reader.fail(`parameter length ${length}`);
    parameters.push(length < 0 ? null : reader.bytes(length));
  }
  if (parameterFormats.length > 1 && parameterFormats.length !== count) reader.fail("format codes do not match the parameters");
  return { type: "Bind", portal, statement, parameterFormats, parameters, resultFormats: formats(reader) };
}

function space(reader: BodyReader): NameSpace {
  const letter = reader.byte();
  if (letter === 0x53) return "S";
  if (letter !== 0x50) reader.fail("neither statement nor portal");
  return "P";
}

function parse(reader: BodyReader): Parse {
  const statement = reader.cstring();
  const sql = reader.cstring();
  const count = reader.uint16();
  const parameterTypes: number[] = [];
  for (let i = 0; i < count && !reader.failed; i++) parameterTypes.push(reader.uint32());
  return { type: "Parse", statement, sql, parameterTypes };
}

function read(type: number, reader: BodyReader): FrontendMessage | null {
  switch (type) {
    case F.Query:
      return { type: "Query", sql: reader.cstring() };
    case F.Parse:
      return parse(reader);
    case F.Bind:
      return bind(reader);
    case F.Describe:
      return { type: "Describe", space: space(reader), name: reader.cstring() };
    case F.Close:
      return { type: "Close", space: space(reader), name: reader.cstring() };
    case F.Execute:
      return { type: "Execute", portal: reader.cstring(), maxRows: reader.int32() };
    case F.Sync:
      return { type: "Sync" };
    case F.Flush:
      return { type: "Flush" };
    case F.Terminate:
      return { type: "Terminate" };
    case F.CopyDone:
      return { type: "CopyDone" };
    case F.CopyFail:
      return { type: "CopyFail", message: reader.cstring() };
    case F.Password:
      return { type: "Password", body: reader.rest() };
    default:
      return null;
  }
}

/** `body` is what follows the length. The error is a sentence without any of the message's content. */
export function decodeFrontend(type: number, body: Buffer): Result<FrontendMessage, string> {
  const reader = new BodyReader(body);
  const message = read(type, reader);
  if (message === null) return err(`unknown message type ${printType(type)}`);
  const failure = reader.finish();
  return failure === null ? ok(message) : err(`invalid ${message.type} message: ${failure}`);
}

export function writeQuery(writer: MessageWriter, sql: string): void {
  writer.begin(F.Query).cstring(sql).end();
}

export function writeParse(writer: MessageWriter, message: Omit<Parse, "type">): void {
  writer.begin(F.Parse).cstring(message.statement).cstring(message.sql).int16(message.parameterTypes.length);
  for (const oid of message.parameterTypes) writer.int32(oid);
  writer.end();
}

function writeFormats(writer: MessageWriter, list: readonly number[]): void {
  writer.int16(list.length);
  for (const format of list) writer.int16(format);
}

export function writeBind(writer: MessageWriter, message: Omit<Bind, "type">): void {
  writer.begin(F.Bind).cstring(message.portal).cstring(message.statement);
  writeFormats(writer, message.parameterFormats);
  writer.int16(message.parameters.length);
  for (const parameter of message.parameters) {
    if (parameter === null) writer.int32(-1);
    else writer.int32(parameter.length).bytes(parameter);
  }
  writeFormats(writer, message.resultFormats);
  writer.end();
}

function writeNamed(writer: MessageWriter, type: number, space: NameSpace, name: string): void {
  writer.begin(type).byte(space.charCodeAt(0)).cstring(name).end();
}

export const writeDescribe = (writer: MessageWriter, space: NameSpace, name: string): void => writeNamed(writer, F.Describe, space, name);
export const writeClose = (writer: MessageWriter, space: NameSpace, name: string): void => writeNamed(writer, F.Close, space, name);

export function writeExecute(writer: MessageWriter, portal: string, maxRows: number): void {
  writer.begin(F.Execute).cstring(portal).int32(maxRows).end();
}

export function writeCopyFail(writer: MessageWriter, message: string): void {
  writer.begin(F.CopyFail).cstring(message).end();
}

/** Sync, Flush, Terminate, CopyDone. */
export function writeBare(writer: MessageWriter, type: "Sync" | "Flush" | "Terminate" | "CopyDone"): void {
  writer.begin(F[type]).end();
}

export function writePassword(writer: MessageWriter, body: Uint8Array): void {
  writer.begin(F.Password).bytes(body).end();
}

/** SASLInitialResponse: the mechanism's name, then its first message. */
export function writeSaslInitial(writer: MessageWriter, mechanism: string, data: Uint8Array): void {
  writer.begin(F.Password).cstring(mechanism).int32(data.length).bytes(data).end();
}

/** The body of a `p` message as SASLInitialResponse. A length of -1 means: no initial response. */
export function decodeSaslInitial(body: Buffer): Result<{ readonly mechanism: string; readonly data: Buffer }, string> {
  const reader = new BodyReader(body);
  const mechanism = reader.cstring();
  const length = reader.int32();
  const data = length === -1 ? body.subarray(0, 0) : reader.bytes(length);
  const failure = reader.finish();
  return failure === null ? ok({ mechanism, data }) : err(`invalid SASLInitialResponse: ${failure}`);
}
