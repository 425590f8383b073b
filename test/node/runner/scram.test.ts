/**
 * The verifier of a run's password, against RFC 7677's exchange, against pg's own client, and against a real PostgreSQL
 * that is given it in its own format.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { createRequire } from "node:module";
import { Client } from "pg";
import { afterAll, describe, expect, it } from "vitest";
import { startPostgres, type PostgresServer } from "../../../dev/postgres.ts";
import { ClientAuth } from "../../../protocol/stream/control.ts";
import { makeClientSecret, scramVerifier } from "../../../runner/tunnel/scram.ts";

interface Sasl {
  startSession(mechanisms: string[]): { response: string };
  continueSession(session: object, password: string, serverData: string): Promise<void>;
  finalizeSession(session: object, serverData: string): void;
}
const sasl = createRequire(import.meta.url)("pg/lib/crypto/sasl.js") as Sasl;

type Verifier = ReturnType<typeof scramVerifier>;
const hmac = (key: Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest();
const xor = (a: Buffer, b: Buffer): Buffer => Buffer.from(a.map((byte, index) => byte ^ (b[index] ?? 0)));

/** RFC 5802 section 3, the server's side, with nothing but the verifier. */
function checkProof(verifier: Verifier, authMessage: string, proof: string): boolean {
  const storedKey = Buffer.from(verifier.stored_key, "base64");
  const clientKey = xor(Buffer.from(proof, "base64"), hmac(storedKey, authMessage));
  return timingSafeEqual(createHash("sha256").update(clientKey).digest(), storedKey);
}

const serverSignature = (verifier: Verifier, authMessage: string): string =>
  hmac(Buffer.from(verifier.server_key, "base64"), authMessage).toString("base64");

describe("RFC 7677 section 3's example", () => {
  const verifier = scramVerifier("pencil", Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64"), 4096);
  const authMessage = [
    "n=user,r=rOprNGfwEbeRWgbNEkqO",
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
  ].join(",");

  it("is accepted and answered", () => {
    expect(checkProof(verifier, authMessage, "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")).toBe(true);
    expect(serverSignature(verifier, authMessage)).toBe("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
  });

  it("is refused with one bit changed", () => {
    expect(checkProof(verifier, authMessage, "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVU=")).toBe(false);
  });
});

describe("pg's client against a run's verifier", () => {
  async function exchange(password: string, verifier: Verifier): Promise<boolean> {
    const session = sasl.startSession(["SCRAM-SHA-256"]) as { response: string; clientNonce: string };
    const clientFirst = session.response.replace(/^n,,/, "");
    const serverFirst = `r=${/r=(.*)$/.exec(clientFirst)?.[1] ?? ""}${randomBytes(12).toString("hex")},s=${verifier.salt},i=${verifier.iterations}`;
    await sasl.continueSession(session, password, serverFirst);
    const [withoutProof, proof] = session.response.split(",p=");
    const authMessage = `${clientFirst},${serverFirst},${withoutProof ?? ""}`;
    if (!checkProof(verifier, authMessage, proof ?? "")) return false;
    // Throws where our signature does not convince the client.
    sasl.finalizeSession(session, `v=${serverSignature(verifier, authMessage)}`);
    return true;
  }

  it("gets in with the run's password and no other", async () => {
    const { password, auth } = makeClientSecret(randomBytes);
    if (auth.method !== "scram-sha-256") throw new Error("not SCRAM");
    expect(await exchange(password, auth)).toBe(true);
    expect(await exchange(`${password}x`, auth)).toBe(false);
    expect(await exchange(makeClientSecret(randomBytes).password, auth)).toBe(false);
  });

  it("is within the schema of the stream's open message, and says nothing of the password", () => {
    const { password, auth } = makeClientSecret(randomBytes);
    expect(ClientAuth.parse(auth)).toEqual(auth);
    expect(JSON.stringify(auth)).not.toContain(password);
    expect(password).toMatch(/^[\w-]{32}$/);
  });
});

describe("a real PostgreSQL", () => {
  let server: PostgresServer | undefined;
  afterAll(async () => {
    await server?.stop();
  });

  it("takes the verifier in its own form and lets the password in", async () => {
    server = await startPostgres();
    const { host, port, superuser } = server;
    const { password, auth } = makeClientSecret(randomBytes);
    if (auth.method !== "scram-sha-256") throw new Error("not SCRAM");
    const admin = new Client({ host, port, database: "postgres", ...superuser });
    await admin.connect();
    await admin.query(
      `CREATE ROLE run LOGIN PASSWORD 'SCRAM-SHA-256$${auth.iterations}:${auth.salt}$${auth.stored_key}:${auth.server_key}'`,
    );
    await admin.end();
    const client = new Client({ host, port, database: "postgres", user: "run", password });
    await client.connect();
    expect((await client.query("select current_user as me")).rows).toEqual([{ me: "run" }]);
    await client.end();
    const other = new Client({ host, port, database: "postgres", user: "run", password: `${password}x` });
    await expect(other.connect()).rejects.toMatchObject({ code: "28P01" });
  });
});
