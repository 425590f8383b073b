import { readFileSync } from "node:fs";
import { startWorld } from "./world.ts";
const w = await startWorld(); const a = await w.startAgent("one");
const rss = () => readFileSync(`/proc/${a.child.pid}/status`, "utf8").match(/VmRSS:\s+(\d+)/)![1]! + " hwm " + readFileSync(`/proc/${a.child.pid}/status`, "utf8").match(/VmHWM:\s+(\d+)/)![1]!;
console.log("idle", rss());
console.log((await w.sallyport(["run", "orders-db", "--", "psql", "-XAtc", "select 1"])).stdout, rss());
console.log((await w.sallyport(["run", "orders-db", "--", "sh", "-c", "psql -XAtc \"copy (select repeat('x',1000) from generate_series(1,100000)) to stdout\" | wc -c"])).stdout, rss());
console.log((await w.sallyport(["run", "orders-db", "--", "sh", "-c", "psql -XAtc \"copy (select repeat('x',1000) from generate_series(1,400000)) to stdout\" | wc -c"])).stdout, rss());
await w.stop(); process.exit();
