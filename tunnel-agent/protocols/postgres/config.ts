/**
 * A Postgres target's own keys in agent.yaml. Strict: an unknown key is an error that says where. Defaults are the
 * safe ones: TLS with the certificate and name verified, SCRAM only, a pinned search_path.
 */
import { isIP } from "node:net";
import * as z from "zod";
import { MAX_SQL_BYTES } from "../../../protocol/limits.ts";
import { CredentialReference } from "../../credentials/reference.ts";

export type TargetAddress =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

const DEFAULT_PORT = 5432;
const ADDRESS = "an address is written host, host:port, [ipv6]:port, or unix:/path/to/the/socket";

/** `host`, `host:port`, `[ipv6]:port`, `unix:/path`. Null when it is none of them. */
export function parseAddress(text: string): TargetAddress | null {
  if (text.startsWith("unix:")) return text.startsWith("unix:/") ? { kind: "unix", path: text.slice("unix:".length) } : null;
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))(?::([0-9]{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3] ?? DEFAULT_PORT);
  if (host === undefined || port < 1 || port > 65_535 || (match?.[1] !== undefined && isIP(host) !== 6)) return null;
  return { kind: "tcp", host, port };
}

/** Addresses whose bytes leave no machine. */
export function isLocal(address: TargetAddress): boolean {
  return (
    address.kind === "unix" ||
    address.host === "localhost" ||
    address.host === "::1" ||
    (isIP(address.host) === 4 && address.host.startsWith("127."))
  );
}

const name = z.string().min(1).max(63);
const seconds = (most: number) => z.number().positive().max(most);
const bytes = (most: number) => z.number().int().positive().max(most);
const MiB = 1024 * 1024;
const DAY_S = 24 * 3600;

export const Limits = z.strictObject({
  /** Text of one statement, bytes. */
  statement_bytes: bytes(MAX_SQL_BYTES).default(MAX_SQL_BYTES),
  /** One Bind with all its parameters, bytes; it is held in memory to be read whole. */
  bind_bytes: bytes(256 * MiB).default(16 * MiB),
  /** One row, bytes (PG-56). */
  row_bytes: bytes(1024 * MiB).default(64 * MiB),
  /** Everything that one command returns, bytes; none by default: it streams. */
  result_bytes: bytes(Number.MAX_SAFE_INTEGER).optional(),
  /** Everything that one COPY FROM STDIN takes, bytes; none by default. */
  copy_in_bytes: bytes(Number.MAX_SAFE_INTEGER).optional(),
  /** How long one statement may run; then it is cancelled (PG-51). */
  statement_s: seconds(DAY_S).default(3600),
  /** How long a transaction may stay open with nothing running; then the connection ends. */
  idle_in_transaction_s: seconds(DAY_S).default(600),
  /** How long a pipeline may stay without its Sync after its first message; then the connection ends (PG-50). */
  unsynced_s: seconds(DAY_S).default(900),
  /** How long connecting and logging in at the target may take. */
  connect_s: seconds(120).default(10),
});
export type Limits = z.infer<typeof Limits>;

/** How much of each result is recorded for the replay. */
const RecordResults = z.enum(["none", "sample", "full"]);
export type RecordResults = z.infer<typeof RecordResults>;

/** A second login, for classified columns that the first may not read. */
const ClassifiedLoginConfig = z.strictObject({
  user: name,
  /** By reference, as the first login's. */
  password: CredentialReference.optional(),
});

export const PostgresTargetConfig = z
  .strictObject({
    /** `host:port`, or `unix:/path/to/socket`. */
    address: z.string().refine((text) => parseAddress(text) !== null, ADDRESS),
    database: name,
    user: name,
    /** By reference (`env:`, `file:`, `exec:`). Left out: the target must let this user in without one. */
    password: CredentialReference.optional(),
    /** Makes guarantee A possible: statements that are proven to be bare projections of classified columns run as this login. */
    classified_login: ClassifiedLoginConfig.optional(),
    /** As libpq's sslmode, less its guessing modes. `disable` sends everything in the clear. */
    tls: z.enum(["verify-full", "verify-ca", "require", "disable"]).default("verify-full"),
    /** `tls: disable` on an address that is not this machine has to be asked for by name. */
    allow_plaintext: z.boolean().default(false),
    /** Certificate authorities, PEM; default: the system's. */
    ca: z.string().min(1).optional(),
    /** Name in the certificate, where it is not the address's host. */
    server_name: z.string().min(1).max(253).optional(),
    /** What the target may ask for; default SCRAM where there is a password, nothing where there is none (PG-05). */
    auth: z
      .array(z.enum(["scram-sha-256", "md5", "cleartext", "none"]))
      .min(1)
      .optional(),
    /** Schemas in which unqualified names are looked up; pg_catalog always comes first. */
    search_path: z.array(name).max(16).default(["public"]),
    /** The newest protocol to ask the target for; 3.0 for proxies that cannot negotiate. */
    max_protocol: z.enum(["3.0", "3.2"]).default("3.2"),
    /** `strict` refuses what cannot be proven to hide classified columns; `best-effort` masks what it recognises and protects nothing. */
    masking: z.enum(["strict", "best-effort"]).default("strict"),
    /** Of each result, as the client saw it: nothing, a sample (50 rows or 64 KiB), or all of it. */
    record_results: RecordResults.default("sample"),
    limits: Limits.prefault({}),
  })
  .superRefine((config, context) => {
    const address = parseAddress(config.address);
    if (config.tls === "disable" && address !== null && !isLocal(address) && !config.allow_plaintext) {
      context.addIssue({
        code: "custom",
        path: ["tls"],
        message:
          "disable sends the password's proof and all data in the clear over the network: use verify-full, or write allow_plaintext: true",
      });
    }
    if (address?.kind === "unix" && config.tls !== "disable") {
      context.addIssue({ code: "custom", path: ["tls"], message: "a unix socket has no TLS: write tls: disable" });
    }
    if (config.classified_login?.user === config.user) {
      context.addIssue({
        code: "custom",
        path: ["classified_login", "user"],
        message: `must be another login than ${JSON.stringify(config.user)}: the ordinary one has no right to classified columns`,
      });
    }
    if (config.password === undefined && config.auth?.some((method) => method !== "none")) {
      context.addIssue({ code: "custom", path: ["auth"], message: "these methods need a password: name one by reference" });
    }
  });
export type PostgresTargetConfig = z.infer<typeof PostgresTargetConfig>;
