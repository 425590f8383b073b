/**
 * Reads a search_path as the server reports it: a list of identifiers, quoted where needed. Null when it is not one.
 *
 * pg_temp at the end, where the gateway puts it, is left out: what it has then is the session's own, behind all others,
 * and a name that could be one of the others was asked for as that.
 */
export function parseSearchPath(value: string): string[] | null {
  const schemas = identifiers(value);
  return schemas?.at(-1) === "pg_temp" ? schemas.slice(0, -1) : schemas;
}

function identifiers(value: string): string[] | null {
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
