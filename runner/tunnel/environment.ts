/**
 * The environment in which a command finds its targets: libpq's variables for the first PostgreSQL target, and for
 * every target SALLYPORT_<TARGET>_…; pure.
 */
import { err, ok, type Result } from "../../protocol/result.ts";
import type { TargetAddress } from "./target.ts";

/** Variables of libpq that would lead elsewhere or ask the loopback connection for TLS: removed. */
export const REMOVED = [
  "PGHOSTADDR",
  "PGSERVICE",
  "PGSERVICEFILE",
  "PGPASSFILE",
  "PGREQUIRESSL",
  "PGSSLNEGOTIATION",
  "PGCHANNELBINDING",
  "PGGSSENCMODE",
];

/** `orders-db` → `ORDERS_DB`. */
export const variableName = (target: string): string => target.toUpperCase().replaceAll(/[^A-Z0-9]/g, "_");

/** Two targets whose variables would be the same. The error names them. */
export function checkNames(targets: readonly string[]): Result<void, string> {
  const seen = new Map<string, string>();
  for (const target of targets) {
    const name = variableName(target);
    const other = seen.get(name);
    if (other === target) return err(`${target} is named twice`);
    if (other !== undefined) return err(`${other} and ${target} would both be SALLYPORT_${name}_…: open them in separate runs`);
    seen.set(name, target);
  }
  return ok(undefined);
}

/** The variables to set; the values of an agent or a gateway are taken as they are, control characters apart. */
export function environmentOf(addresses: readonly TargetAddress[]): Record<string, string> {
  const variables: Record<string, string> = {};
  let first = true;
  for (const address of addresses) {
    const prefix = `SALLYPORT_${variableName(address.target)}`;
    Object.assign(variables, {
      [`${prefix}_HOST`]: address.host,
      [`${prefix}_PORT`]: String(address.port),
      [`${prefix}_USER`]: address.user,
      [`${prefix}_PASSWORD`]: address.password,
      ...(address.database === undefined ? {} : { [`${prefix}_DATABASE`]: address.database }),
      [`${prefix}_URL`]: urlOf(address),
      [`${prefix}_SESSION`]: address.session,
    });
    if (address.protocol !== "postgres" || !first) continue;
    first = false;
    Object.assign(variables, {
      PGHOST: address.host,
      PGPORT: String(address.port),
      PGUSER: address.user,
      PGPASSWORD: address.password,
      ...(address.database === undefined ? {} : { PGDATABASE: address.database }),
      // The listener is loopback and the way from it is the gateway's TLS: there is nothing between to encrypt for.
      PGSSLMODE: "disable",
      DATABASE_URL: urlOf(address),
    });
  }
  return variables;
}

/** RFC 3986; for PostgreSQL in libpq's form. */
function urlOf({ protocol, host, port, user, password, database }: TargetAddress): string {
  if (protocol !== "postgres") return `tcp://${host}:${port}`;
  const path = database === undefined ? "" : `/${encodeURIComponent(database)}`;
  return `postgresql://${encodeURIComponent(user)}:${encodeURIComponent(password)}@${host}:${port}${path}?sslmode=disable`;
}

/** `inherited` with the variables set and what would contradict them removed. */
export function childEnvironment(inherited: NodeJS.ProcessEnv, variables: Record<string, string>): NodeJS.ProcessEnv {
  const env = { ...inherited };
  if (variables["PGHOST"] !== undefined) {
    for (const name of [...REMOVED, "PGDATABASE"]) delete env[name];
  }
  return { ...env, ...variables };
}
