/**
 * The Worker as modules for workerd, with its D1 migrations. From the repository it is built afresh with
 * esbuild (`build.ts`); in the npm package it was built when the package was, and is read from beside the
 * bundled command.
 */
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export interface Migration {
  readonly name: string;
  readonly queries: readonly string[];
}

/** What wrangler.toml says of the Worker, as far as a local workerd needs it. */
export interface EdgeConfig {
  readonly name: string;
  readonly compatibilityDate: string;
  readonly compatibilityFlags: readonly string[];
  readonly vars: Readonly<Record<string, string>>;
  /** Binding → class. */
  readonly durableObjects: Readonly<Record<string, string>>;
  /** Binding → database id. */
  readonly d1: Readonly<Record<string, string>>;
  /** Binding → bucket. */
  readonly r2: Readonly<Record<string, string>>;
}

export interface EdgeBundle {
  readonly config: EdgeConfig;
  /** File name → module, `worker.js` being the main one. */
  readonly modules: Readonly<Record<string, { readonly type: "esm" | "wasm"; readonly contents: string | Uint8Array<ArrayBuffer> }>>;
  readonly migrations: readonly Migration[];
}

/** The form of `edge/manifest.json` in the package: modules with their files, relative to it, and the migrations. */
export interface EdgeManifest {
  readonly config: EdgeConfig;
  readonly modules: Readonly<Record<string, { readonly type: "esm" | "wasm"; readonly file: string }>>;
  readonly migrations: readonly Migration[];
}

export async function loadEdgeBundle(): Promise<EdgeBundle> {
  // Replaced by a constant when the package is built, so that the package holds no builder.
  if (process.env.SALLYPORT_PACKAGED !== "1") return (await import("./build.ts")).buildEdge();
  const directory = join(dirname(fileURLToPath(import.meta.url)), "edge");
  const manifest = JSON.parse(await readFile(join(directory, "manifest.json"), "utf8")) as EdgeManifest;
  const modules: Record<string, { type: "esm" | "wasm"; contents: string | Uint8Array<ArrayBuffer> }> = {};
  for (const [name, { type, file }] of Object.entries(manifest.modules)) {
    const bytes = new Uint8Array(await readFile(join(directory, file)));
    modules[name] = { type, contents: type === "esm" ? new TextDecoder().decode(bytes) : bytes };
  }
  return { config: manifest.config, modules, migrations: manifest.migrations };
}
