/** Direct connections to a test's PostgreSQL, past the gateway, to set up and to see what really happened. */
import { Client } from "pg";
import type { PostgresServer } from "../../dev/postgres.ts";

export async function connectTo(postgres: PostgresServer, database: string): Promise<Client> {
  const client = new Client({ host: postgres.host, port: postgres.port, database, ...postgres.superuser });
  await client.connect();
  return client;
}
