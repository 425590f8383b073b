/**
 * What parsing SQL costs the agent's process: `node bench/parser.ts`, once as it is and once with the agent's V8 flags.
 * Each prints the highest resident memory while 3,000 different statements are analysed, and the time of one analysis
 * afterwards. The figures of docs/decisions/0004 are from here.
 */
import { spawnSync } from "node:child_process";
import { V8_FLAGS } from "../tunnel-agent/engine.ts";
import { loadSqlParser } from "../tunnel-agent/protocols/postgres/sql/analyse.ts";

const statement = (id: number): string => `SELECT id, payload FROM points WHERE id = ${id}`;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function measure(): Promise<string> {
  const analyse = await loadSqlParser();
  let peak = 0;
  const sampling = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss());
  }, 5);
  for (let id = 0; id < 3000; id += 1) {
    analyse(statement(id));
    // The compiler works beside us: leave it, and the sampling, some time.
    if (id % 100 === 99) await pause(20);
  }
  await pause(1000);
  clearInterval(sampling);
  const started = performance.now();
  for (let id = 3000; id < 5000; id += 1) analyse(statement(id));
  return `peak ${Math.round(peak / 1e6)} MB, ${((performance.now() - started) / 2).toFixed(0)} µs an analysis`;
}

if (process.argv[2] === "measure") process.stdout.write(`${await measure()}\n`);
else {
  for (const flags of [[], [...V8_FLAGS]]) {
    process.stdout.write(`${flags.join(" ") || "no flags"}: `);
    spawnSync(process.execPath, [...flags, import.meta.filename, "measure"], { stdio: ["ignore", "inherit", "inherit"] });
  }
}
