/**
 * `npm run build`: the npm package's dist/, from which `npm pack` makes one installable file.
 *
 *     dist/sallyport.js       the command; its parts are chunks that load when they are needed
 *     dist/*.wasm             Cedar and PostgreSQL's parser, looked for beside the code
 *     dist/edge/              the Worker for `sallyport dev`: worker.js, its WebAssembly, manifest.json
 *
 * Everything is bundled for Node 20; nothing is installed with it. Only miniflare (workerd is a binary per platform)
 * stays outside: `sallyport dev` says how to add it when it is missing.
 */
import { build } from "esbuild";
import { chmod, copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { buildEdge } from "../../dev/edge/build.ts";
import type { EdgeManifest } from "../../dev/edge/bundle.ts";

const root = join(import.meta.dirname, "..", "..");
const dist = join(root, "dist");
const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { version: string };

// CommonJS dependencies ask for these; each chunk is a module of its own.
const commonJsNames = [
  'import { createRequire as __createRequire } from "node:module";',
  'import { fileURLToPath as __fileURLToPath } from "node:url";',
  'import { dirname as __pathDirname } from "node:path";',
  "const require = __createRequire(import.meta.url);",
  "const __filename = __fileURLToPath(import.meta.url);",
  "const __dirname = __pathDirname(__filename);",
].join("\n");

await rm(dist, { recursive: true, force: true });
await mkdir(join(dist, "edge"), { recursive: true });

await build({
  absWorkingDir: root,
  entryPoints: { sallyport: "runner/main.ts" },
  outdir: dist,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20",
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "none",
  banner: { js: commonJsNames },
  define: { "process.env.SALLYPORT_PACKAGED": '"1"', "process.env.SALLYPORT_VERSION": JSON.stringify(version) },
  external: ["miniflare", "bufferutil", "utf-8-validate", "pg-native"],
  logLevel: "warning",
});
const command = join(dist, "sallyport.js");
const code = await readFile(command, "utf8");
await writeFile(command, code.startsWith("#!") ? code : `#!/usr/bin/env node\n${code}`);
await chmod(command, 0o755);

const require = createRequire(import.meta.url);
await copyFile(join(root, "node_modules/@cedar-policy/cedar-wasm/web/cedar_wasm_bg.wasm"), join(dist, "cedar_wasm_bg.wasm"));
await copyFile(join(dirname(require.resolve("libpg-query")), "libpg-query.wasm"), join(dist, "libpg-query.wasm"));

const edge = await buildEdge();
const types: Record<string, "esm" | "wasm"> = {};
for (const [name, { type, contents }] of Object.entries(edge.modules)) {
  types[name] = type;
  await writeFile(join(dist, "edge", name), contents);
}
const manifest: EdgeManifest = { config: edge.config, modules: types, migrations: edge.migrations };
await writeFile(join(dist, "edge", "manifest.json"), JSON.stringify(manifest));
process.stdout.write(`built dist/ for sallyport ${version}\n`);
