/** The Node door survives a bundler: one ESM file with cedar_wasm_bg.wasm beside it decides, away from node_modules. */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, it } from "vitest";
import { bundle, READ } from "./bundles.ts";

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "sallyport-policy-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

async function bundleInto(name: string): Promise<string> {
  const entry = `import { compileBundle } from ${JSON.stringify(join(import.meta.dirname, "../../../policy/cedar.node.ts"))};
const compiled = compileBundle(${JSON.stringify(bundle(READ))});
process.stdout.write(compiled.ok ? [...compiled.value.policies.keys()].join(" ") : JSON.stringify(compiled.error));`;
  const outfile = join(directory, name);
  await build({
    stdin: { contents: entry, resolveDir: import.meta.dirname, loader: "ts" },
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    // `yaml` is CommonJS for Node and asks for built-in modules by require().
    banner: { js: 'import { createRequire as requireFrom } from "node:module"; const require = requireFrom(import.meta.url);' },
    logLevel: "silent",
  });
  return outfile;
}

it("decides with the wasm file beside the bundle, and not without it", async () => {
  const file = await bundleInto("decide.mjs");
  expect(() => execFileSync(process.execPath, [file], { cwd: directory, stdio: "pipe" })).toThrow(/cedar-wasm|cedar_wasm/);
  const web = join(dirname(createRequire(import.meta.url).resolve("@cedar-policy/cedar-wasm/nodejs")), "..", "web");
  copyFileSync(join(web, "cedar_wasm_bg.wasm"), join(directory, "cedar_wasm_bg.wasm"));
  expect(execFileSync(process.execPath, [file], { cwd: directory, encoding: "utf8" })).toBe(
    "identity/orders-ci#grant-1 identity/orders-ci#grant-1/implied identity/mira#gateway",
  );
});
