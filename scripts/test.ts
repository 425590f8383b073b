/**
 * `npm test`: every test, by vitest's three projects (vitest.config.ts). Arguments go to vitest:
 * `npm test -- --project node`. The last line is `N passed, N failed` (`, N skipped`), alone.
 *
 * Tests that need a program which is not installed (psql, …) are skipped and counted as skipped;
 * with SALLYPORT_REQUIRE_ALL=1 (as .ci/run sets) its absence is a failure.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const directory = mkdtempSync(join(tmpdir(), "sallyport-test-"));
const report = join(directory, "report.json");
const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
const run = spawnSync(
  process.execPath,
  [vitest, "run", "--reporter=default", "--reporter=json", `--outputFile.json=${report}`, ...process.argv.slice(2)],
  {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
  },
);

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly testResults: readonly { readonly status: string; readonly assertionResults: readonly unknown[] }[];
}

let passed = 0;
let failed = 0;
let skipped = 0;
if (existsSync(report)) {
  const { numPassedTests, numFailedTests, numPendingTests, testResults } = JSON.parse(readFileSync(report, "utf8")) as Report;
  passed = numPassedTests;
  // A file that could not even be loaded fails without a failed test in it.
  failed = numFailedTests + testResults.filter((file) => file.status === "failed" && file.assertionResults.length === 0).length;
  skipped = numPendingTests;
}
rmSync(directory, { recursive: true, force: true });

const status = run.status ?? 1;
if (status !== 0 && failed === 0) failed = 1;
process.stdout.write(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}\n`);
process.exit(status);
