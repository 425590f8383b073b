/**
 * What may be recorded of text that could not be parsed: it may be a mistyped `PASSWORD '…'`, and nothing is known of
 * where its strings end (quotes, backslashes, dollar quotes). So it keeps the text up to the first string and says that
 * there was more (GW-23).
 */
export function withoutLiterals(sql: string): string {
  const first = /'|\$[A-Za-z_\u0080-\uFFFF]*[A-Za-z_0-9\u0080-\uFFFF]*\$/.exec(sql);
  return first === null ? sql : `${sql.slice(0, first.index)}'…'`;
}
