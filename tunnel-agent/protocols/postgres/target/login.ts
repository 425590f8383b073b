/**
 * Logs in at a target, as the client it sees: our own startup parameters, our own authentication, never a relayed one
 * (PG-05, PG-06). Reads up to the first ReadyForQuery and hands over what the server said about itself.
 *
 * The target may be hostile: it gets the password's proof only by a configured method, and must prove in turn that it
 * knows the password. Errors are sentences for the agent's log, without secrets.
 */
import { createHash } from "node:crypto";
import type { Duplex } from "node:stream";
import { err, ok, unreachable, type Result } from "../../../../protocol/result.ts";
import { decodeBackend, type Authentication, type BackendMessage } from "../codec/backend.ts";
import { writePassword, writeSaslInitial } from "../codec/frontend.ts";
import { writeStartup } from "../codec/startup.ts";
import { printType, PROTOCOL_3_0, PROTOCOL_3_2 } from "../codec/types.ts";
import { single, type MessageWriter } from "../codec/writer.ts";
import { MECHANISM, ScramClient } from "../scram.ts";

export type AuthMethod = "scram-sha-256" | "md5" | "cleartext" | "none";

export interface LoginOptions {
  readonly user: string;
  /** Startup parameters but `user`, in order. */
  readonly parameters: readonly (readonly [string, string])[];
  readonly methods: readonly AuthMethod[];
  readonly password: (() => Promise<string>) | undefined;
  readonly protocol: "3.0" | "3.2";
  readonly signal: AbortSignal;
}

export interface LoggedIn {
  readonly pid: number;
  readonly key: Buffer;
  /** ParameterStatus as reported so far. */
  readonly status: ReadonlyMap<string, string>;
  /** Bytes that came after ReadyForQuery. */
  readonly rest: Buffer;
}

/** Bytes of one message during login. */
const MAX_LOGIN_MESSAGE = 64 * 1024;
const MAX_STATUS_VALUES = 256;

/** Reads messages one at a time from a socket that is in paused mode. */
class MessageSource {
  readonly #socket: Duplex;
  readonly #signal: AbortSignal;
  #buffer: Buffer = Buffer.alloc(0);

  constructor(socket: Duplex, signal: AbortSignal) {
    this.#socket = socket;
    this.#signal = signal;
  }

  get rest(): Buffer {
    return this.#buffer;
  }

  async next(): Promise<Result<BackendMessage, string>> {
    for (;;) {
      if (this.#buffer.length >= 5) {
        const length = this.#buffer.readInt32BE(1);
        if (length < 4 || length > MAX_LOGIN_MESSAGE) return err(`the target sent a message of ${length} bytes during login`);
        if (this.#buffer.length > length) {
          const type = this.#buffer.readUInt8(0);
          const decoded = decodeBackend(type, this.#buffer.subarray(5, 1 + length));
          this.#buffer = this.#buffer.subarray(1 + length);
          return decoded.ok ? decoded : err(`the target broke the protocol during login (${printType(type)}): ${decoded.error}`);
        }
      }
      const chunk = await this.#chunk();
      if (!chunk.ok) return chunk;
      this.#buffer = Buffer.concat([this.#buffer, chunk.value]);
    }
  }

  #chunk(): Promise<Result<Buffer, string>> {
    const socket = this.#socket;
    const signal = this.#signal;
    return new Promise((resolve) => {
      const finish = (result: Result<Buffer, string>): void => {
        socket.removeListener("readable", onReadable).removeListener("end", onEnd).removeListener("close", onEnd);
        socket.removeListener("error", onError);
        signal.removeEventListener("abort", onAbort);
        resolve(result);
      };
      const onReadable = (): void => {
        const chunk = socket.read() as Buffer | null;
        if (chunk !== null) finish(ok(chunk));
      };
      const onEnd = (): void => finish(err("the target closed the connection during login"));
      const onError = (error: Error): void => finish(err(`during login: ${error.message}`));
      const onAbort = (): void => finish(err("login timed out or was given up"));
      socket.on("readable", onReadable).on("end", onEnd).on("close", onEnd).on("error", onError);
      signal.addEventListener("abort", onAbort, { once: true });
      if (signal.aborted) onAbort();
      else if (socket.destroyed || socket.readableEnded) onEnd();
      else onReadable();
    });
  }
}

const md5 = (...parts: (string | Buffer)[]): string => {
  const hash = createHash("md5");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
};

const cstring = (text: string): Buffer => Buffer.from(`${text}\0`, "utf8");

function refused(fields: ReadonlyMap<string, string>): string {
  return `the target refused the login: ${fields.get("C") ?? "?????"} ${fields.get("M") ?? ""}`;
}

/** Answers the target's requests until AuthenticationOk. */
class Authenticator {
  readonly #options: LoginOptions;
  readonly #send: (write: (writer: MessageWriter) => void) => void;
  #scram: ScramClient | null = null;
  #proved = false;
  #answered = false;

  constructor(options: LoginOptions, send: (write: (writer: MessageWriter) => void) => void) {
    this.#options = options;
    this.#send = send;
  }

