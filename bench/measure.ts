/**
 * Runs inside `sallyport run bench-db bench-raw -- node measure.ts`, as a pipeline's command would: the connector's
 * variables say where the gateway and the bare tunnel are. Prints progress on stderr and rows as JSON on stdout.
 */
import { connects, copyOut, pointSelects, type Endpoint, type Sizes, type Tools } from "./cases.ts";
import { maskedPoint, maskedRows } from "./masked.ts";
import { memory } from "./memory.ts";
import { votes, type Voting } from "./votes.ts";
import { mediansOf, type Row } from "./rows.ts";

interface Plan {
  readonly tools: Tools;
  readonly sizes: Sizes;
  readonly rounds: number;
  readonly agentPid: number;
  readonly resultBytes: number;
  /** libpq's environment of the server itself. */
  readonly direct: Readonly<Record<string, string>>;
  readonly voting: Voting;
}

const plan = JSON.parse(process.env["SALLYPORT_BENCH_PLAN"] ?? "{}") as Plan;
const { tools, sizes, direct } = plan;
const own = (name: string): string => process.env[name] ?? "";

/** libpq's environment of a target that is not the first. */
const ofTarget = (name: string): Readonly<Record<string, string>> => ({
  PGHOST: own(`SALLYPORT_${name}_HOST`),
  PGPORT: own(`SALLYPORT_${name}_PORT`),
  PGUSER: own(`SALLYPORT_${name}_USER`),
  PGPASSWORD: own(`SALLYPORT_${name}_PASSWORD`),
  PGDATABASE: own(`SALLYPORT_${name}_DATABASE`),
  PGSSLMODE: "disable",
});
const endpoints: readonly Endpoint[] = [
  { path: "direct", env: direct },
  { path: "tunnel", env: { ...direct, PGHOST: own("SALLYPORT_BENCH_RAW_HOST"), PGPORT: own("SALLYPORT_BENCH_RAW_PORT") } },
  {
    path: "gateway",
    env: Object.fromEntries(["PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSSLMODE"].map((name) => [name, own(name)])),
  },
];
/** The same database by a target that has data classes. */
const classified: readonly Endpoint[] = endpoints.map((endpoint) =>
  endpoint.path === "gateway" ? { path: "gateway", env: ofTarget("BENCH_MASKED") } : endpoint,
);

const rounds: Row[][] = [];
for (let round = 1; round <= plan.rounds; round += 1) {
  const rows: Row[] = [];
  for (const [name, measure, ways] of [
    ["point selects", pointSelects, endpoints],
    ["COPY out", copyOut, endpoints],
    ["connects", connects, endpoints],
    ["masked rows", maskedRows, classified],
    ["masked point select", maskedPoint, classified],
  ] as const) {
    for (const endpoint of ways) {
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
process.stderr.write("votes\n");
all.push(...(await votes(plan.voting, ofTarget("BENCH_MASKED"))));
process.stdout.write(`${JSON.stringify(all)}\n`);
