/**
 * What must not be seen: pieces of the classified values of schema.sql, in the forms an attacker would carry them out in. A
 * piece that the attempt itself says proves nothing and is not looked for.
 */
const PIECES = [
  "zq7x",
  "sentinel-corp",
  "987-65-41",
  "49291000",
  "pq9w",
  "sentinel-json",
  "tagsentinel",
  "sk_sentinel",
  "cq5v1",
  "sentinel-composite",
  "71237.56",
  "71240",
];

const reversed = (text: string): string => Array.from(text).toReversed().join("");

function forms(piece: string): string[] {
  const bytes = Buffer.from(piece);
  const digits = piece.replaceAll(/\D/g, "");
  return [
    piece,
    piece.toUpperCase(),
    reversed(piece),
    bytes.toString("hex"),
    // Base64 depends on where the piece begins: all three alignments, without the ends that neighbours change.
    ...[0, 1, 2].map((pad) =>
      Buffer.concat([Buffer.alloc(pad), bytes])
        .toString("base64")
        .slice(pad === 0 ? 0 : 4)
        .replace(/.{1,2}={0,2}$/, ""),
    ),
    ...(digits.length >= 6 ? [digits] : []),
  ].filter((form) => form.length >= 4);
}

const FORMS = PIECES.flatMap((piece) => forms(piece).map((form) => ({ piece, form })));

/** The first form that is found; undefined: none. */
export function leaked(bytes: Buffer, said: string): string | undefined {
  const text = bytes.toString("latin1");
  return FORMS.find(({ piece, form }) => !said.includes(piece) && text.includes(form))?.form;
}
