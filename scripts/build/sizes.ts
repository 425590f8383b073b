/** What the package weighs, and what `sallyport run` loads of it before its first request. */
import type { Metafile } from "esbuild";
import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";

const kilobytes = (bytes: number): string => `${(bytes / 1000).toLocaleString("en", { maximumFractionDigits: 0 })} kB`.padStart(10);

/** A table in text. */
export async function sizesOf(directory: string, metafile: Metafile): Promise<string> {
  const files = (await readdir(directory, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  const rows: { readonly name: string; readonly bytes: number; readonly gzipped: number }[] = [];
  for (const { parentPath, name } of files) {
    const bytes = await readFile(join(parentPath, name));
    rows.push({ name: join(parentPath, name).slice(directory.length + 1), bytes: bytes.length, gzipped: gzipSync(bytes).length });
  }
  const code = rows.filter(({ name }) => name.endsWith(".js") && !name.includes("/"));
  const others = rows.filter((row) => !code.includes(row));
  const sum = (name: string, of: typeof rows) => ({
    name,
    bytes: of.reduce((total, row) => total + row.bytes, 0),
    gzipped: of.reduce((total, row) => total + row.gzipped, 0),
  });
  const loaded = loadedBy(metafile, "runner/commands/run.ts");
  const shown = [
    sum("together", rows),
    sum(`code of the command, ${code.length} files`, code),
    sum(
      "  of which sallyport run loads",
      code.filter(({ name }) => loaded.has(name)),
    ),
    ...others.sort((a, b) => b.bytes - a.bytes),
  ];
  return shown.map(({ name, bytes, gzipped }) => `${name.padEnd(38)}${kilobytes(bytes)}${kilobytes(gzipped)} gzipped\n`).join("");
}

/** Files of the output that are loaded when a lazily loaded entry point is: its own, the program's, and what they import. */
function loadedBy(metafile: Metafile, entryPoint: string): ReadonlySet<string> {
  const found = new Set<string>();
  const visit = (path: string): void => {
    const output = metafile.outputs[path];
    if (output === undefined || found.has(basename(path))) return;
    found.add(basename(path));
    for (const { path: imported, kind } of output.imports) if (kind === "import-statement") visit(imported);
  };
  for (const [path, { entryPoint: own }] of Object.entries(metafile.outputs)) {
    if (own === entryPoint || own === "runner/main.ts") visit(path);
  }
  return found;
}
