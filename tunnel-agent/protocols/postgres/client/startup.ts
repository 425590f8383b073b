/**
 * The beginning of a client's connection, as the server it talks to: encryption requests, startup, authentication,
 * cancel. Sans-IO: bytes in, events out, until `ready`, `cancel` or `end`. Strict: during authentication only `p`
 * messages exist (PG-07); bytes sent along with an encryption request are an attack (PG-01).
 *
 * It does not offer TLS: the client's end of this connection is inside the tunnel.
 */
import { unreachable } from "../../../../protocol/result.ts";
import { decodeSaslInitial } from "../codec/frontend.ts";
import {
  writeAuthenticationOk,
  writeAuthenticationSasl,
  writeAuthenticationSaslData,
  writeFields,
  writeNegotiateProtocolVersion,
} from "../codec/backend.ts";
import { decodeStartup, MAX_STARTUP_BYTES, type StartupPacket } from "../codec/startup.ts";
import { F, printType, PROTOCOL_3_2 } from "../codec/types.ts";
import { MessageWriter } from "../codec/writer.ts";
import { refusalFields, SQLSTATE, violation, type Refusal } from "../refusal.ts";
import { MECHANISM, ScramServer, type ScramFailure, type ScramVerifier } from "../scram.ts";
import { admitParameters, type ClientParameters } from "./parameters.ts";

export type StartupEvent =
  | { readonly type: "send"; readonly bytes: Buffer }
  /** The client is who the tunnel says. `minor`: negotiated, 0 to 2. `rest`: bytes it already sent after. */
  | { readonly type: "ready"; readonly parameters: ClientParameters; readonly minor: number; readonly rest: Buffer }
  | { readonly type: "cancel"; readonly pid: number; readonly key: Buffer }
  /** Close; what there was to say was sent. `refusal` is for the log. */
  | { readonly type: "end"; readonly refusal?: Refusal | undefined };

export type StartupAuth = { readonly method: "trust" } | ({ readonly method: "scram-sha-256" } & ScramVerifier);

/** Bytes of one authentication message. */
const MAX_AUTH_MESSAGE = 4096;
const TLS_HANDSHAKE_RECORD = 0x16;
/** A TLS alert record (RFC 8446 section 6): fatal, handshake_failure. A TLS client understands nothing else. */
const TLS_REFUSAL = Buffer.from([0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x28]);
const MINOR = PROTOCOL_3_2 & 0xffff;

type State =
  | { readonly at: "startup" }
  | { readonly at: "sasl-initial"; readonly scram: ScramServer; readonly parameters: ClientParameters; readonly minor: number }
  | { readonly at: "sasl-response"; readonly scram: ScramServer; readonly parameters: ClientParameters; readonly minor: number }
  | { readonly at: "over" };

export class ClientStartup {
  readonly #auth: StartupAuth;
  readonly #database: string;
  #state: State = { at: "startup" };
  #buffer: Buffer = Buffer.alloc(0);
  #askedSsl = false;
  #askedGss = false;
  #events: StartupEvent[] = [];

  constructor(auth: StartupAuth, database: string) {
    this.#auth = auth;
    this.#database = database;
  }

  receive(bytes: Buffer): StartupEvent[] {
    this.#buffer = this.#buffer.length === 0 ? bytes : Buffer.concat([this.#buffer, bytes]);
    while (this.#state.at !== "over" && this.#step()) {
      // each step takes one packet
    }
    const events = this.#events;
    this.#events = [];
    return events;
  }

