/**
 * `npm run demo [-- --keep]`: everything on this machine, on loopback — the real Worker in workerd, a local issuer with
 * GitHub-shaped tokens, an agent, a PostgreSQL with a small shop — and a CI job played against it, told step by step.
 * Exits 1 and names the step when one does not go as told.
 */
import { spawn, spawnSync } from "node:child_process";
import { createWriteStream } from "node:fs";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { startDevGateway } from "../gateway.ts";
import { serveActionsEndpoint } from "../issuer/actions.ts";
import { startPostgres } from "../postgres.ts";
import { untilToldToEnd } from "../signals.ts";
import { startSlack } from "../slack.ts";
import { mintDevToken } from "../token.ts";
import { bad, bold, command, dim, good, heading, output, say, StepFailed } from "./narrate.ts";

const root = join(import.meta.dirname, "..", "..");
const CLI = join(root, "runner", "main.ts");
const keep = process.argv.includes("--keep");
const unknown = process.argv.slice(2).filter((argument) => argument !== "--keep");
if (unknown.length > 0) {
  process.stderr.write(
    `unknown option ${unknown.join(" ")}\nusage: npm run demo [-- --keep]\n  --keep  leave everything running afterwards, until Ctrl-C\n`,
  );
  process.exit(64);
}

const JOB = [
  "repository_id=741852963",
  "repository_owner_id=1597534",
  "repository=shop/orders",
  "repository_owner=shop",
  "environment=production",
  "ref=refs/heads/main",
  "workflow=deploy",
  "actor=grace",
];
/** As examples/shop/sallyport declares her. */
const DANA = { team: "T0SHOP001", user: "U0DANA001" };
const havePsql = spawnSync("psql", ["--version"]).status === 0;
const cleanups: (() => Promise<void>)[] = [];

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function run(args: readonly string[], env: Readonly<Record<string, string>>): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => void (stdout += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => void (stderr += chunk.toString()));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}

function expectThat(condition: boolean, told: string, ran: Ran): void {
  if (condition) return good(told);
  output(ran.stdout + ran.stderr);
  throw new StepFailed(`expected: ${told}`);
}

/** What a CI job would type, and what really runs: psql, or the bundled client where psql is not installed. */
const client = (sql: string): string[] =>
  havePsql ? ["psql", "-X", "-c", sql] : [process.execPath, join(root, "dev", "demo", "client.ts"), "-c", sql];

