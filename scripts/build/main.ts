/**
 * `npm run build`: the npm package's dist/, from which `npm pack` makes one installable file.
 *
 *     dist/sallyport.js               the command; its parts are chunks that load when they are needed
 *     dist/*.wasm                     Cedar and PostgreSQL's parser, looked for beside the code
 *     dist/edge/                      the Worker for `sallyport dev`: worker.js and manifest.json
 *     dist/THIRD_PARTY_LICENSES.txt   of every package that is bundled
 *
 * Everything is bundled for Node 20; nothing is installed with it. Only miniflare (workerd is a binary per platform)
 * stays outside: `sallyport dev` says how to add it when it is missing. No source maps: stack traces name functions as
 * the sources do, and dist/ holds no path of the machine that built it.
 */
import { build } from "esbuild";
import { chmod, copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { buildEdge } from "../../dev/edge/build.ts";
import type { EdgeManifest } from "../../dev/edge/bundle.ts";
import { bundledPackages, licenseTexts } from "./licenses.ts";
import { sizesOf } from "./sizes.ts";

const root = join(import.meta.dirname, "..", "..");
const dist = join(root, "dist");
const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { version: string };

// CommonJS dependencies ask for these, which modules do not have.
const COMMON_JS: Readonly<Record<string, string>> = {
  require: 'import { createRequire as __createRequire } from "node:module";\nconst require = __createRequire(import.meta.url);',
  __filename: 'import { fileURLToPath as __filePath } from "node:url";\nconst __filename = __filePath(import.meta.url);',
  __dirname:
    'import { dirname as __directoryOf } from "node:path";\nimport { fileURLToPath as __path } from "node:url";\nconst __dirname = __directoryOf(__path(import.meta.url));',
};

/** Only in the chunks that mention them: making a `require` takes a while, and there are forty chunks. */
function withCommonJsNames(code: string): string {
  const mentioned = Object.entries(COMMON_JS).filter(([name]) => new RegExp(`(?<![\\w$.])${name}(?![\\w$])`).test(code));
  const lines = mentioned.map(([, declaration]) => `${declaration}\n`).join("");
  const first = code.startsWith("#!") ? code.indexOf("\n") + 1 : 0;
  return code.slice(0, first) + lines + code.slice(first);
}

await rm(dist, { recursive: true, force: true });
await mkdir(join(dist, "edge"), { recursive: true });

const command = await build({
  absWorkingDir: root,
  entryPoints: { sallyport: "runner/main.ts" },
  outdir: dist,
  bundle: true,
  splitting: true,
  metafile: true,
  format: "esm",
  platform: "node",
  target: "node20",
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: "none",
  write: false,
  define: {
    "process.env.SALLYPORT_PACKAGED": '"1"',
    "process.env.SALLYPORT_VERSION": JSON.stringify(version),
    // ws would look for these native modules at every start; they are not in the package.
    "process.env.WS_NO_BUFFER_UTIL": '"1"',
    "process.env.WS_NO_UTF_8_VALIDATE": '"1"',
  },
  external: ["miniflare"],
  logLevel: "warning",
});
for (const { path, text } of command.outputFiles) await writeFile(path, withCommonJsNames(text));
await chmod(join(dist, "sallyport.js"), 0o755);

const require = createRequire(import.meta.url);
const wasm = [
  join(root, "node_modules/@cedar-policy/cedar-wasm/web/cedar_wasm_bg.wasm"),
  join(dirname(require.resolve("libpg-query")), "libpg-query.wasm"),
];
const besideTheCode = new Map<string, Buffer>();
for (const file of wasm) {
  const name = file.slice(dirname(file).length + 1);
  besideTheCode.set(name, await readFile(file));
  await copyFile(file, join(dist, name));
  await chmod(join(dist, name), 0o644);
}

const edge = await buildEdge({ minify: true });
const modules: Record<string, { type: "esm" | "wasm"; file: string }> = {};
for (const [name, { type, contents }] of Object.entries(edge.modules)) {
  // The Worker's Cedar is the agent's, byte for byte: shipped once.
  const shared = [...besideTheCode].find(([, bytes]) => type === "wasm" && bytes.equals(contents as Uint8Array))?.[0];
  modules[name] = { type, file: shared === undefined ? name : `../${shared}` };
  if (shared === undefined) await writeFile(join(dist, "edge", name), contents);
}
const manifest: EdgeManifest = { config: edge.config, modules, migrations: edge.migrations };
await writeFile(join(dist, "edge", "manifest.json"), JSON.stringify(manifest));

const inputs = [...Object.keys(command.metafile.inputs), ...edge.inputs, ...wasm.map((file) => relative(root, file))];
await writeFile(join(dist, "THIRD_PARTY_LICENSES.txt"), await licenseTexts(root, bundledPackages(inputs)));

process.stdout.write(`sallyport ${version}\n${await sizesOf(dist, command.metafile)}`);
