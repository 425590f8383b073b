/**
 * The part of libpg-query's Emscripten module that parser.ts uses; the package types only its wrapper, which cannot
 * be thrown away and made again after a trap.
 */
declare module "libpg-query/wasm/libpg-query.js" {
  export interface PgQueryModule {
    readonly HEAPU8: Uint8Array;
    lengthBytesUTF8(text: string): number;
    stringToUTF8(text: string, pointer: number, bytes: number): void;
    UTF8ToString(pointer: number): string;
    getValue(pointer: number, type: "*" | "i32"): number;
    _malloc(bytes: number): number;
    _free(pointer: number): void;
    _wasm_parse_query_raw(text: number): number;
    _wasm_free_parse_result(result: number): void;
    _wasm_scan(text: number): number;
    _wasm_free_string(text: number): void;
  }
  const createModule: (options: { print: (line: string) => void; printErr: (line: string) => void }) => Promise<PgQueryModule>;
  export default createModule;
}