  #step(): boolean {
    return this.#state.at === "startup" ? this.#startup() : this.#authentication();
  }

  #startup(): boolean {
    if (this.#buffer.length > 0 && this.#buffer[0] === TLS_HANDSHAKE_RECORD) {
      this.#events.push({ type: "send", bytes: TLS_REFUSAL });
      return this.#end({
        code: SQLSTATE.feature_not_supported,
        message: "sallyport: the client began with TLS; connect without (sslmode=disable): the tunnel is encrypted",
      });
    }
    if (this.#buffer.length < 4) return false;
    const length = this.#buffer.readInt32BE(0);
    if (length < 8 || length > MAX_STARTUP_BYTES) return this.#fatal(violation("invalid length of startup packet"));
    if (this.#buffer.length < length) return false;
    const packet = decodeStartup(this.#buffer.subarray(4, length));
    this.#buffer = this.#buffer.subarray(length);
    return packet.ok ? this.#packet(packet.value) : this.#fatal(violation(packet.error));
  }

  #packet(packet: StartupPacket): boolean {
    switch (packet.type) {
      case "SSLRequest": {
        const again = this.#askedSsl;
        this.#askedSsl = true;
        return this.#encryption("SSL", again);
      }
      case "GSSENCRequest": {
        const again = this.#askedGss;
        this.#askedGss = true;
        return this.#encryption("GSSAPI encryption", again);
      }
      case "CancelRequest":
        this.#events.push({ type: "cancel", pid: packet.pid, key: Buffer.from(packet.key) });
        return this.#end();
      case "StartupMessage":
        return this.#startupMessage(packet);
      default:
        return unreachable(packet);
    }
  }

  #encryption(what: string, again: boolean): boolean {
    if (again) return this.#fatal({ code: SQLSTATE.feature_not_supported, message: `a second ${what} request is not supported` });
    if (this.#buffer.length > 0) return this.#fatal(violation(`received unencrypted data after ${what} request`));
    this.#events.push({ type: "send", bytes: Buffer.from("N", "latin1") });
    return true;
  }

  #startupMessage(packet: Extract<StartupPacket, { type: "StartupMessage" }>): boolean {
    if (packet.major !== 3) {
      return this.#fatal({
        code: SQLSTATE.feature_not_supported,
        message: `unsupported frontend protocol ${packet.major}.${packet.minor}: the gateway supports 3.0 to 3.${MINOR}`,
      });
    }
    const pairs = new Map(packet.parameters);
    const unknown = [...pairs.keys()].filter((name) => name.startsWith("_pq_."));
    for (const name of unknown) pairs.delete(name);
    const parameters = admitParameters(pairs, this.#database);
    if (!parameters.ok) return this.#fatal(parameters.error);
    const minor = Math.min(packet.minor, MINOR);
    if (packet.minor > MINOR || unknown.length > 0) {
      this.#send((writer) => writeNegotiateProtocolVersion(writer, (3 << 16) | minor, unknown));
    }
    if (this.#auth.method === "trust") {
      this.#send(writeAuthenticationOk);
      return this.#ready(parameters.value, minor);
    }
    this.#state = { at: "sasl-initial", scram: new ScramServer(this.#auth), parameters: parameters.value, minor };
    this.#send((writer) => writeAuthenticationSasl(writer, [MECHANISM]));
    return true;
  }

  #authentication(): boolean {
    if (this.#buffer.length === 0) return false;
    const type = this.#buffer.readUInt8(0);
    if (type !== F.Password) return this.#fatal(violation(`expected SASL response, got message type ${printType(type)}`));
    if (this.#buffer.length < 5) return false;
    const length = this.#buffer.readInt32BE(1);
    if (length < 4 || length > MAX_AUTH_MESSAGE) return this.#fatal(violation("invalid length of SASL response"));
    if (this.#buffer.length < 1 + length) return false;
    const body = this.#buffer.subarray(5, 1 + length);
    this.#buffer = this.#buffer.subarray(1 + length);
    return this.#sasl(body);
  }

  #sasl(body: Buffer): boolean {
    const state = this.#state;
    switch (state.at) {
      case "sasl-initial": {
        const initial = decodeSaslInitial(body);
        if (!initial.ok) return this.#fatal(violation(initial.error));
        if (initial.value.mechanism !== MECHANISM) {
          return this.#fatal({
            code: SQLSTATE.invalid_authorization_specification,
            message: `sallyport: only ${MECHANISM} without channel binding is offered`,
          });
        }
        const answer = state.scram.first(initial.value.data);
        if (!answer.ok) return this.#scramFailed(answer.error, state.parameters);
        this.#send((writer) => writeAuthenticationSaslData(writer, 11, Buffer.from(answer.value, "latin1")));
        this.#state = { ...state, at: "sasl-response" };
        return true;
      }
      case "sasl-response": {
        const answer = state.scram.final(body);
        if (!answer.ok) return this.#scramFailed(answer.error, state.parameters);
        this.#send((writer) => {
          writeAuthenticationSaslData(writer, 12, Buffer.from(answer.value, "latin1"));
          writeAuthenticationOk(writer);
        });
        return this.#ready(state.parameters, state.minor);
      }
      case "startup":
      case "over":
        return false;
      default:
        return unreachable(state);
    }
  }

  #scramFailed(failure: ScramFailure, parameters: ClientParameters): boolean {
    switch (failure.reason) {
      case "malformed":
        return this.#fatal(violation(`malformed SCRAM message: ${failure.what}`));
      case "channel-binding":
        return this.#fatal({
          code: SQLSTATE.invalid_authorization_specification,
          message: "sallyport: channel binding is not offered on this connection",
          hint: "Use channel_binding=prefer or disable: the tunnel itself is authenticated.",
        });
      case "wrong-password":
        return this.#fatal({ code: SQLSTATE.invalid_password, message: `password authentication failed for user "${parameters.user}"` });
      default:
        return unreachable(failure);
    }
  }

  #ready(parameters: ClientParameters, minor: number): false {
    this.#state = { at: "over" };
    this.#events.push({ type: "ready", parameters, minor, rest: this.#buffer });
    return false;
  }

  #send(write: (writer: MessageWriter) => void): void {
    const writer = new MessageWriter();
    write(writer);
    this.#events.push({ type: "send", bytes: writer.take() ?? Buffer.alloc(0) });
  }

  #fatal(refusal: Refusal): false {
    this.#send((writer) => writeFields(writer, "ErrorResponse", refusalFields("FATAL", refusal)));
    return this.#end(refusal);
  }

  #end(refusal?: Refusal): false {
    this.#state = { at: "over" };
    this.#events.push({ type: "end", refusal });
    return false;
  }
}
