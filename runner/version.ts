/** The product's version: a constant in the package, package.json's in the repository. */
import { readFileSync } from "node:fs";

export function versionOf(): string {
  const built = process.env.SALLYPORT_VERSION;
  if (built !== undefined) return built;
  const file = new URL("../package.json", import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}
