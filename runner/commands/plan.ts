/** `sallyport plan TARGET -f FILE` */
import { readFileSync } from "node:fs";
import { Option, type Command } from "commander";
import { MAX_PLAN_BYTES } from "../../protocol/limits.ts";
import { Plan } from "../../protocol/plan.ts";
import { CommandFailed, EXIT } from "../exit.ts";
import type { GatewayClient } from "../gateway.ts";
import { connectGateway, withGateway, type GatewayOptions } from "../options.ts";
import { adviceOn, printPlan, statusOf } from "../plan.ts";
import { json, note, out } from "../print.ts";

interface PlanOptions extends GatewayOptions {
  readonly file: string;
  readonly wait?: boolean;
}

const HELP = `
Every statement is decided as if it ran now; none runs. The plan is recorded. Where statements need an approval, one is opened
for all of them, with their exact texts. Then, once, by the same identity and pipeline:
  sallyport run --plan ID TARGET -- psql -f migration.sql
runs those statements in their order and nothing else. A file may hold SQL alone: no \\commands of psql, no data of COPY.

Examples:
  sallyport plan orders-db -f migration.sql
  sallyport plan orders-db -f migration.sql --wait && …
  pg_dump --schema-only … | sallyport plan orders-db -f -

Exit status: 0 it may be run, 3 an approval is open, 4 refused. With --wait: 0 approved, 4 refused or expired; interrupted, 3: the
approval stays open. Otherwise as every command: 64 usage, 69 unreachable, 77 refused.`;

/** Between two looks at an approval, ms. */
const WAIT = { first: 1_000, most: 10_000 };

export function declare(command: Command): void {
  withGateway(command)
    .argument("<target>", "where it would run")
    .addOption(new Option("-f, --file <file>", "the SQL; - for stdin").makeOptionMandatory())
    .option("--wait", "wait for the approval's outcome")
    .addHelpText("after", HELP)
    .action(async (target: string, options: PlanOptions) => {
      const text = readText(options.file);
      const gateway = connectGateway(options);
      const path = `/v1/targets/${encodeURIComponent(target)}/plans`;
      const made = await gateway.request(path, Plan, { method: "POST", body: { text } });
      const file = options.file === "-" ? undefined : options.file;
      if (options.json !== true) out(`${printPlan(made)}\n`);
      const plan = options.wait === true && made.state === "pending" ? await waitFor(gateway, made, file) : made;
      if (options.json === true) json(plan);
      else note(adviceOn(plan, file));
      process.exitCode = statusOf(plan);
    });
}

/** @throws CommandFailed */
function readText(file: string): string {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file === "-" ? 0 : file);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown error";
    throw new CommandFailed(EXIT.usage, `${file === "-" ? "stdin" : file} cannot be read: ${code}`);
  }
  if (bytes.length > MAX_PLAN_BYTES) {
    throw new CommandFailed(EXIT.failed, `${file} is ${bytes.length} bytes, and a plan at most ${MAX_PLAN_BYTES}: cut it into several`);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new CommandFailed(EXIT.usage, `${file} is not UTF-8: convert it first`);
  }
}

/** Looks until it is settled. An interrupt ends the waiting, not the approval. */
async function waitFor(gateway: GatewayClient, made: Plan, file: string | undefined): Promise<Plan> {
  note(adviceOn(made, file));
  const stopped = new AbortController();
  const stop = (): void => stopped.abort();
  process.once("SIGINT", stop).once("SIGTERM", stop);
  let plan = made;
  for (let pause = WAIT.first; plan.state === "pending"; pause = Math.min(WAIT.most, pause * 1.5)) {
    await sleep(pause, stopped.signal);
    if (stopped.signal.aborted) break;
    plan = await gateway.request(`/v1/plans/${made.id}`, Plan);
  }
  process.off("SIGINT", stop).off("SIGTERM", stop);
  return plan;
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
    if (signal.aborted) done();
  });
}
