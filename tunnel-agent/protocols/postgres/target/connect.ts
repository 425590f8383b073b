/**
 * Opens the byte stream to a target: TCP or unix socket, then TLS as configured. Expected failures come as sentences
 * for the agent's log; the client is told none of them.
 */
import { readFile } from "node:fs/promises";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import { err, ok, type Result } from "../../../../protocol/result.ts";
import { writeSslRequest } from "../codec/startup.ts";
import { single } from "../codec/writer.ts";
import type { TargetAddress } from "../config.ts";

export interface ConnectOptions {
  readonly address: TargetAddress;
  readonly tls: "verify-full" | "verify-ca" | "require" | "disable";
  /** Absolute path of a PEM file; read at each connection, so that a renewed one is used. */
  readonly ca: string | undefined;
  readonly serverName: string | undefined;
  /** Gives the whole attempt up. */
  readonly signal: AbortSignal;
}

const message = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function open(address: TargetAddress, signal: AbortSignal): Promise<Result<Socket, string>> {
  const socket = address.kind === "unix" ? connectTcp({ path: address.path }) : connectTcp({ host: address.host, port: address.port });
  // Whoever owns the socket at the moment listens too; this one keeps an error between two owners from being nobody's.
  socket.on("error", () => undefined);
  socket.setNoDelay(true);
  socket.setKeepAlive(true, 60_000);
  return await settled(socket, "connect", signal, "cannot connect");
}

/** Waits for one event of a socket that is not yet anybody's; destroys it on failure. */
function settled<S extends Socket>(
  socket: S,
  event: "connect" | "secureConnect",
  signal: AbortSignal,
  what: string,
): Promise<Result<S, string>> {
  return new Promise((resolve) => {
    const finish = (result: Result<S, string>): void => {
      socket.removeAllListeners(event).removeAllListeners("close");
      signal.removeEventListener("abort", onAbort);
      socket.removeListener("error", onError);
      if (!result.ok) socket.destroy();
      resolve(result);
    };
    const onError = (error: Error): void => finish(err(`${what}: ${error.message}`));
    const onAbort = (): void => finish(err(`${what}: timed out or given up`));
    socket.on("error", onError);
    socket.once("close", () => finish(err(`${what}: the target closed the connection`)));
    socket.once(event, () => finish(ok(socket)));
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
}

/** The answer to SSLRequest: exactly one byte. More before the handshake would be injected bytes (CVE-2021-23222). */
function sslAnswer(socket: Socket, signal: AbortSignal): Promise<Result<string, string>> {
  return new Promise((resolve) => {
    const finish = (result: Result<string, string>): void => {
      socket.removeListener("data", onData).removeListener("error", onError).removeListener("close", onClose);
      signal.removeEventListener("abort", onAbort);
      socket.pause();
      resolve(result);
    };
    const onData = (chunk: Buffer): void =>
      finish(chunk.length === 1 ? ok(chunk.toString("latin1")) : err("the target sent bytes before the TLS handshake"));
    const onError = (error: Error): void => finish(err(`while asking for TLS: ${error.message}`));
    const onClose = (): void => finish(err("the target closed the connection when asked for TLS"));
    const onAbort = (): void => finish(err("while asking for TLS: timed out or given up"));
    socket.on("data", onData).on("error", onError).on("close", onClose);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    socket.write(single(writeSslRequest));
  });
}

async function secure(socket: Socket, host: string, options: ConnectOptions): Promise<Result<Socket, string>> {
  const answer = await sslAnswer(socket, options.signal);
  if (!answer.ok || answer.value !== "S") {
    socket.destroy();
    return answer.ok ? err("the target does not offer TLS") : answer;
  }
  let ca: Buffer | undefined;
  try {
    ca = options.ca === undefined ? undefined : await readFile(options.ca);
  } catch (error) {
    socket.destroy();
    return err(`cannot read the certificate authorities: ${message(error)}`);
  }
  const name = options.serverName ?? host;
  const tlsOptions: ConnectionOptions = {
    socket,
    host: name,
    // SNI carries names only (RFC 6066 section 3); identity is checked against `host` all the same.
    ...(isIP(name) === 0 ? { servername: name } : {}),
    ...(ca === undefined ? {} : { ca }),
    minVersion: "TLSv1.2",
    ALPNProtocols: ["postgresql"],
    rejectUnauthorized: options.tls !== "require",
    ...(options.tls === "verify-full" ? {} : { checkServerIdentity: () => undefined }),
  };
  const secured = connectTls(tlsOptions);
  secured.on("error", () => undefined);
  return await settled(secured, "secureConnect", options.signal, "TLS to the target failed");
}

export async function connectTarget(options: ConnectOptions): Promise<Result<Socket, string>> {
  const socket = await open(options.address, options.signal);
  if (!socket.ok || options.tls === "disable" || options.address.kind === "unix") return socket;
  return await secure(socket.value, options.address.host, options);
}
