/**
 * A token endpoint over real HTTP, as the gateway's contract has it: a token is good once, a credential is renewed with
 * the key it is bound to, proofs are verified by the Worker's own code. Its clock is the test's.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { ErrorCode } from "../../../../protocol/errors.ts";
import { ERRORS } from "../../../../protocol/errors.ts";
import { verifyProof } from "../../../../worker/identity/dpop.ts";

const TTL_MS = 900_000;

export class TokenEndpoint {
  /** ms since the epoch. */
  now = Date.parse("2026-11-22T08:00:00Z");
  /** Cuts every connection while true. */
  down = false;
  /** Until when credentials may be renewed, ms since the epoch. */
  lineEnds = Number.POSITIVE_INFINITY;
  revoked = false;
  /** What was asked, in order: `exchange TOKEN` or `renew CREDENTIAL`. */
  readonly asked: string[] = [];
  origin = "";
  readonly #spent = new Set<string>();
  readonly #credentials = new Map<string, { readonly jkt: string; readonly expires: number }>();
  readonly #server = createServer((request, response) => void this.#serve(request, response));

  async start(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.listen(0, "127.0.0.1", resolve);
    });
    this.origin = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.closeAllConnections();
      this.#server.close(() => resolve());
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.down) {
      request.socket.destroy();
      return;
    }
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const form = new URLSearchParams(Buffer.concat(chunks).toString("utf8"));
    const url = `${this.origin}/v1/token`;
    const proof = await verifyProof(String(request.headers["dpop"]), { method: "POST", url, credential: null, now: this.now });
    if (!proof.ok) return refuse(response, "proof_invalid");
    const subject = form.get("subject_token") ?? "";
    const renewal = form.get("subject_token_type") === "urn:ietf:params:oauth:token-type:access_token";
    this.asked.push(`${renewal ? "renew" : "exchange"} ${subject}`);
    if (this.revoked) return refuse(response, "identity_revoked");
    if (renewal) {
      const old = this.#credentials.get(subject);
      if (old === undefined || old.expires <= this.now) return refuse(response, "credential_expired");
      if (old.jkt !== proof.value.jkt) return refuse(response, "proof_invalid");
    } else {
      if (this.#spent.has(subject)) return refuse(response, "token_replayed");
      this.#spent.add(subject);
    }
    const expires = Math.min(this.now + TTL_MS, this.lineEnds);
    const name = `credential-${this.#credentials.size + 1}`;
    this.#credentials.set(name, { jkt: proof.value.jkt, expires });
    response.setHeader("content-type", "application/json").end(
      JSON.stringify({
        access_token: name,
        issued_token_type: "urn:ietf:params:oauth:token-type:access_token",
        token_type: "DPoP",
        expires_in: Math.floor((expires - this.now) / 1000),
        identity: "orders-ci",
      }),
    );
  }
}

function refuse(response: ServerResponse, code: ErrorCode): void {
  const { status, sentence } = ERRORS[code];
  const problem = { type: "about:blank", title: sentence, status, code, ref: "ref_1" };
  response.writeHead(status, { "content-type": "application/problem+json" }).end(JSON.stringify(problem));
}