async function demo(): Promise<void> {
  process.stdout.write(`${bold("Sallyport demo")}: a CI job uses a database it has no password for.\n`);
  const directory = await mkdtemp(join(tmpdir(), "sallyport-demo-"));
  cleanups.push(() => rm(directory, { recursive: true, force: true }));

  heading("Boot everything on this machine");
  const postgres = await startPostgres();
  cleanups.push(() => postgres.stop());
  const password = randomBytes(18).toString("base64url");
  await createShop(postgres.port, postgres.superuser, password);
  good(`PostgreSQL ${postgres.version} with a small shop database, on 127.0.0.1:${postgres.port}`);
  await cp(join(root, "examples", "shop"), directory, { recursive: true });
  const agentYaml = join(directory, "agent.yaml");
  await writeFile(agentYaml, (await readFile(agentYaml, "utf8")).replace("127.0.0.1:5432", `127.0.0.1:${postgres.port}`));
  const agentLog = join(directory, "agent.log");
  const slack = await startSlack({ team: DANA.team });
  cleanups.push(() => slack.stop());
  const gateway = await startDevGateway({
    directory,
    port: 0,
    env: { ...process.env, SHOP_DB_PASSWORD: password, SALLYPORT_SLACK_API: slack.api, SLACK_DBA: slack.secret },
    agentLog: createWriteStream(agentLog),
    version: "demo",
  });
  cleanups.push(() => gateway.stop());
  good(`the gateway (the real Worker in workerd, with Durable Objects, D1 and R2) at ${gateway.origin}`);
  good(`bundle ${gateway.bundle.version} published: identity orders-ci may read the shop and write orders`);
  good("an agent beside the database; it alone knows the database's password");
  good("a stand-in for Slack, where dana of the group dba is asked for her consent");

  heading("A GitHub Actions job starts");
  const actions = await serveActionsEndpoint((audience) =>
    mintDevToken({ directory, provider: "github", claims: JOB, audience, now: Date.now() }),
  );
  cleanups.push(() => actions.stop());
  const job = { ...actions.env, SALLYPORT_GATEWAY: gateway.origin, SALLYPORT_AUDIENCE: "https://gate.shop.example", HOME: directory };
  say("It is shop/orders, environment production, branch main. It has no secrets at all,");
  say(`only GitHub's token endpoint in its environment: ${dim(job.ACTIONS_ID_TOKEN_REQUEST_URL)}`);

  heading("It reads the database with the tool it always used");
  const select =
    "SELECT o.id, c.name, p.title, o.quantity, o.status FROM orders o JOIN customers c ON c.id = o.customer_id JOIN products p ON p.id = o.product_id ORDER BY o.id";
  command(`sallyport run orders-db -- psql -c '${select}'`);
  const selected = await run([CLI, "run", "orders-db", "--", ...client(select)], job);
  output(selected.stdout);
  expectThat(
    selected.code === 0 && selected.stdout.includes("Difference engine"),
    "allowed, and recorded before the database saw it",
    selected,
  );

  heading("It reads what it may not see");
  const people = "SELECT name, email, phone, card FROM customers ORDER BY id";
  command(`sallyport run orders-db -- psql -c '${people}'`);
  const masked = await run([CLI, "run", "orders-db", "--", ...client(people)], job);
  output(masked.stdout);
  expectThat(
    masked.code === 0 && masked.stdout.includes("Ada Lovelace") && !/ada@|7946|4111 1111/.test(masked.stdout),
    "masked on the way: addresses keep their domain, cards their last four digits (masking.yaml)",
    masked,
  );
  const prying = "SELECT name FROM customers WHERE card LIKE '4111%'";
  command(`sallyport run orders-db -- psql -c "${prying}"`);
  const pried = await run([CLI, "run", "orders-db", "--", ...client(prying)], job);
  output(pried.stderr);
  expectThat(pried.code === 1 && !pried.stdout.includes("Ada"), "refused: a question about a masked column is an answer too", pried);

  heading("It changes a table: somebody has to consent");
  const alter = "ALTER TABLE orders ADD COLUMN note text";
  command(`sallyport run orders-db -- psql -c '${alter}'`);
  const altering = run([CLI, "run", "orders-db", "--", ...client(alter)], job);
  const message = await slack.message(({ text }) => text !== "", 30_000);
  say("psql waits, and Slack shows dana the whole statement, who asks, and two buttons:");
  output([message.text, ...commandShown(message.blocks)].join("\n"));
  const pressed = await slack.press(gateway.origin, message, "approve", DANA);
  const altered = await altering;
  output(altered.stderr + altered.stdout);
  expectThat(
    pressed === 200 && altered.code === 0 && altered.stderr.includes("held") && altered.stdout.includes("ALTER TABLE"),
    "held in the live session, approved by dana, run: the job noticed nothing but the time",
    altered,
  );

  heading("It tries to destroy the database");
  command("sallyport run orders-db -- psql -c 'DROP DATABASE shop'");
  const dropped = await run([CLI, "run", "orders-db", "--", ...client("DROP DATABASE shop")], job);
  output(dropped.stderr);
  expectThat(
    dropped.code === 1 && /no-destruction/.test(dropped.stderr),
    "refused by policy no-destruction: an ordinary SQL error, and psql's own exit status",
    dropped,
  );

  heading("It asks what it may do");
  command("sallyport can orders-db pg:delete public.orders");
  const can = await run([CLI, "can", "orders-db", "pg:delete", "public.orders"], job);
  output(can.stdout);
  expectThat(can.code === 1 && can.stdout.startsWith("no:"), "it may not delete orders, and learns so before it tries", can);

  heading("Afterwards, an auditor looks");
  const auditor = async () => ({
    SALLYPORT_GATEWAY: gateway.origin,
    HOME: directory,
    SALLYPORT_TOKEN: await mintDevToken({ directory, provider: "oidc", claims: ["sub=00u1ops"], now: Date.now() }),
  });
  command("sallyport sessions search 'drop database'");
  const found = await search(auditor);
  output(found.stdout);
  expectThat(/drop database/i.test(found.stdout), "who tried what, from which pipeline, and which policy refused it", found);
  const { stdout } = await run([CLI, "sessions", "search", "drop database", "--json"], await auditor());
  const session = (JSON.parse(stdout) as { rows: { session: string }[] }).rows[0]?.session ?? "";
  command(`sallyport sessions verify ${session}`);
  const verified = await run([CLI, "sessions", "verify", session], await auditor());
  output(verified.stdout + verified.stderr);
  expectThat(verified.code === 0, "the recording is whole: every event chained, sealed with the agent's key", verified);

  process.stdout.write(`\n${bold("All steps went as told.")}\n`);
  if (!keep) {
    say("Run it with --keep to leave everything up and try things yourself.");
    return;
  }
  heading("It is yours now (Ctrl-C ends it)");
  say("In another terminal, from this directory:");
  process.stdout.write(`
     export SALLYPORT_GATEWAY=${gateway.origin}
     export SALLYPORT_TOKEN=$(npm run --silent sallyport -- dev token --config ${directory} --provider github \\
       ${JOB.slice(0, 2)
         .map((claim) => `--claim ${claim}`)
         .join(" ")})
     npm run --silent sallyport -- run orders-db -- ${havePsql ? "psql" : "node dev/demo/client.ts -c 'select * from orders'"}

   As the gateway's operator (recordings, identities, bundles): a token per command,
     export SALLYPORT_TOKEN=$(npm run --silent sallyport -- dev token --config ${directory} --provider oidc --claim sub=00u1ops)
     npm run --silent sallyport -- sessions list

   As dana, who consents: let the job run an ALTER TABLE in the first terminal, and in another
     export SALLYPORT_GATEWAY=${gateway.origin}
     dana() { SALLYPORT_TOKEN=$(npm run --silent sallyport -- dev token --config ${directory} --provider oidc --claim sub=00u2dana) npm run --silent sallyport -- approvals "$@"; }
     dana list --state pending
     dana approve ID

   The bundle is in ${join(directory, "sallyport")}, the agent's log in ${agentLog}.
`);
  await untilToldToEnd();
}