  #may(method: AuthMethod): Result<() => Promise<string>, string> {
    if (!this.#options.methods.includes(method)) {
      return err(`the target asks for ${method} authentication, which is not configured (auth: ${this.#options.methods.join(", ")})`);
    }
    if (this.#options.password === undefined) return err(`the target asks for ${method} authentication, and no password is configured`);
    return ok(this.#options.password);
  }

  /** `true` when the target has let us in. */
  async step(auth: Authentication): Promise<Result<boolean, string>> {
    switch (auth.method) {
      case "ok":
        return this.#ok();
      case "cleartext": {
        const may = this.#may("cleartext");
        if (!may.ok) return may;
        const password = await may.value();
        this.#answered = true;
        this.#send((writer) => writePassword(writer, cstring(password)));
        return ok(false);
      }
      case "md5": {
        const may = this.#may("md5");
        if (!may.ok) return may;
        const answer = `md5${md5(md5(await may.value(), this.#options.user), auth.salt)}`;
        this.#answered = true;
        this.#send((writer) => writePassword(writer, cstring(answer)));
        return ok(false);
      }
      case "sasl": {
        const may = this.#may("scram-sha-256");
        if (!may.ok) return may;
        if (this.#scram !== null || !auth.mechanisms.includes(MECHANISM)) return err("the target does not offer SCRAM-SHA-256");
        const scram = new ScramClient();
        this.#scram = scram;
        this.#send((writer) => writeSaslInitial(writer, MECHANISM, scram.first()));
        return ok(false);
      }
      case "sasl-continue": {
        const may = this.#may("scram-sha-256");
        if (!may.ok) return may;
        if (this.#scram === null || this.#answered) return err("the target continued a SCRAM exchange that is not under way");
        const final = await this.#scram.final(auth.data, may.value);
        if (!final.ok) return final;
        this.#answered = true;
        this.#send((writer) => writePassword(writer, final.value));
        return ok(false);
      }
      case "sasl-final": {
        if (this.#scram === null || !this.#answered || this.#proved) return err("the target ended a SCRAM exchange that is not under way");
        const verified = this.#scram.verify(auth.data);
        if (!verified.ok) return verified;
        this.#proved = true;
        return ok(false);
      }
      case "unsupported":
        return err(`the target asks for authentication method ${auth.code}, which is not supported`);
      default:
        return unreachable(auth);
    }
  }

  #ok(): Result<boolean, string> {
    if (this.#scram !== null) return this.#proved ? ok(true) : err("the target skipped its part of the SCRAM exchange");
    if (this.#answered || this.#options.methods.includes("none")) return ok(true);
    return err("the target asks for no authentication, which is not configured (add none to auth if that is meant)");
  }
}

async function authenticate(source: MessageSource, authenticator: Authenticator): Promise<Result<true, string>> {
  for (;;) {
    const message = await source.next();
    if (!message.ok) return message;
    switch (message.value.type) {
      case "Authentication": {
        const step = await authenticator.step(message.value.auth);
        if (!step.ok) return step;
        if (step.value) return ok(true);
        break;
      }
      case "NegotiateProtocolVersion":
        if (message.value.version !== PROTOCOL_3_0 || message.value.unknown.length > 0) {
          return err("the target negotiated a protocol version that was not asked for");
        }
        break;
      case "NoticeResponse":
        break;
      case "ErrorResponse":
        return err(refused(message.value.fields));
      default:
        return err(`the target sent ${message.value.type} before it authenticated`);
    }
  }
}

async function untilReady(source: MessageSource): Promise<Result<LoggedIn, string>> {
  const status = new Map<string, string>();
  let pid = 0;
  let key: Buffer = Buffer.alloc(0);
  for (;;) {
    const message = await source.next();
    if (!message.ok) return message;
    switch (message.value.type) {
      case "ParameterStatus":
        if (status.size >= MAX_STATUS_VALUES) return err("the target reports too many parameters");
        status.set(message.value.name, message.value.value);
        break;
      case "BackendKeyData":
        pid = message.value.pid;
        key = Buffer.from(message.value.key);
        if (key.length > 256) return err("the target's cancel key is too long");
        break;
      case "NoticeResponse":
        break;
      case "ReadyForQuery":
        if (message.value.status !== "I") return err("the target begins inside a transaction");
        return ok({ pid, key, status, rest: source.rest });
      case "ErrorResponse":
        return err(refused(message.value.fields));
      default:
        return err(`the target sent ${message.value.type} instead of becoming ready`);
    }
  }
}

/** `socket` must be in paused mode; it stays so. A thrown error is the credential's (its own message says no secret). */
export async function login(socket: Duplex, options: LoginOptions): Promise<Result<LoggedIn, string>> {
  const source = new MessageSource(socket, options.signal);
  const send = (write: (writer: MessageWriter) => void): void => {
    socket.write(single(write));
  };
  send((writer) =>
    writeStartup(writer, options.protocol === "3.2" ? PROTOCOL_3_2 : PROTOCOL_3_0, [["user", options.user], ...options.parameters]),
  );
  const authenticated = await authenticate(source, new Authenticator(options, send));
  return authenticated.ok ? await untilReady(source) : authenticated;
}
