/**
 * Builds the Worker as `wrangler deploy` would (`--dry-run`) and prints its gzipped size, which must stay
 * below the free plan's 3 MB (3,000,000 bytes here, the stricter reading).
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const LIMIT_BYTES = 3_000_000;

const root = join(import.meta.dirname, "..");
const out = mkdtempSync(join(tmpdir(), "sallyport-bundle-"));
const wrangler = join(root, "node_modules", "wrangler", "bin", "wrangler.js");
const run = spawnSync(process.execPath, [wrangler, "deploy", "--dry-run", "--outdir", out], {
  cwd: root,
  stdio: ["ignore", "inherit", "inherit"],
});
if (run.status !== 0) {
  rmSync(out, { recursive: true, force: true });
  process.exit(run.status ?? 1);
}
let bytes = 0;
for (const file of readdirSync(out)) if (/\.(js|wasm)$/.test(file)) bytes += gzipSync(readFileSync(join(out, file))).length;
rmSync(out, { recursive: true, force: true });
process.stdout.write(`Worker bundle: ${bytes.toLocaleString("en")} bytes gzipped, limit ${LIMIT_BYTES.toLocaleString("en")}\n`);
process.exit(bytes < LIMIT_BYTES ? 0 : 1);