/** What the message shows literally: the statement, and what its names depend on. */
function commandShown(blocks: readonly Readonly<Record<string, unknown>>[]): string[] {
  const texts: string[] = [];
  const walk = (value: unknown): void => {
    if (Array.isArray(value)) value.forEach(walk);
    else if (typeof value === "object" && value !== null) {
      if ("type" in value && value.type === "text" && "text" in value && typeof value.text === "string") texts.push(value.text);
      Object.values(value).forEach(walk);
    }
  };
  walk(blocks.filter((block) => block["type"] === "rich_text"));
  return texts.flatMap((text) => text.split("\n")).map((line) => `  ${line}`);
}

/** The record reaches the index within a second or so of the command. */
async function search(auditor: () => Promise<Record<string, string>>): Promise<Ran> {
  for (let tries = 0; ; tries += 1) {
    const found = await run([CLI, "sessions", "search", "drop database"], await auditor());
    const { stdout } = await run([CLI, "sessions", "list", "--json"], await auditor());
    const sealed =
      (JSON.parse(stdout === "" ? '{"rows":[]}' : stdout) as { rows: { sealed: boolean; commands: number }[] }).rows.filter(
        (row) => row.commands > 0 && !row.sealed,
      ).length === 0;
    if ((/drop database/i.test(found.stdout) && sealed) || tries >= 20) return found;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

async function createShop(port: number, superuser: { user: string; password: string }, password: string): Promise<void> {
  const connect = async (database: string): Promise<Client> => {
    const client = new Client({ host: "127.0.0.1", port, database, ...superuser });
    await client.connect();
    return client;
  };
  const admin = await connect("postgres");
  await admin.query("CREATE DATABASE shop");
  await admin.query(`CREATE ROLE sallyport LOGIN PASSWORD '${password}'`);
  await admin.end();
  const shop = await connect("shop");
  await shop.query(await readFile(join(root, "examples", "shop", "shop.sql"), "utf8"));
  await shop.query("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO sallyport");
  // Only a table's owner may alter it.
  await shop.query("ALTER TABLE orders OWNER TO sallyport");
  await shop.end();
}

let status = 0;
try {
  await demo();
} catch (error) {
  status = 1;
  bad(
    error instanceof StepFailed
      ? error.message
      : `the demo could not go on: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
  );
}
for (const cleanup of cleanups.toReversed()) await cleanup().catch(() => undefined);
process.exit(status);
