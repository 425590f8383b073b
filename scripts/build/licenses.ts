/**
 * The licences of what a bundle contains. Bundling copies other people's code, whose licences ask that their text goes
 * with it; a package without a licence is a fault of the build.
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

/** Directories of the packages that `inputs` (paths from the repository's root) belong to, sorted. */
export function bundledPackages(inputs: readonly string[]): readonly string[] {
  const found = new Set<string>();
  for (const input of inputs) {
    const match = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input);
    if (match !== null) found.add(match[0]);
  }
  return [...found].sort();
}

interface PackageFile {
  readonly name: string;
  readonly version: string;
  readonly license?: string;
  readonly repository?: string | { readonly url?: string };
}

/** One text of all. Where a package has no licence file, its declared licence and its origin stand for it. */
export async function licenseTexts(root: string, directories: readonly string[]): Promise<string> {
  const parts: string[] = [];
  for (const directory of directories) {
    const path = join(root, directory);
    const { name, version, license, repository } = JSON.parse(await readFile(join(path, "package.json"), "utf8")) as PackageFile;
    if (license === undefined) throw new Error(`${name} declares no licence: it must not be bundled`);
    const files = (await readdir(path)).filter((file) => /^(licen[cs]e|copying|notice)/i.test(file)).sort();
    const texts = await Promise.all(files.map((file) => readFile(join(path, file), "utf8")));
    const origin = typeof repository === "string" ? repository : (repository?.url ?? "");
    const text = texts.length === 0 ? `Licence ${license}; see ${origin}` : texts.map((entry) => entry.trim()).join("\n\n");
    parts.push(`${name} ${version} (${license})\n\n${text}\n`);
  }
  return `Sallyport contains code of these packages.\n\n${parts.join(`\n${"-".repeat(80)}\n\n`)}`;
}
