/** Direct connections to a test's PostgreSQL, past the gateway, to set up and to see what really happened. */
import pg from "pg";
import type { PostgresServer } from "../../dev/postgres.ts";

export async function connectTo(postgres: PostgresServer, database: string): Promise<pg.Client> {
  const client = new pg.Client({ host: postgres.host, port: postgres.port, database, ...postgres.superuser });
  await client.connect();
  return client;
}
