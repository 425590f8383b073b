/**
 * Reads a search_path as the server reports it: a list of identifiers, quoted where needed. Null when it is not one.
 */
export function parseSearchPath(value: string): string[] | null {
  const schemas: string[] = [];
  let rest = value.trim();
  if (rest === "" || rest === '""') return schemas;
  for (;;) {
    const match = /^(?:"((?:[^"]|"")*)"|([^\s",]+))\s*(,\s*|$)/.exec(rest);
    if (match === null) return null;
    const name = match[1]?.replaceAll('""', '"') ?? match[2]?.toLowerCase() ?? "";
    if (name !== "") schemas.push(name);
    rest = rest.slice(match[0].length);
    if (match[3] === "") return schemas;
  }
}
