/** A small shop with classified columns on a real server, and gateways in front of it. */
import { startPostgres, type PostgresServer } from "../../../support/postgres.ts";
import { connectTo } from "../../../support/database.ts";
import type { Message } from "../raw-client.ts";
import { startGateway, type Gateway, type GatewayOptions } from "../support.ts";
import { masked, rulesOf } from "./rules.ts";

/** Nothing of it may reach a client. */
export const SENTINELS = /sentinel|49291000|987-65/;

export const RULES = `
classes:
  email: { columns: ["orders-db/public.users.email"], mask: redact }
  card: { columns: ["orders-db/public.users.card"], mask: { partial: { last: 4 } } }
  ssn: { columns: ["orders-db/public.users.ssn"], mask: "null" }
  salary: { columns: ["orders-db/public.users.salary"], mask: zero }
`;

const SETUP = `
  create table users (id int primary key, name text not null, email text not null unique, card text, ssn text, salary int8 not null);
  insert into users select i, 'name ' || i, 'u' || i || '@sentinel.example', '4929100000' || (100000 + i), '987-65-4' || (100 + i), 7000 + i
    from generate_series(1, 5) i;
  create table orders (id int primary key, user_id int references users (id), total numeric);
  insert into orders select i, 1 + i % 5, i * 10 from generate_series(1, 20) i;
  create view mails as select id, email as address from users;
  create view names as select id, name from users;
  create schema other;
  create table other.users (id int, email text);
  insert into other.users values (1, 'free');
  create function shout() returns trigger language plpgsql as $$
    begin raise notice 'was %', old.email; raise warning sqlstate '01P01' using message = old.email; return new; end $$;
  create trigger shout before update on users for each row execute function shout();
`;

export interface World {
  readonly postgres: PostgresServer;
  gateway(options?: GatewayOptions): Promise<Gateway>;
  direct(sql: string): Promise<void>;
  stop(): Promise<void>;
}

export async function startWorld(): Promise<World> {
  const postgres = await startPostgres();
  const gateways: Gateway[] = [];
  const direct = async (sql: string): Promise<void> => {
    const client = await connectTo(postgres, "postgres");
    await client.query(sql);
    await client.end();
  };
  await direct(SETUP);
  return {
    postgres,
    direct,
    async gateway(options = {}) {
      const gateway = await startGateway({ postgres, rule: masked, masking: rulesOf(RULES), ...options });
      gateways.push(gateway);
      return gateway;
    },
    async stop() {
      for (const gateway of gateways) await gateway.stop();
      await postgres.stop();
    },
  };
}

/** Every cell of every row as text; NULL is null. */
export function rowsOf(messages: readonly Message[]): (string | null)[][] {
  return messages
    .filter(({ type }) => type === "D")
    .map(({ body }) => {
      const row: (string | null)[] = [];
      let at = 2;
      for (let i = body.readUInt16BE(0); i > 0; i--) {
        const length = body.readInt32BE(at);
        at += 4;
        row.push(length < 0 ? null : body.toString("utf8", at, at + length));
        at += Math.max(length, 0);
      }
      return row;
    });
}

/** All that the client got, as text. */
export const heard = (messages: readonly Message[]): string => messages.map(({ body }) => body.toString("latin1")).join("\n");
