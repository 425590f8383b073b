/**
 * The local OIDC issuer of `sallyport dev`: one signing key kept in the state directory (0600), a loopback
 * server that publishes its public half, and tokens with a provider's own claim set. It stands in for the
 * providers' issuers on a machine that cannot reach them; a deployed gateway never trusts it.
 */
import { exportJWK, generateKeyPair, importJWK, SignJWT, type JWK, type JWTPayload } from "jose";
import { randomUUID } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname } from "node:path";

const ALGORITHM = "RS256";

interface KeyFile {
  readonly kid: string;
  readonly privateJwk: JWK;
  readonly publicJwk: JWK;
}

/** Reads the key, or makes it on first use. */
export async function loadIssuerKey(file: string): Promise<KeyFile> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as KeyFile;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  const { privateKey, publicKey } = await generateKeyPair(ALGORITHM, { extractable: true });
  const kid = `dev-${randomUUID()}`;
  const publicJwk = { ...(await exportJWK(publicKey)), kid, alg: ALGORITHM, use: "sig" };
  const key: KeyFile = { kid, privateJwk: { ...(await exportJWK(privateKey)), kid, alg: ALGORITHM }, publicJwk };
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, JSON.stringify(key), { mode: 0o600 });
  return key;
}

/** `claims` are the whole payload but for `iat`, `nbf`, `exp`, `jti`, which default to now, now, now + 5 min, random. */
export async function signToken(key: KeyFile, claims: JWTPayload, now: number): Promise<string> {
  const iat = Math.floor(now / 1000);
  const payload: JWTPayload = { iat, nbf: iat, exp: iat + 300, jti: randomUUID(), ...claims };
  return new SignJWT(payload)
    .setProtectedHeader({ alg: ALGORITHM, kid: key.kid, typ: "JWT" })
    .sign(await importJWK(key.privateJwk, ALGORITHM));
}

export interface LocalIssuer {
  readonly origin: string;
  stop(): Promise<void>;
}

/** Publishes the key at `/jwks`, and discovery at `/.well-known/openid-configuration`, on a free loopback port. */
export async function serveIssuer(key: KeyFile): Promise<LocalIssuer> {
  let origin = "";
  const server: Server = createServer((request, response) => {
    const path = (request.url ?? "/").split("?")[0] ?? "/";
    const answer = (body: unknown) => response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
    if (path === "/jwks") return answer({ keys: [key.publicJwk] });
    if (path === "/.well-known/openid-configuration")
      return answer({ issuer: origin, jwks_uri: `${origin}/jwks`, id_token_signing_alg_values_supported: [ALGORITHM] });
    return response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    origin,
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
