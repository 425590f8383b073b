/**
 * Cedar in Node: `compileBundle` for the agent, the CLI and tests. Loads the module's web build and instantiates it
 * from the bytes of cedar_wasm_bg.wasm, once, at the first use: a process that never decides pays nothing.
 *
 * For a bundler: keep this file's code in ESM, bundle `@cedar-policy/cedar-wasm/web` as it is, and copy
 * `@cedar-policy/cedar-wasm/web/cedar_wasm_bg.wasm` next to the output file (or chunk) that this code lands in, which
 * is where it is looked for first. `yaml` is CommonJS for Node, so the output needs a `require` (esbuild: a banner
 * with `createRequire`). test/node/policy/bundled.test.ts does exactly this.
 */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as cedar from "@cedar-policy/cedar-wasm/web";
import { createPolicyCompiler } from "./index.ts";
import type { CedarModule } from "./cedar/module.ts";
import type { CompileBundle } from "./types.ts";

const WASM = "cedar_wasm_bg.wasm";

function wasmFile(): string {
  const beside = join(dirname(fileURLToPath(import.meta.url)), WASM);
  if (existsSync(beside)) return beside;
  // `require` may resolve only the package's nodejs build; the web build lies beside it with the same file.
  return join(dirname(createRequire(import.meta.url).resolve("@cedar-policy/cedar-wasm/nodejs")), "..", "web", WASM);
}

let loaded: CedarModule | undefined;

/** The module, instantiated. Throws when the file is missing: an installation that is not whole. */
export function loadCedar(): CedarModule {
  if (loaded === undefined) {
    cedar.initSync({ module: readFileSync(wasmFile()) });
    loaded = cedar;
  }
  return loaded;
}

let compiler: CompileBundle | undefined;

export const compileBundle: CompileBundle = (files, floor) => {
  compiler ??= createPolicyCompiler(loadCedar());
  return compiler(files, floor);
};
