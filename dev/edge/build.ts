/** Builds the Worker of this repository for workerd: one module of JavaScript, and the WebAssembly beside it. */
import { readD1Migrations } from "@cloudflare/vitest-plugin";
import { build, type Plugin } from "esbuild";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { unstable_readConfig } from "wrangler";
import type { EdgeBundle, EdgeConfig } from "./bundle.ts";

const root = join(import.meta.dirname, "..", "..");

/** Leaves `import x from "….wasm"` as an import of a module of its own, which workerd compiles ahead of time. */
function wasmModules(found: Map<string, string>): Plugin {
  return {
    name: "wasm-modules",
    setup(builder) {
      builder.onResolve({ filter: /\.wasm$/ }, async (args) => {
        const file = resolve(args.resolveDir, args.path);
        const hash = createHash("sha256")
          .update(await readFile(file))
          .digest("hex")
          .slice(0, 12);
        const name = `${hash}-${basename(file)}`;
        found.set(name, file);
        return { path: `./${name}`, external: true };
      });
    },
  };
}

function readConfig(): EdgeConfig {
  const config = unstable_readConfig({ config: join(root, "wrangler.toml") }, { hideWarnings: true });
  return {
    name: config.name ?? "sallyport",
    compatibilityDate: config.compatibility_date ?? "",
    compatibilityFlags: config.compatibility_flags,
    vars: Object.fromEntries(Object.entries(config.vars).map(([name, value]) => [name, String(value)])),
    durableObjects: Object.fromEntries(
      config.durable_objects.bindings.map((binding: { name: string; class_name: string }) => [binding.name, binding.class_name]),
    ),
    d1: Object.fromEntries(
      config.d1_databases.map((database: { binding: string; database_id?: string }) => [
        database.binding,
        database.database_id ?? database.binding,
      ]),
    ),
    r2: Object.fromEntries(
      config.r2_buckets.map((bucket: { binding: string; bucket_name?: string }) => [bucket.binding, bucket.bucket_name ?? bucket.binding]),
    ),
  };
}

export interface BuiltEdge extends EdgeBundle {
  /** Every file that went into it, from the repository's root. */
  readonly inputs: readonly string[];
}

/** `minify`: for the package; names are kept, so that the Worker's stack traces stay readable. */
export async function buildEdge({ minify = false }: { readonly minify?: boolean } = {}): Promise<BuiltEdge> {
  const wasm = new Map<string, string>();
  const result = await build({
    absWorkingDir: root,
    entryPoints: ["worker/index.ts"],
    bundle: true,
    write: false,
    metafile: true,
    minifySyntax: minify,
    minifyWhitespace: minify,
    format: "esm",
    target: "es2024",
    platform: "browser",
    mainFields: ["module", "main"],
    conditions: ["workerd", "worker", "browser", "import"],
    external: ["cloudflare:*", "node:*"],
    plugins: [wasmModules(wasm)],
    legalComments: "none",
    logLevel: "warning",
  });
  const modules: Record<string, { type: "esm" | "wasm"; contents: string | Uint8Array<ArrayBuffer> }> = {};
  modules["worker.js"] = { type: "esm", contents: result.outputFiles[0]?.text ?? "" };
  for (const [name, file] of wasm) modules[name] = { type: "wasm", contents: new Uint8Array(await readFile(file)) };
  const inputs = Object.keys(result.metafile.inputs);
  return { config: readConfig(), modules, migrations: await readD1Migrations(join(root, "migrations")), inputs };
}
