/**
 * Runs inside `sallyport run bench-db bench-raw -- node measure.ts`, as a pipeline's command would: the connector's
 * variables say where the gateway and the bare tunnel are. Prints progress on stderr and rows as JSON on stdout.
 */
import { connects, copyOut, pointSelects, type Endpoint, type Sizes, type Tools } from "./cases.ts";
import { memory } from "./memory.ts";
import { mediansOf, type Row } from "./rows.ts";

interface Plan {
  readonly tools: Tools;
  readonly sizes: Sizes;
  readonly rounds: number;
  readonly agentPid: number;
  readonly resultBytes: number;
  /** libpq's environment of the server itself. */
  readonly direct: Readonly<Record<string, string>>;
}

const plan = JSON.parse(process.env["SALLYPORT_BENCH_PLAN"] ?? "{}") as Plan;
const { tools, sizes, direct } = plan;
const own = (name: string): string => process.env[name] ?? "";

const endpoints: readonly Endpoint[] = [
  { path: "direct", env: direct },
  { path: "tunnel", env: { ...direct, PGHOST: own("SALLYPORT_BENCH_RAW_HOST"), PGPORT: own("SALLYPORT_BENCH_RAW_PORT") } },
  {
    path: "gateway",
    env: Object.fromEntries(["PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSSLMODE"].map((name) => [name, own(name)])),
  },
];

const rounds: Row[][] = [];
for (let round = 1; round <= plan.rounds; round += 1) {
  const rows: Row[] = [];
  for (const [name, measure] of [
    ["point selects", pointSelects],
    ["COPY out", copyOut],
    ["connects", connects],
  ] as const) {
    for (const endpoint of endpoints) {
      process.stderr.write(`round ${round}/${plan.rounds}: ${name}, ${endpoint.path}\n`);
      rows.push(...(await measure(tools, endpoint, sizes)));
    }
  }
  rounds.push(rows);
}
const all = mediansOf(rounds);
for (const endpoint of endpoints.slice(1)) {
  process.stderr.write(`memory, ${endpoint.path}\n`);
  all.push(...(await memory(tools, endpoint, plan.agentPid, plan.resultBytes)));
}
process.stdout.write(`${JSON.stringify(all)}\n`);
